package plugin

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/hashicorp/hcl/v2/hcldec"
	packersdk "github.com/hashicorp/packer-plugin-sdk/packer"
	"github.com/hashicorp/packer-plugin-sdk/template/config"

	"github.com/strongroom/strongroom/internal/launch"
)

// LaunchTemplate is the post-processor strongroom-launch-template: from a finished image to what a group of
// instances starts nodes from.
type LaunchTemplate struct{ config LaunchTemplateConfig }

var _ packersdk.PostProcessor = (*LaunchTemplate)(nil)

// provider is one of the blocks of the configuration.
type provider interface {
	// name is that of the block.
	name() string
	// check reports everything that is wrong. template is empty while it is not known.
	check(template string, tags map[string]string) error
	// open finds the image in an artifact.
	open(ctx context.Context, artifact packersdk.Artifact) (launch.Image, error)
	// publish does the work, or writes down the calls when there is a list for them.
	publish(ctx context.Context, request launch.Request, dry *launch.Calls) (launch.Result, error)
}

// ConfigSpec describes the block `post-processor "strongroom-launch-template"`.
func (p *LaunchTemplate) ConfigSpec() hcldec.ObjectSpec {
	return p.config.FlatMapstructure().HCL2Spec()
}

// Configure reads the configuration and reports everything that is wrong with it at once. It touches neither network
// nor disk, and may be called any number of times.
func (p *LaunchTemplate) Configure(raws ...any) error {
	p.config = LaunchTemplateConfig{}
	err := config.Decode(&p.config, &config.DecodeOpts{
		PluginType: LaunchTemplateID, Interpolate: true, InterpolateContext: &p.config.ctx,
	}, raws...)
	if err != nil {
		return err
	}
	_, err = p.config.provider()
	return err
}

// provider gives the one block that there must be, when it holds water.
func (c *LaunchTemplateConfig) provider() (provider, error) {
	var given []provider
	if c.AWS != nil {
		given = append(given, c.AWS)
	}
	if c.GCP != nil {
		given = append(given, c.GCP)
	}
	if c.Azure != nil {
		given = append(given, c.Azure)
	}
	if len(given) != 1 {
		return nil, errors.New("exactly one of the blocks aws, gcp and azure is needed: the provider that the template is for")
	}
	if c.undecided() {
		return given[0], nil // PostProcess looks again
	}
	return given[0], given[0].check(c.Name, c.Tags)
}

// undecided says that an attribute comes from what Packer does not know yet.
func (c *LaunchTemplateConfig) undecided() bool {
	flat, err := launch.Pruned(c)
	return err != nil || strings.Contains(fmt.Sprint(flat), unknown)
}

// PostProcess makes the launch template, or writes down what making it would take. The image is kept whatever the
// template says: a launch template without its image starts nothing.
func (p *LaunchTemplate) PostProcess(ctx context.Context, ui packersdk.Ui, source packersdk.Artifact) (packersdk.Artifact, bool, bool, error) {
	made, err := p.run(ctx, ui, source)
	return made, true, true, err
}

func (p *LaunchTemplate) run(ctx context.Context, ui packersdk.Ui, source packersdk.Artifact) (packersdk.Artifact, error) {
	to, err := p.config.provider()
	if err != nil {
		return nil, err
	}
	image, err := to.open(ctx, source)
	if err != nil {
		return nil, err
	}
	request := launch.Request{
		Image: image, Name: cmp.Or(p.config.Name, image.Name, p.config.PackerBuildName), Tags: p.config.Tags, Log: slog.New(newUIHandler(ui)),
	}
	if image.Name == "" {
		request.Image.Name = request.Name
	}
	if err := to.check(request.Name, request.Tags); err != nil {
		return nil, err
	}
	if p.config.NodeConfig != "" {
		if request.NodeConfig, err = launch.NodeConfig(p.config.NodeConfig, image); err != nil {
			return nil, fmt.Errorf("node_config: %w", err)
		}
	}
	if p.config.DryRun.False() {
		result, err := to.publish(ctx, request, nil)
		if err != nil {
			return nil, err
		}
		if result.Changed {
			ui.Say("Launch template: " + result.ID)
		} else {
			ui.Say("Launch template: " + result.ID + ", unchanged")
		}
		return newLaunchArtifact(to.name(), request, result, nil, source)
	}

	quiet := request
	quiet.Log = slog.New(slog.DiscardHandler)
	var calls launch.Calls
	result, err := to.publish(ctx, quiet, &calls)
	if err != nil {
		return nil, err
	}
	dir := cmp.Or(p.config.OutputDirectory, p.dryRunDirectory(image, to.name()))
	files, err := launch.WriteDryRun(dir, calls.List(), result.Terraform)
	if err != nil {
		return nil, fmt.Errorf("output_directory: %w", err)
	}
	ui.Say(fmt.Sprintf("Dry run: %d files in %s, nothing was sent", len(files), dir))
	return newLaunchArtifact(to.name(), request, result, files, source)
}

func (p *LaunchTemplate) dryRunDirectory(image launch.Image, provider string) string {
	name := "launch-template-" + provider
	if image.File == "" {
		return "output-" + p.config.PackerBuildName + "-" + name
	}
	return filepath.Join(filepath.Dir(image.File), name)
}

// openDisk finds a disk of our builder in an artifact: its own, or one that a post-processor has put into its place.
func openDisk(ctx context.Context, artifact packersdk.Artifact, format string) (launch.Image, error) {
	files := artifact.Files()
	manifest := slices.ContainsFunc(files, func(name string) bool { return filepath.Base(name) == "manifest.json" })
	if !manifest {
		return launch.Image{}, fmt.Errorf("an artifact of %s cannot be used here: use that of the builder strongroom-image, with %q in formats", artifact.BuilderId(), format)
	}
	return launch.OpenImage(ctx, files, format)
}

// readOptional reads a small file that an attribute names.
func readOptional(attribute, path string) (string, error) {
	if path == "" {
		return "", nil
	}
	text, err := os.ReadFile(path)
	if err != nil {
		return "", fmt.Errorf("%s: %w", attribute, err)
	}
	return strings.TrimSpace(string(text)), nil
}
