package atomicfile_test

import (
	"errors"
	"io"
	"os"
	"path/filepath"
	"testing"

	"github.com/strongroom/strongroom/internal/atomicfile"
)

func TestWrite(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "file")
	text := func(s string, err error) func(io.Writer) error {
		return func(w io.Writer) error { _, werr := io.WriteString(w, s); return errors.Join(werr, err) }
	}
	if err := atomicfile.Write(path, 0o640, text("first", nil)); err != nil {
		t.Fatal(err)
	}
	full := errors.New("no space left on device")
	if err := atomicfile.Write(path, 0o640, text("half", full)); !errors.Is(err, full) {
		t.Errorf("got %v", err)
	}
	got, err := os.ReadFile(path)
	if err != nil || string(got) != "first" {
		t.Errorf("after a failed write: %q, %v", got, err)
	}
	if info, err := os.Stat(path); err != nil || info.Mode() != 0o640 {
		t.Errorf("mode %v, %v", info.Mode(), err)
	}
	if entries, _ := os.ReadDir(dir); len(entries) != 1 {
		t.Errorf("left behind: %v", entries)
	}
	if err := atomicfile.Write(filepath.Join(dir, "absent", "file"), 0o644, text("", nil)); err == nil {
		t.Error("no error without the directory")
	}
}
