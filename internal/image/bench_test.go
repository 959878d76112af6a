//go:build bake

package image_test

import (
	"io"
	"log/slog"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/strongroom/strongroom/hardening"
	"github.com/strongroom/strongroom/internal/control"
	"github.com/strongroom/strongroom/internal/image"
)

// The bake of `make image`: the whole catalogue, Vault, hostcheck, raw and qcow2 published.
func benchmarkSpec(b *testing.B, cache string) image.Spec {
	b.Helper()
	vault := os.Getenv("VAULT_BINARY")
	if vault == "" {
		b.Fatal("VAULT_BINARY is not set; run `make bench`")
	}
	catalogue, err := hardening.Load()
	must(b, err)
	baseline, err := catalogue.Compile(control.Profile{Server: "vault", Platform: "vm", Layout: "sealed", Distribution: "debian/trixie"})
	must(b, err)
	overlay, err := baseline.Overlay()
	must(b, err)
	hostcheck, err := filepath.Abs("../../bin/hostcheck")
	must(b, err)
	return image.Spec{
		Name: "strongroom", Version: "0.0.1", Distribution: "debian/trixie", Overlay: overlay,
		Binaries:  []image.Binary{{Source: vault, Path: "/usr/bin/vault"}, {Source: hostcheck, Path: "/usr/bin/hostcheck"}},
		Formats:   []string{image.FormatRaw, image.FormatQCOW2},
		DataSize:  2 << 30,
		Epoch:     time.Unix(1735689600, 0),
		OutputDir: filepath.Join(b.TempDir(), "image"), Replace: true, CacheDir: cache,
	}
}

func must(b *testing.B, err error) {
	b.Helper()
	if err != nil {
		b.Fatal(err)
	}
}

// bakeOnce reports the seconds of each step of the last bake beside the whole.
func bakeOnce(b *testing.B, spec image.Spec) {
	b.Helper()
	a, err := image.New(spec, slog.New(slog.NewTextHandler(io.Discard, nil)))
	must(b, err)
	defer a.Close()
	ctx := b.Context()
	must(b, a.BaseTree(ctx))
	must(b, a.ApplyOverlay(ctx))
	must(b, a.Seal(ctx))
	must(b, a.LeakGate(ctx))
	must(b, a.RootFilesystem(ctx))
	must(b, a.Verity(ctx))
	must(b, a.Initrd(ctx))
	must(b, a.UnifiedKernel(ctx))
	must(b, a.Disk(ctx))
	must(b, a.Convert(ctx))
	must(b, a.Manifest(ctx))
	must(b, a.Publish(ctx))
	for _, s := range a.Result().Steps {
		b.Logf("%-22s %6.2f s", s.Step, s.Duration.Seconds())
	}
}

// BenchmarkBakeCold starts with an empty cache: packages, initrd and all. Target: at most 45 s on 2 cores.
func BenchmarkBakeCold(b *testing.B) {
	for b.Loop() {
		b.StopTimer()
		spec := benchmarkSpec(b, b.TempDir())
		b.StartTimer()
		bakeOnce(b, spec)
	}
	b.ReportMetric(b.Elapsed().Seconds()/float64(b.N), "s/bake")
}

// BenchmarkBakeWarm bakes with an unchanged package set, as after a change to the overlay. Target: at most 5 s.
func BenchmarkBakeWarm(b *testing.B) {
	spec := benchmarkSpec(b, b.TempDir())
	bakeOnce(b, spec)
	for b.Loop() {
		bakeOnce(b, spec)
	}
	b.ReportMetric(b.Elapsed().Seconds()/float64(b.N), "s/bake")
}
