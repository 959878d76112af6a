package plugin

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"

	"github.com/hashicorp/hcl/v2/hcldec"
	packersdk "github.com/hashicorp/packer-plugin-sdk/packer"
	"github.com/hashicorp/packer-plugin-sdk/template/config"

	"github.com/strongroom/strongroom/internal/baseline"
	"github.com/strongroom/strongroom/internal/distribution"
	"github.com/strongroom/strongroom/internal/harden"
	"github.com/strongroom/strongroom/internal/image"
	"github.com/strongroom/strongroom/internal/metal"
	"github.com/strongroom/strongroom/internal/overlay"
	"github.com/strongroom/strongroom/internal/server"
)

// MetalID is the BuilderId of what the post-processor returns. It never changes.
const MetalID = "strongroom.metal"

// Metal is the post-processor strongroom-metal: what an installer needs to make a node of a physical machine.
type Metal struct {
	// Catalogue gives the controls.
	Catalogue func() (*baseline.Catalogue, error)

	config MetalConfig
}

var _ packersdk.PostProcessor = (*Metal)(nil)

// ConfigSpec describes the block `post-processor "strongroom-metal"`.
func (p *Metal) ConfigSpec() hcldec.ObjectSpec { return p.config.FlatMapstructure().HCL2Spec() }

// Configure reads the configuration and reports everything that is wrong with it at once. It reads the files of site_controls,
// waivers and node_config_ca, touches nothing else, and may be called any number of times.
func (p *Metal) Configure(raws ...any) error {
	p.config = MetalConfig{}
	err := config.Decode(&p.config, &config.DecodeOpts{PluginType: MetalID, Interpolate: true, InterpolateContext: &p.config.ctx}, raws...)
	if err != nil {
		return err
	}
	_, err = p.config.check(p.Catalogue)
	return err
}

// planned is a configuration that holds water.
type planned struct {
	hardened
	config  metal.Config
	product server.Product
	program image.Binary
}

// check reports what is wrong, all at once.
func (c *MetalConfig) check(load func() (*baseline.Catalogue, error)) (planned, error) {
	var wrong mistakes
	product, program := c.defaults(&wrong)
	c.OutputDirectory = cmp.Or(c.OutputDirectory, "output-"+c.PackerBuildName+"-metal")
	for field, value := range map[string]string{"image_name": c.ImageName, "image_version": c.ImageVersion} {
		if value != "" && value != unknown && !image.ValidName(value) {
			wrong.add(field, "%q has other characters than lower-case letters, digits, '.', '_' and '-'", value)
		}
	}
	d, err := distribution.Find(distribution.Installed, c.Distribution)
	if err != nil {
		wrong.add("distribution", "%w", err)
		return planned{}, wrong.err
	}
	m := metal.Config{
		Distribution: d, URL: c.URL, Disk: c.Disk, Overwrite: c.Overwrite, Source: c.Source, Proxy: c.Proxy, Data: product.Data, Audit: product.Audit,
	}
	if c.Network != nil {
		m.Network = &metal.Network{Address: c.Network.Address, Gateway: c.Network.Gateway, Nameserver: c.Network.Nameservers}
	}
	if c.URL != unknown && c.Disk != unknown && c.Source != unknown && c.Proxy != unknown {
		if err := m.Complete(); err != nil {
			for _, err := range unjoin(err) {
				wrong.err = packersdk.MultiErrorAppend(wrong.err, err)
			}
		}
	}
	c.Signing.planBaseline(&wrong)
	s := c.compile(load, product, program.SHA256, distribution.Installed, d.ID, &wrong)
	if wrong.err != nil {
		return planned{}, wrong.err
	}
	return planned{s, m, product, program}, nil
}

// PostProcess writes the directory. What went in is kept: the programs are not part of it, and what is installed is not that image.
func (p *Metal) PostProcess(ctx context.Context, ui packersdk.Ui, source packersdk.Artifact) (packersdk.Artifact, bool, bool, error) {
	made, err := p.run(ctx, ui, source)
	return made, true, true, err
}

func (p *Metal) run(ctx context.Context, ui packersdk.Ui, source packersdk.Artifact) (packersdk.Artifact, error) {
	if err := p.config.measurePrograms(ctx); err != nil {
		return nil, err
	}
	plan, err := p.config.check(p.Catalogue)
	if err != nil {
		return nil, err
	}
	if key, err := p.config.Signing.openKey(); err != nil {
		return nil, err
	} else if key != nil {
		if err := baseline.Sign(plan.overlay, key); err != nil {
			return nil, err
		}
	}
	if p.config.CA != "" {
		text, err := os.ReadFile(p.config.CA)
		if err != nil {
			return nil, fmt.Errorf("ca: %w", err)
		}
		plan.config.CA = string(text)
	}
	bundle, err := metal.Make(plan.config, harden.Spec{
		Overlay:  func(distribution.Distribution) (*overlay.Tree, error) { return plan.overlay, nil },
		Programs: []image.Binary{plan.program, {Source: p.config.Hostcheck, Path: hostcheckPath, SHA256: p.config.agentDigest}},
		Accounts: []string{plan.product.Account},
		Name:     p.config.ImageName, Version: p.config.ImageVersion,
		Log: slog.New(newUIHandler(ui)),
	}, plan.digest)
	if err != nil {
		return nil, err
	}
	files, err := metal.Write(p.config.OutputDirectory, bundle)
	if err != nil {
		return nil, fmt.Errorf("output_directory: %w", err)
	}
	ui.Say(fmt.Sprintf("%s for %s: %d files in %s, to be served at %s", bundle.Installer, plan.config.Distribution.Name, len(files), p.config.OutputDirectory, plan.config.URL))
	return &metalArtifact{
		id: "sha256:" + bundle.Digest(), installer: bundle.Installer, files: files, generated: generatedData(source),
	}, nil
}

// metalArtifact is a directory of files.
type metalArtifact struct {
	id, installer string
	files         []string
	generated     map[string]any
}

var _ packersdk.Artifact = (*metalArtifact)(nil)

// BuilderId returns [MetalID].
func (*metalArtifact) BuilderId() string { return MetalID }

// Files lists all of them, the answers for the installer first.
func (a *metalArtifact) Files() []string { return a.files }

// Id is the digest of the manifest, which has those of all other files.
func (a *metalArtifact) Id() string { return a.id }

func (a *metalArtifact) String() string {
	return fmt.Sprintf("%s and what it fetches, in %s", a.installer, filepath.Dir(a.files[0]))
}

// State answers what other components ask for, in plain types.
func (a *metalArtifact) State(name string) any {
	switch name {
	case "generated_data":
		return a.generated
	case "installer":
		return a.installer
	}
	return nil
}

// Destroy removes the files.
func (a *metalArtifact) Destroy() error {
	var errs []error
	for _, name := range a.files {
		if err := os.Remove(name); err != nil && !errors.Is(err, fs.ErrNotExist) {
			errs = append(errs, err)
		}
	}
	dir := filepath.Dir(a.files[0])
	if left, err := os.ReadDir(dir); err == nil && len(left) == 0 {
		errs = append(errs, os.Remove(dir))
	}
	return errors.Join(errs...)
}
