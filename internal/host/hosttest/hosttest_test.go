package hosttest_test

import (
	"errors"
	"io/fs"
	"testing"

	"github.com/strongroom/strongroom/internal/host"
	"github.com/strongroom/strongroom/internal/host/hosttest"
)

func TestWhatWasNotSetIsLoud(t *testing.T) {
	h := hosttest.New()
	ctx := t.Context()
	for name, ask := range map[string]func() error{
		"Swaps":            func() error { _, err := h.Swaps(); return err },
		"Mounts":           func() error { _, err := h.Mounts(); return err },
		"KernelArguments":  func() error { _, err := h.KernelArguments(); return err },
		"AppArmor":         func() error { _, err := h.AppArmor(); return err },
		"Modules":          func() error { _, err := h.Modules(); return err },
		"Listeners":        func() error { _, err := h.Listeners(); return err },
		"Process":          func() error { _, err := h.Process(1); return err },
		"Unit":             func() error { _, err := h.Unit(ctx, "x.service"); return err },
		"UnitStatus":       func() error { _, err := h.UnitStatus(ctx, "x.service"); return err },
		"Units":            func() error { _, err := h.Units(ctx); return err },
		"Processes":        func() error { _, err := h.Processes(); return err },
		"Executable":       func() error { _, err := h.Executable(1); return err },
		"ExecutableDigest": func() error { _, err := h.ExecutableDigest(1); return err },
		"OpenFiles":        func() error { _, err := h.OpenFiles("/x"); return err },
		"Clock":            func() error { _, err := h.Clock(); return err },
		"Virtualization":   func() error { _, err := h.Virtualization(ctx); return err },
		"Ruleset":          func() error { _, err := h.Ruleset(ctx); return err },
		"AuditDevices":     func() error { _, err := h.AuditDevices(ctx); return err },
		"Tokens":           func() error { _, err := h.Tokens(ctx); return err },
		"AuthMethods":      func() error { _, err := h.AuthMethods(ctx); return err },
		"Autopilot":        func() error { _, err := h.Autopilot(ctx); return err },
		"TLSListener":      func() error { _, err := h.TLSListener(ctx, "127.0.0.1:8200", "/ca"); return err },
	} {
		if err := ask(); !errors.Is(err, hosttest.ErrNotSet) || errors.Is(err, fs.ErrNotExist) {
			t.Errorf("%s: %v", name, err)
		}
		h.FailFact(name, fs.ErrPermission)
		if err := ask(); !errors.Is(err, fs.ErrPermission) {
			t.Errorf("%s after FailFact: %v", name, err)
		}
	}
}

func TestEmptyIsSet(t *testing.T) {
	h := hosttest.New().SetSwaps().SetNoUnit("ssh.service")
	if v, err := h.Swaps(); err != nil || len(v) != 0 {
		t.Errorf("swaps %v, %v", v, err)
	}
	u, err := h.Unit(t.Context(), "ssh.service")
	if err != nil || u.LoadState != "not-found" || u.Properties["LoadState"] != "not-found" {
		t.Errorf("unit %+v, %v", u, err)
	}
}

func TestFiles(t *testing.T) {
	h := hosttest.New().
		File("/usr/bin/su", "").Chmod("/usr/bin/su", 0o755|fs.ModeSetuid).Chown("/usr/bin/su", 0, 5).
		Directory("/var/lib/vault", 0o700).
		Special("/dev/null", fs.ModeDevice|fs.ModeCharDevice|0o666).
		File("/gone/below", "x").Remove("/gone").
		File("/closed", "x").FailFile("/closed", fs.ErrPermission).Symlink("/way", "/closed")
	if i, err := h.Stat("/usr/bin/su"); err != nil || i != (host.FileInfo{Mode: 0o755 | fs.ModeSetuid, GID: 5}) {
		t.Errorf("su: %+v, %v", i, err)
	}
	if i, err := h.Stat("/usr/bin"); err != nil || i.Mode != fs.ModeDir|0o755 {
		t.Errorf("a directory on the way: %+v, %v", i, err)
	}
	if _, err := h.Stat("/gone/below"); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("removed: %v", err)
	}
	for _, p := range []string{"/closed", "/way"} {
		if _, err := h.ReadFile(p); !errors.Is(err, fs.ErrPermission) {
			t.Errorf("%s: %v", p, err)
		}
	}
	if _, err := h.ReadFile("/dev/null"); err == nil {
		t.Error("a device was read")
	}
}
