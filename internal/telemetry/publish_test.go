package telemetry_test

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/strongroom/strongroom/internal/report"
	"github.com/strongroom/strongroom/internal/telemetry"
)

func TestWriteReport(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "report.json")
	for _, edit := range []func(*report.Document){nil, passing} {
		want := document(edit)
		if err := telemetry.WriteReport(path, want); err != nil {
			t.Fatal(err)
		}
		f, err := os.Open(path)
		if err != nil {
			t.Fatal(err)
		}
		got, err := report.ReadJSON(f)
		f.Close()
		if err != nil || got.Verdict != want.Verdict {
			t.Errorf("read %+v, %v", got, err)
		}
	}
	if info, _ := os.Stat(path); info.Mode().Perm() != 0o644 {
		t.Errorf("mode %v", info.Mode())
	}
	if err := telemetry.WriteReport(filepath.Join(dir, "absent", "report.json"), document(nil)); err == nil {
		t.Error("no error without the directory")
	}
	if entries, _ := os.ReadDir(dir); len(entries) != 1 {
		t.Errorf("left behind: %v", entries)
	}
}
