package plugin

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"time"

	"github.com/hashicorp/packer-plugin-sdk/multistep"
	packersdk "github.com/hashicorp/packer-plugin-sdk/packer"

	"github.com/strongroom/strongroom/internal/agentbinary"
	"github.com/strongroom/strongroom/internal/check"
	"github.com/strongroom/strongroom/internal/control"
	"github.com/strongroom/strongroom/internal/report"
)

// Files of the artifact beside the disks and the manifest.
const (
	imageReportName = "image-report.json" // hostcheck on the sealed tree
	nodeReportName  = "report.json"       // hostcheck on the node of the boot test
	consoleName     = "console.log"       // what that node said on its serial console
)

// findHostcheck resolves the attribute hostcheck: as it is given, or else beside this program,
// or else the one that travels inside it, or else in PATH.
func findHostcheck(given string) (string, error) {
	if given != "" {
		return given, nil
	}
	self, err := os.Executable()
	if err != nil {
		return "", fmt.Errorf("cannot tell where this plugin lies: %w", err)
	}
	beside := filepath.Join(filepath.Dir(self), "hostcheck")
	if info, err := os.Stat(beside); err == nil && info.Mode().IsRegular() {
		return beside, nil
	}
	if inside, err := agentbinary.Unpack(userCache("hostcheck")); !errors.Is(err, agentbinary.ErrNone) {
		return inside, err
	}
	if found, err := exec.LookPath("hostcheck"); err == nil {
		return filepath.Abs(found)
	}
	return "", fmt.Errorf("hostcheck: not inside this plugin, which is no release, nor at %s, nor in PATH\nhint: name the program in the template, as in: hostcheck = \"bin/hostcheck\"", beside)
}

// stepVerify lets the very hostcheck that goes into the image judge the sealed tree. An image
// whose own statement does not hold is never made.
type stepVerify struct{ bake *bake }

func (s *stepVerify) Run(ctx context.Context, state multistep.StateBag) multistep.StepAction {
	s.bake.ui.Say("Verifying the sealed tree...")
	return proceed(state, s.verify(ctx))
}

func (*stepVerify) Cleanup(multistep.StateBag) {}

func (s *stepVerify) verify(ctx context.Context) error {
	hostcheck, err := filepath.Abs(s.bake.plan.hostcheck)
	if err != nil {
		return fmt.Errorf("cannot resolve %s: %w", s.bake.plan.hostcheck, err)
	}
	cmd := s.bake.assembly.Inspect(ctx, func(tree string) []string {
		return []string{hostcheck, "verify", "--stage", control.StageImage.String(), "--root", tree, "--format", "json"}
	})
	var stdout, stderr bytes.Buffer
	cmd.Stdout, cmd.Stderr = &stdout, &stderr
	failure := cmd.Run()
	if err := judge(s.bake.ui, "the sealed tree", stdout.Bytes(), s.bake.plan.baselineDigest); err != nil {
		if errors.Is(err, errNoReport) {
			err = errors.Join(err, failure, message(stderr.String()))
		}
		return err
	}
	if failure != nil {
		return fmt.Errorf("cannot verify the sealed tree: %w", errors.Join(failure, message(stderr.String())))
	}
	s.bake.imageReport, err = undated(stdout.Bytes(), s.bake.assembly.Epoch())
	return err
}

// undated is a report on the tree of an image with the image's time in the place of the clock's, so that two bakes of one image have the same
// report. How long the step took is in the times of the bake.
func undated(text []byte, epoch time.Time) ([]byte, error) {
	document, err := report.ReadJSON(bytes.NewReader(text))
	if err != nil {
		return nil, err
	}
	document.Started, document.Seconds = epoch.UTC(), 0
	var out bytes.Buffer
	err = report.WriteJSON(&out, document)
	return out.Bytes(), err
}

// errNoReport says that hostcheck has written nothing that is a report.
var errNoReport = errors.New("hostcheck gave no report")

// judge shows what a report of hostcheck on subject says, and is an error unless that is that the baseline holds.
func judge(ui packersdk.Ui, subject string, text []byte, baseline string) error {
	document, err := report.ReadJSON(bytes.NewReader(text))
	if err != nil {
		return fmt.Errorf("cannot verify %s: %w: %w", subject, errNoReport, err)
	}
	if document.Baseline != baseline {
		return fmt.Errorf("cannot verify %s: it states baseline %s, and this build rendered %s\nhint: a provisioner has replaced it, or hostcheck and the plugin are of different versions", subject, document.Baseline, baseline)
	}
	var summary strings.Builder
	if err := report.WriteText(&summary, document, report.Options{Brief: true}); err != nil {
		return err
	}
	ui.Say(strings.TrimSpace(summary.String()))
	if document.Verdict != check.Pass {
		return fmt.Errorf("%s is not what the baseline states: %s", subject, strings.Join(closingControls(document), ", "))
	}
	return nil
}

// closingControls names the controls that keep the gate shut.
func closingControls(d *report.Document) []string {
	var ids []string
	for _, c := range d.Controls {
		if c.Severity == control.Must && (c.Outcome == control.Fail || c.Outcome == control.Unknown) {
			ids = append(ids, fmt.Sprintf("%s (%s)", c.ID, c.Outcome))
		}
	}
	return ids
}

// message is a program's last words as an error, nil when it had none.
func message(stderr string) error {
	if stderr = strings.TrimSpace(stderr); stderr == "" {
		return nil
	}
	return errors.New(stderr)
}
