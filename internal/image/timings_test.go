package image

import (
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

func TestTimingsRoundTrip(t *testing.T) {
	dir := t.TempDir()
	if got, err := ReadTimings(dir); err != nil || got != nil {
		t.Errorf("no file: %v, %v", got, err)
	}
	want := []StepTime{{"base tree", 320 * time.Millisecond}, {"seal", 2 * time.Second}}
	if err := WriteTimings(dir, want); err != nil {
		t.Fatal(err)
	}
	got, err := ReadTimings(dir)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	if err := os.WriteFile(filepath.Join(dir, TimingsName), []byte(`{"schema":"other"}`), 0o644); err != nil {
		t.Fatal(err)
	}
	if _, err := ReadTimings(dir); err == nil {
		t.Error("another schema was accepted")
	}
}
