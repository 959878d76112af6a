//go:build bake

package image_test

import (
	"io"
	"log/slog"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/strongroom/strongroom/hardening"
	"github.com/strongroom/strongroom/internal/control"
	"github.com/strongroom/strongroom/internal/image"
	"github.com/strongroom/strongroom/internal/leaks"
)

// sealed is the tree of a stock image, up to the leak gate.
func sealed(t *testing.T, distribution string, allow []leaks.Allowance, plant map[string]string) *image.Assembly {
	t.Helper()
	vault := os.Getenv("VAULT_BINARY")
	if vault == "" {
		t.Fatal("VAULT_BINARY is not set; run `make test`")
	}
	catalogue, err := hardening.Load()
	if err != nil {
		t.Fatal(err)
	}
	baseline, err := catalogue.Compile(control.Profile{Server: "vault", Platform: "vm", Layout: "sealed", Distribution: distribution})
	if err != nil {
		t.Fatal(err)
	}
	overlay, err := baseline.Overlay()
	if err != nil {
		t.Fatal(err)
	}
	cache, err := image.UserCache()
	if err != nil {
		t.Fatal(err)
	}
	a, err := image.New(image.Spec{
		Name: "leaks", Version: "1", Distribution: distribution, Overlay: overlay, AllowedLeaks: allow,
		Binaries:  []image.Binary{{Source: vault, Path: "/usr/bin/vault"}, {Source: hostcheck(t), Path: "/usr/bin/hostcheck"}},
		Formats:   []string{image.FormatRaw},
		Epoch:     time.Unix(1735689600, 0),
		OutputDir: filepath.Join(t.TempDir(), "out"), CacheDir: filepath.Join(cache, "image"),
	}, slog.New(slog.NewTextHandler(io.Discard, nil)))
	if err != nil {
		t.Fatal(err, image.Hint(err))
	}
	t.Cleanup(func() {
		if err := a.Close(); err != nil {
			t.Error(err)
		}
	})
	for _, step := range []func() error{
		func() error { return a.BaseTree(t.Context()) },
		func() error { return a.ApplyOverlay(t.Context()) },
		func() error {
			for path, text := range plant {
				if err := a.Upload(t.Context(), path, 0o600, strings.NewReader(text)); err != nil {
					return err
				}
			}
			// Of somebody else than root: not even the owner of an ordinary user's bake reads it from outside.
			return a.Command(t.Context(), "sh", "-c", "chown daemon /srv/* 2>/dev/null || true").Run()
		},
		func() error { return a.Seal(t.Context()) },
	} {
		if err := step(); err != nil {
			t.Fatal(err, image.Hint(err))
		}
	}
	return a
}

// hostcheck is the program as releases have it: it knows what secrets look like, and must not look like one.
func hostcheck(t *testing.T) string {
	t.Helper()
	program := filepath.Join(t.TempDir(), "hostcheck")
	build := exec.CommandContext(t.Context(), "go", "build", "-trimpath", "-tags", "nethttpomithttp2", "-ldflags", "-s -w", "-o", program, "../../cmd/hostcheck")
	build.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := build.CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	return program
}

func lastStep(a *image.Assembly) image.StepTime { s := a.Result().Steps; return s[len(s)-1] }

// A stock image has no findings: neither its programs, nor its libraries, nor Vault, nor hostcheck.
func TestLeakGateOnStockImages(t *testing.T) {
	for _, distribution := range image.Distributions() {
		t.Run(distribution, func(t *testing.T) {
			a := sealed(t, distribution, nil, nil)
			if err := a.LeakGate(t.Context()); err != nil {
				t.Fatal(err)
			}
			t.Logf("%s took %.2f s", lastStep(a).Step, lastStep(a).Duration.Seconds())
		})
	}
}

// A secret that a provisioner left ends the bake before anything is made of the tree; an allowance lets it through.
func TestLeakGateHolds(t *testing.T) {
	token := "gh" + "p_" + "q7Rz0kV3nT8yW5uB2xC9eD4fG6hJ1mLpSaXi"
	plant := map[string]string{"/srv/ci.conf": "url = https://example.com\ntoken = " + token + "\n", "/etc/machine-id.bak": "none\n"}
	a := sealed(t, "debian/trixie", nil, plant)
	err := a.LeakGate(t.Context())
	if err == nil {
		t.Fatal("the gate let a token through")
	}
	for _, want := range []string{"leak gate: ", "/srv/ci.conf:2: ", "GitHub", "(github-pat ", "remove it and revoke it"} {
		if !strings.Contains(err.Error(), want) {
			t.Errorf("error %q, want %q in it", err, want)
		}
	}
	if strings.Contains(err.Error(), token) || !strings.Contains(image.Hint(err), "allow_leak") {
		t.Errorf("error %q, hint %q", err, image.Hint(err))
	}
	if err := a.RootFilesystem(t.Context()); err == nil || !strings.Contains(err.Error(), "cannot run step") {
		t.Errorf("the bake goes on: %v", err)
	}
	if _, err := os.Stat(a.StagingDir()); !os.IsNotExist(err) {
		t.Errorf("something was written: %v", err)
	}

	allow := []leaks.Allowance{{Path: "/srv/ci.conf", Kind: "github-pat", Reason: "a test's"}}
	if err := sealed(t, "debian/trixie", allow, plant).LeakGate(t.Context()); err != nil {
		t.Errorf("with an allowance: %v", err)
	}
	unused := slices.Concat(allow, []leaks.Allowance{{Path: "/srv/ci.conf", Kind: "netrc", Reason: "a test's"}})
	if err := sealed(t, "debian/trixie", unused, plant).LeakGate(t.Context()); err == nil || !strings.Contains(err.Error(), "allows nothing that was found") {
		t.Errorf("with an allowance of nothing: %v", err)
	}
}
