package checktest

import (
	"errors"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"testing"

	"github.com/strongroom/strongroom/internal/baseline"
	"github.com/strongroom/strongroom/internal/check"
	"github.com/strongroom/strongroom/internal/control"
	"github.com/strongroom/strongroom/internal/host"
)

// WriteTree writes the files of a host in memory below a directory of this machine's disk, with their modes
// and owners, over what is there. Owners need root; a test of an ordinary user is skipped.
func WriteTree(t testing.TB, dir string, h host.Host) {
	t.Helper()
	if os.Geteuid() != 0 {
		t.Skip("files of other owners need root")
	}
	var write func(p string) error
	write = func(p string) error {
		info, err := h.Lstat(p)
		if err != nil {
			return err
		}
		onDisk := filepath.Join(dir, p)
		if !info.Mode.IsDir() {
			// Never write through a link that is in the way: its target may lie outside.
			if err := os.Remove(onDisk); err != nil && !errors.Is(err, fs.ErrNotExist) {
				return err
			}
		}
		switch {
		case info.Mode.IsDir():
			if err = os.MkdirAll(onDisk, 0o700); err != nil {
				return err
			}
			names, err := h.ReadDir(p)
			if err != nil {
				return err
			}
			for _, name := range names {
				if err := write(path.Join(p, name)); err != nil {
					return err
				}
			}
		case info.Mode&fs.ModeSymlink != 0:
			return os.Symlink(info.Target, onDisk)
		default:
			content, err := h.ReadFile(p)
			if err != nil {
				return err
			}
			if err := os.WriteFile(onDisk, content, 0o600); err != nil {
				return err
			}
		}
		if err := os.Chown(onDisk, int(info.UID), int(info.GID)); err != nil {
			return err
		}
		return os.Chmod(onDisk, info.Mode) // after chown, which clears setuid and setgid
	}
	if err := write("/"); err != nil {
		t.Fatal(err)
	}
}

// WriteCapture records what a check of a host reads, as `hostcheck capture` does, into a file.
func WriteCapture(t testing.TB, file string, h host.Host, stage control.Stage) {
	t.Helper()
	recorder := host.NewRecorder(h)
	content, err := recorder.ReadFile(baseline.Path)
	if err != nil {
		t.Fatal(err)
	}
	b, digest, err := baseline.DecodeBytes(content)
	if err != nil {
		t.Fatal(err)
	}
	check.Run(t.Context(), b, digest, recorder, stage, check.Options{})
	f, err := os.Create(file)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	if _, err := recorder.WriteTo(f); err != nil {
		t.Fatal(err)
	}
}
