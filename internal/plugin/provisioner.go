package plugin

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"

	"github.com/hashicorp/hcl/v2/hcldec"
	packersdk "github.com/hashicorp/packer-plugin-sdk/packer"

	"github.com/strongroom/strongroom/internal/atomicfile"
	"github.com/strongroom/strongroom/internal/baseline"
	"github.com/strongroom/strongroom/internal/distribution"
	"github.com/strongroom/strongroom/internal/harden"
	"github.com/strongroom/strongroom/internal/image"
	"github.com/strongroom/strongroom/internal/overlay"
	"github.com/strongroom/strongroom/internal/server"
)

// Provisioner is strongroom-harden: it hardens the machine of any builder over its communicator.
type Provisioner struct {
	// Catalogue loads the hardening catalogue. It must be pure: Prepare calls it.
	Catalogue func() (*baseline.Catalogue, error)

	config ProvisionerConfig
}

var _ packersdk.Provisioner = (*Provisioner)(nil)

// ConfigSpec describes the block `provisioner "strongroom-harden"`.
func (p *Provisioner) ConfigSpec() hcldec.ObjectSpec { return p.config.FlatMapstructure().HCL2Spec() }

// Prepare reads the configuration and reports everything that is wrong with it at once. It reads the files of controls, waivers
// and authorities that the template names, touches nothing else, and may be called any number of times.
func (p *Provisioner) Prepare(raws ...any) error {
	p.config = ProvisionerConfig{}
	if err := p.config.decode(raws...); err != nil {
		return err
	}
	return p.config.check(p.Catalogue)
}

// Provision hardens the machine. The hardening is complete when the builder has shut the machine down.
func (p *Provisioner) Provision(ctx context.Context, ui packersdk.Ui, comm packersdk.Communicator, _ map[string]any) error {
	if comm == nil {
		return errors.New("the builder has no communicator: the provisioner needs ssh")
	}
	if err := p.config.measurePrograms(ctx); err != nil {
		return err
	}
	var wrong mistakes
	product, binary := p.config.defaults(&wrong)
	if wrong.err != nil {
		return wrong.err
	}
	key, err := p.config.Signing.openKey()
	if err != nil {
		return err
	}
	var stated hardened
	result, err := harden.Harden(ctx, machine{comm}, harden.Spec{
		Overlay: func(d distribution.Distribution) (_ *overlay.Tree, err error) {
			if stated, err = p.config.state(p.Catalogue, product, d); err != nil || key == nil {
				return stated.overlay, err
			}
			return stated.overlay, baseline.Sign(stated.overlay, key)
		},
		Programs: []image.Binary{binary, {Source: p.config.Hostcheck, Path: hostcheckPath, SHA256: p.config.agentDigest}},
		Accounts: []string{product.Account},
		Name:     p.config.ImageName,
		Version:  p.config.ImageVersion,
		Execute:  p.config.execute,
		Folder:   p.config.RemoteFolder,
		Log:      slog.New(newUIHandler(ui)),
	}, func(report []byte) error {
		file := placeReport(p.config.Report, p.config.PackerBuildName)
		if err := writeReport(file, report); err != nil {
			return err
		}
		ui.Say("The report is in " + file)
		return judge(ui, "the machine", report, stated.digest)
	})
	var failure *harden.Failure
	if errors.As(err, &failure) {
		ui.Error("State of the machine: " + failure.State)
	}
	if ctx.Err() != nil {
		return errors.New("the provisioner was cancelled")
	}
	if err != nil {
		if hint := image.Hint(err); hint != "" {
			err = fmt.Errorf("%w\nhint: %s", err, hint)
		}
		return err
	}
	ui.Say(fmt.Sprintf("The machine is hardened (%s). Its shutdown takes away SSH, the account that Packer uses, keys and traces of the build; let no provisioner follow that reboots it.", result.Distribution.Name))
	return nil
}

// state compiles the baseline for the distribution that the machine has.
func (c *ProvisionerConfig) state(load func() (*baseline.Catalogue, error), product server.Product, d distribution.Distribution) (hardened, error) {
	var wrong mistakes
	stated := c.compile(load, product, c.serverBlock().SHA256, distribution.Installed, d.ID, &wrong)
	if wrong.err != nil {
		return hardened{}, wrong.err
	}
	return stated, nil
}

// defaultReport is the name of the report of a build.
func defaultReport(build string) string { return build + "-report.json" }

// placeReport puts the report of the default name beside the artifact, where the builder has made a directory for one.
func placeReport(file, build string) string {
	output := "output-" + build
	if info, err := os.Stat(output); file == defaultReport(build) && err == nil && info.IsDir() {
		return filepath.Join(output, file)
	}
	return file
}

func writeReport(file string, report []byte) error {
	if err := os.MkdirAll(filepath.Dir(file), 0o755); err != nil {
		return fmt.Errorf("report: %w", err)
	}
	if err := atomicfile.Write(file, 0o644, writeAll(report)); err != nil {
		return fmt.Errorf("report: cannot write it: %w", err)
	}
	return nil
}
