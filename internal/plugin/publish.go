package plugin

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"

	"github.com/hashicorp/packer-plugin-sdk/multistep"

	"github.com/strongroom/strongroom/internal/image"
	"github.com/strongroom/strongroom/internal/lab"
)

// stepManifest writes the artifacts and their manifest beside the output directory, and the
// report on the sealed tree with them.
type stepManifest struct{ bake *bake }

func (s *stepManifest) Run(ctx context.Context, state multistep.StateBag) multistep.StepAction {
	s.bake.ui.Say("Writing the artifacts...")
	return proceed(state, s.write(ctx))
}

func (*stepManifest) Cleanup(multistep.StateBag) {}

func (s *stepManifest) write(ctx context.Context) error {
	if err := s.bake.assembly.Manifest(ctx); err != nil {
		return err
	}
	name := filepath.Join(s.bake.assembly.StagingDir(), imageReportName)
	if err := os.WriteFile(name, s.bake.imageReport, 0o644); err != nil {
		return fmt.Errorf("cannot write the report on the sealed tree: %w", err)
	}
	if err := image.WriteTimings(s.bake.assembly.StagingDir(), s.bake.assembly.Result().Steps); err != nil {
		return err
	}
	s.bake.made = append(s.bake.made, image.ManifestName, imageReportName, image.TimingsName)
	for _, f := range s.bake.assembly.Result().Beside {
		s.bake.made = append(s.bake.made, filepath.FromSlash(f.Name))
	}
	return nil
}

// stepBootTest boots the finished disk. What does not boot, or boots and says that it is not
// what was baked, is not published.
type stepBootTest struct{ bake *bake }

func (s *stepBootTest) Run(ctx context.Context, state multistep.StateBag) multistep.StepAction {
	s.bake.ui.Say("Booting the disk...")
	return proceed(state, s.boot(ctx))
}

func (*stepBootTest) Cleanup(multistep.StateBag) {}

func (s *stepBootTest) boot(ctx context.Context) error {
	staging := s.bake.assembly.StagingDir()
	services, err := lab.ServicesOf(s.bake.plan.spec.Parameters)
	if err != nil {
		return err
	}
	proof, err := lab.Prove(ctx, lab.Options{
		Services:   services,
		Disk:       filepath.Join(staging, "disk."+bootFormat(s.bake.plan.spec.Formats)),
		Report:     filepath.Join(staging, nodeReportName),
		ConsoleLog: filepath.Join(staging, consoleName),
		MemoryMiB:  int(s.bake.plan.boot.memory >> 20),
		CPUs:       s.bake.plan.boot.cpus,
		Timeout:    s.bake.plan.boot.timeout,
		Log:        s.bake.log,
	})
	if err != nil {
		return fmt.Errorf("boot test: %w", err)
	}
	if want := s.bake.assembly.Result().RootHash; proof.Report.Host.RootHash != want {
		return errors.New("boot test: the node runs the root " + proof.Report.Host.RootHash + ", and " + want + " was baked")
	}
	s.bake.made = append(s.bake.made, nodeReportName, consoleName)
	return nil
}
