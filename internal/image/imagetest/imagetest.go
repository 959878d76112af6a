// Package imagetest bakes small images for the tests of other packages: no server, no hostcheck, the least that boots.
package imagetest

import (
	"context"
	"log/slog"
	"path/filepath"
	"testing"
	"time"

	"github.com/strongroom/strongroom/internal/image"
	"github.com/strongroom/strongroom/internal/overlay"
)

// Spec is such an image, as a raw disk in a directory of the test. Two of them are the same image, but for what the test changes.
func Spec(t testing.TB) image.Spec {
	t.Helper()
	tree := new(overlay.Tree)
	for _, f := range []overlay.Fragment{
		overlay.File("/usr/lib/strongroom/cmdline.d/10-console.conf", "console=ttyS0 systemd.machine_id=firmware\n"),
		overlay.File("/etc/fstab", "tmpfs /var tmpfs mode=0755 0 0\n"),
		overlay.Symlink("/etc/resolv.conf", "/run/systemd/resolve/resolv.conf"),
	} {
		if err := tree.Add("test", f); err != nil {
			t.Fatal(err)
		}
	}
	cache, err := image.UserCache()
	if err != nil {
		t.Skip(err)
	}
	return image.Spec{
		Name: "trial", Version: "1", Distribution: "debian/trixie", Overlay: tree,
		Formats: []string{image.FormatRaw}, DataSize: 64 << 20, Epoch: time.Unix(1_700_000_000, 0).UTC(),
		OutputDir: filepath.Join(t.TempDir(), "out"), CacheDir: filepath.Join(cache, "image"),
	}
}

// Bake makes an image of a spec. It takes the tools of the host, as TestBake does.
func Bake(t testing.TB, spec image.Spec) image.Result {
	t.Helper()
	a, err := image.New(spec, slog.New(slog.NewTextHandler(t.Output(), nil)))
	if err != nil {
		t.Fatal(err, image.Hint(err))
	}
	defer func() {
		if err := a.Close(); err != nil {
			t.Error(err)
		}
	}()
	for _, step := range []func(context.Context) error{
		a.BaseTree, a.ApplyOverlay, a.Seal, a.LeakGate, a.RootFilesystem, a.Verity, a.Initrd, a.UnifiedKernel, a.Disk, a.Convert, a.Manifest, a.Publish,
	} {
		if err := step(t.Context()); err != nil {
			t.Fatal(err, image.Hint(err))
		}
	}
	return a.Result()
}
