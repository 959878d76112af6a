package host_test

import (
	"bytes"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/strongroom/strongroom/internal/host"
)

// The attribute of `setcap cap_ipc_lock=ep`, version 2.
const ipcLock = "0100000200400000000000000000000000000000"

func TestFileCapability(t *testing.T) {
	dir := t.TempDir()
	for _, name := range []string{"plain", "capable"} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte("ELF"), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.Symlink("capable", filepath.Join(dir, "link")); err != nil {
		t.Fatal(err)
	}
	value := []byte{1, 0, 0, 2, 0, 0x40, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0}
	switch err := unix.Setxattr(filepath.Join(dir, "capable"), "security.capability", value, 0); {
	case errors.Is(err, unix.EPERM), errors.Is(err, unix.EOPNOTSUPP):
		t.Skip("this file system, or this user, gives no file a capability")
	case err != nil:
		t.Fatal(err)
	}
	tree, err := host.Tree(dir)
	if err != nil {
		t.Fatal(err)
	}
	defer tree.Close()
	recorder := host.NewRecorder(tree)
	for path, want := range map[string]string{"/plain": "", "/capable": ipcLock, "/link": "", "/": ""} {
		if got, err := recorder.FileCapability(path); err != nil || got != want {
			t.Errorf("%s: %q, %v; want %q", path, got, err, want)
		}
	}
	if _, err := recorder.FileCapability("/absent"); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("absent: %v", err)
	}
	var written bytes.Buffer
	if _, err := recorder.WriteTo(&written); err != nil {
		t.Fatal(err)
	}
	replay, err := host.Replay(&written)
	if err != nil {
		t.Fatal(err)
	}
	if got, err := replay.FileCapability("/capable"); err != nil || got != ipcLock {
		t.Errorf("replayed: %q, %v", got, err)
	}
	if _, err := replay.FileCapability("/absent"); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("replayed: %v", err)
	}
}
