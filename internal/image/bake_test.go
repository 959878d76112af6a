//go:build bake

package image

import (
	"context"
	"log/slog"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/strongroom/strongroom/internal/overlay"
)

// smallOverlay is the least that boots: no node of ours, but a whole image.
func smallOverlay(t *testing.T) *overlay.Tree {
	t.Helper()
	tree := new(overlay.Tree)
	for _, f := range []overlay.Fragment{
		overlay.File("/usr/lib/strongroom/cmdline.d/10-console.conf", "console=tty0 console=ttyS0\n"),
		overlay.File("/usr/lib/strongroom/cmdline.d/20-machine-id.conf", "systemd.machine_id=firmware\n"),
		overlay.File("/etc/fstab", "tmpfs /var tmpfs mode=0755 0 0\n"),
		overlay.Symlink("/etc/resolv.conf", "/run/systemd/resolve/resolv.conf"),
		overlay.File("/usr/lib/sysusers.d/trial.conf", "u vault - \"Vault\" /var/lib/vault\n"),
	} {
		if err := tree.Add("test", f); err != nil {
			t.Fatal(err)
		}
	}
	return tree
}

func cacheDir(t *testing.T) string {
	if dir := os.Getenv("STRONGROOM_CACHE"); dir != "" {
		return filepath.Join(dir, "image")
	}
	return t.TempDir()
}

func trialSpec(t *testing.T) Spec {
	return Spec{
		Name: "trial", Version: "1", Distribution: "debian/trixie", Overlay: smallOverlay(t),
		Formats: []string{FormatRaw, FormatQCOW2}, DataSize: 1 << 30, Epoch: time.Unix(1_700_000_000, 0).UTC(),
		OutputDir: filepath.Join(t.TempDir(), "out"), CacheDir: cacheDir(t),
	}
}

func bake(t *testing.T, spec Spec) Result {
	t.Helper()
	ctx := context.Background()
	a, err := New(spec, slog.New(slog.NewTextHandler(t.Output(), &slog.HandlerOptions{Level: slog.LevelDebug})))
	if err != nil {
		t.Fatal(err, Hint(err))
	}
	defer func() {
		if err := a.Close(); err != nil {
			t.Error(err)
		}
	}()
	for _, step := range []func(context.Context) error{
		a.BaseTree, a.ApplyOverlay, a.Seal, a.RootFilesystem, a.Verity, a.Initrd, a.UnifiedKernel, a.Disk, a.Convert, a.Manifest, a.Publish,
	} {
		if err := step(ctx); err != nil {
			t.Fatal(err, Hint(err))
		}
	}
	return a.Result()
}

func TestBake(t *testing.T) {
	r := bake(t, trialSpec(t))
	for _, s := range r.Steps {
		t.Logf("%-22s %6.2f s", s.Step, s.Duration.Seconds())
	}
	if keep := os.Getenv("KEEP"); keep != "" {
		os.RemoveAll(keep)
		if err := os.CopyFS(keep, os.DirFS(r.Dir)); err != nil {
			t.Fatal(err)
		}
	}
}
