package plugin

import (
	"context"
	"errors"
	"fmt"
	"log/slog"

	"github.com/hashicorp/hcl/v2/hcldec"
	sdkcommunicator "github.com/hashicorp/packer-plugin-sdk/communicator"
	"github.com/hashicorp/packer-plugin-sdk/multistep"
	"github.com/hashicorp/packer-plugin-sdk/multistep/commonsteps"
	packersdk "github.com/hashicorp/packer-plugin-sdk/packer"

	"github.com/strongroom/strongroom/internal/baseline"
)

// Builder is strongroom-image: it bakes a golden image without privileges, a virtual machine
// or SSH.
type Builder struct {
	// Catalogue loads the hardening catalogue. It must be pure: Prepare calls it.
	Catalogue func() (*baseline.Catalogue, error)
	// Version is that of this program: what it has made says so.
	Version string

	config Config
	plan   plan
}

var _ packersdk.Builder = (*Builder)(nil)

// Variables that provisioners and post-processors read as build.NAME.
const (
	varImageName      = "ImageName"
	varImageVersion   = "ImageVersion"
	varBaselineDigest = "BaselineDigest"
	varOverlayDigest  = "OverlayDigest"
	varRootHash       = "RootHash" // known to post-processors only: the root is sealed after the provisioners
)

// ConfigSpec describes the block `source "strongroom-image"`.
func (b *Builder) ConfigSpec() hcldec.ObjectSpec { return b.config.FlatMapstructure().HCL2Spec() }

// Prepare reads the configuration and reports everything that is wrong with it at once. It
// reads the files of controls, waivers and authorities that the template names, touches nothing else, and may be called any number
// of times.
func (b *Builder) Prepare(raws ...any) (generatedVars, warnings []string, err error) {
	b.config, b.plan = Config{}, plan{}
	if err := b.config.decode(raws...); err != nil {
		return nil, nil, err
	}
	b.plan, err = b.config.plan(b.Catalogue)
	if err != nil {
		return nil, nil, err
	}
	return []string{varImageName, varImageVersion, varBaselineDigest, varOverlayDigest, varRootHash}, nil, nil
}

// Run bakes the image. Each step of the bake is a step that `packer build -debug` pauses at
// and -on-error knows.
func (b *Builder) Run(ctx context.Context, ui packersdk.Ui, hook packersdk.Hook) (packersdk.Artifact, error) {
	if err := b.measurePrograms(ctx); err != nil {
		return nil, err
	}
	if err := b.config.readKeys(&b.plan.spec); err != nil {
		return nil, err
	}
	if err := b.config.readSigningKey(b.plan.signing); err != nil {
		return nil, err
	}
	if err := b.plan.signBaseline(); err != nil {
		return nil, err
	}
	b.plan.spec.Builder = b.Version
	bake := &bake{plan: b.plan, version: b.Version, ui: ui, log: slog.New(newUIHandler(ui))}
	state := new(multistep.BasicStateBag)
	state.Put("ui", ui)
	state.Put("hook", hook)
	state.Put("debug", b.config.PackerDebug)
	// Provisioners that ask how they are connected get the answer of Packer's own type "none".
	state.Put("communicator_config", &sdkcommunicator.Config{Type: "none"})
	state.Put("generated_data", b.plan.generatedData())

	commonsteps.NewRunnerWithPauseFn(bake.steps(), b.config.PackerConfig, ui, state).Run(ctx, state)

	if err, ok := state.Get("error").(error); ok {
		return nil, err
	}
	if _, cancelled := state.GetOk(multistep.StateCancelled); cancelled || ctx.Err() != nil {
		return nil, errors.New("the build was cancelled; nothing was published")
	}
	if _, halted := state.GetOk(multistep.StateHalted); halted {
		return nil, errors.New("the build was halted; nothing was published")
	}

	generated, _ := state.Get("generated_data").(map[string]any)
	result := bake.assembly.Result()
	generated[varRootHash] = result.RootHash
	a, err := newArtifact(result, bake.made, generated)
	if err != nil {
		return nil, fmt.Errorf("cannot describe the artifact: %w", err)
	}
	return a, nil
}

// measurePrograms takes the digests of the programs into the baseline.
func (b *Builder) measurePrograms(ctx context.Context) error {
	if err := b.config.measurePrograms(ctx); err != nil {
		return err
	}
	planned, err := b.config.plan(b.Catalogue)
	if err != nil {
		return err
	}
	b.plan = planned
	return nil
}
