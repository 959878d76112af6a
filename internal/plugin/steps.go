package plugin

import (
	"context"
	"fmt"
	"log/slog"

	"github.com/hashicorp/packer-plugin-sdk/multistep"
	"github.com/hashicorp/packer-plugin-sdk/multistep/commonsteps"
	packersdk "github.com/hashicorp/packer-plugin-sdk/packer"

	"github.com/strongroom/strongroom/internal/image"
)

// bake is what the steps of one Run share. Packer's state bag carries only what Packer's own
// steps look for.
type bake struct {
	plan     plan
	version  string // of the builder
	ui       packersdk.Ui
	log      *slog.Logger
	assembly *image.Assembly
	comm     *communicator

	imageReport []byte   // what hostcheck said about the sealed tree, JSON
	made        []string // names of the files beside the disks, in the order of the artifact
}

// steps lists the bake in order. Each has a type of its own, since its type's name is what
// -debug and -on-error show.
func (b *bake) steps() []multistep.Step {
	steps := []multistep.Step{
		&stepOpen{bake: b},
		&stepBaseTree{assemble{b, "Assembling the base tree", (*image.Assembly).BaseTree}},
		&stepOverlay{assemble{b, "Applying the hardening overlay", (*image.Assembly).ApplyOverlay}},
		&stepConnect{bake: b},
		&commonsteps.StepProvision{},
		&stepSeal{assemble{b, "Sealing the tree", (*image.Assembly).Seal}},
		&stepVerify{bake: b},
		&stepLeakGate{assemble{b, "Looking for leaked secrets", (*image.Assembly).LeakGate}},
		&stepRootFilesystem{assemble{b, "Making the root file system", (*image.Assembly).RootFilesystem}},
		&stepVerity{assemble{b, "Making the dm-verity hash tree", (*image.Assembly).Verity}},
		&stepInitrd{assemble{b, "Making the initrd", (*image.Assembly).Initrd}},
		&stepUnifiedKernel{assemble{b, "Making the unified kernel image", (*image.Assembly).UnifiedKernel}},
		&stepDisk{assemble{b, "Making the disk", (*image.Assembly).Disk}},
		&stepConvert{assemble{b, "Converting the disk", (*image.Assembly).Convert}},
		&stepManifest{bake: b},
	}
	if b.plan.boot != nil {
		steps = append(steps, &stepBootTest{bake: b})
	}
	if b.plan.signing != nil {
		steps = append(steps, &stepStatement{bake: b})
	}
	return append(steps, &stepPublish{assemble{b, "Publishing the image", (*image.Assembly).Publish}})
}

// Steps that are one method of the assembly.
type (
	stepBaseTree       struct{ assemble }
	stepOverlay        struct{ assemble }
	stepSeal           struct{ assemble }
	stepLeakGate       struct{ assemble }
	stepRootFilesystem struct{ assemble }
	stepVerity         struct{ assemble }
	stepInitrd         struct{ assemble }
	stepUnifiedKernel  struct{ assemble }
	stepDisk           struct{ assemble }
	stepConvert        struct{ assemble }
	stepPublish        struct{ assemble }
)

// assemble runs one method of the assembly as a step. Cleaning up is stepOpen's: closing the
// assembly frees all of it at once.
type assemble struct {
	bake   *bake
	title  string
	method func(*image.Assembly, context.Context) error
}

func (s *assemble) Run(ctx context.Context, state multistep.StateBag) multistep.StepAction {
	s.bake.ui.Say(s.title + "...")
	return proceed(state, s.method(s.bake.assembly, ctx))
}

func (*assemble) Cleanup(multistep.StateBag) {}

// proceed goes on, or halts with an error and its way out. Going on means that everything so far has passed: an error of a step
// that was tried again (-on-error=ask) does not count any more.
func proceed(state multistep.StateBag, err error) multistep.StepAction {
	if err == nil {
		state.Remove("error")
		return multistep.ActionContinue
	}
	if hint := image.Hint(err); hint != "" {
		err = fmt.Errorf("%w\nhint: %s", err, hint)
	}
	state.Put("error", err)
	return multistep.ActionHalt
}

// stepOpen looks at this machine for the first time: programs, binaries, output directory.
type stepOpen struct{ bake *bake }

func (s *stepOpen) Run(_ context.Context, state multistep.StateBag) multistep.StepAction {
	return proceed(state, s.open())
}

func (s *stepOpen) open() (err error) {
	s.bake.assembly, err = image.New(s.bake.plan.spec, s.bake.log)
	return err
}

func (s *stepOpen) Cleanup(multistep.StateBag) {
	if s.bake.assembly == nil {
		return
	}
	if err := s.bake.assembly.Close(); err != nil {
		s.bake.ui.Error(fmt.Sprintf("cannot clean up after the bake: %v", err))
	}
}

// stepConnect gives the provisioners their way into the tree.
type stepConnect struct{ bake *bake }

func (s *stepConnect) Run(ctx context.Context, state multistep.StateBag) multistep.StepAction {
	s.bake.comm = newCommunicator(context.WithoutCancel(ctx), s.bake.assembly)
	state.Put("communicator", s.bake.comm)
	return multistep.ActionContinue
}

// Cleanup comes after the clean-up provisioner has run, and before the tree goes away.
func (s *stepConnect) Cleanup(multistep.StateBag) { s.bake.comm.close() }
