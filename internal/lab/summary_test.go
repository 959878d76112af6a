package lab

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/strongroom/strongroom/internal/check"
	"github.com/strongroom/strongroom/internal/image"
	"github.com/strongroom/strongroom/internal/report"
)

func TestWriteSummary(t *testing.T) {
	manifest := &image.Result{
		Name: "strongroom", Version: "1.4.0", Distribution: "debian/trixie", Kernel: "6.12.48", RootHash: "aa11",
		Files: []image.File{{Name: "disk.raw", Size: 700 << 20, SHA256: "bb22"}, {Name: "packages.json", Size: 900, SHA256: "cc33"}},
	}
	proof := &Proof{
		Report: decode(t, `{"schema": "strongroom.report/v1", "stage": "run", "verdict": "pass", "baseline": "dd44",
			"summary": {"pass": 1, "pending": 1}, "controls": [{"id": "a-b", "severity": "must"}, {"id": "c-d", "severity": "should"}]}`),
		Steps: []Step{{"boot to verdict", 41200 * time.Millisecond}},
	}
	var b strings.Builder
	if err := WriteSummary(&b, manifest, []image.StepTime{{Step: "seal", Duration: 210 * time.Millisecond}}, proof); err != nil {
		t.Fatal(err)
	}
	want := `image            strongroom 1.4.0, debian/trixie, kernel 6.12.48
disk.raw         700.0 MiB  sha256:bb22
packages.json    900 B      sha256:cc33
root hash        aa11
baseline         dd44
verdict          pass at stage run: 1 of 2 controls pass
seal             0.21 s
boot to verdict  41.2 s
`
	if diff := cmp.Diff(want, b.String()); diff != "" {
		t.Errorf("summary (-want +got):\n%s", diff)
	}
}

// The error names the controls that closed the gate, and no other.
func TestVerdictError(t *testing.T) {
	err := &VerdictError{decode(t, answer("boot", check.Fail))}
	want := "the node's verdict at stage boot is fail: memory-swap-off (fail), kernel-lockdown (unknown)"
	if err.Error() != want {
		t.Errorf("error %q, want %q", err, want)
	}
}

func TestKeep(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "report.json")
	for _, content := range []string{"first", "second"} {
		if err := keep(path, []byte(content)); err != nil {
			t.Fatal(err)
		}
		if got, err := os.ReadFile(path); err != nil || string(got) != content {
			t.Errorf("kept %q, error %v; want %q", got, err, content)
		}
	}
	if err := keep(filepath.Join(dir, "missing", "report.json"), nil); err == nil {
		t.Error("no error for a directory that does not exist")
	}
	if left, _ := os.ReadDir(dir); len(left) != 1 {
		t.Errorf("left behind: %v", left)
	}
}

func TestProveImageWithoutImage(t *testing.T) {
	err := ProveImage(t.Context(), t.TempDir(), Options{}, &strings.Builder{})
	if err == nil || !strings.Contains(err.Error(), "make image") {
		t.Errorf("error %v, want the way out", err)
	}
}

func decode(t *testing.T, text string) *report.Document {
	t.Helper()
	document, err := report.ReadJSON(strings.NewReader(text))
	if err != nil {
		t.Fatal(err)
	}
	return document
}
