//go:build boot

package lab

import (
	"cmp"
	"context"
	"crypto"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/strongroom/strongroom/hardening"
	"github.com/strongroom/strongroom/internal/baseline"
	"github.com/strongroom/strongroom/internal/control"
	"github.com/strongroom/strongroom/internal/image"
	"github.com/strongroom/strongroom/internal/measure"
	"github.com/strongroom/strongroom/internal/overlay"
	"github.com/strongroom/strongroom/internal/secureboot"
	"github.com/strongroom/strongroom/internal/server"
)

// workDir holds what the tests of this package bake; the images go with it.
var workDir string

func TestMain(m *testing.M) {
	os.Exit(func() int {
		var err error
		if workDir, err = os.MkdirTemp("", "strongroom-boot-"); err != nil {
			fmt.Fprintln(os.Stderr, err)
			return 1
		}
		defer os.RemoveAll(workDir)
		return m.Run()
	}())
}

// finished is the image under test: the one in $STRONGROOM_IMAGE (as `make image` leaves it),
// or one baked now.
func finished(t testing.TB) (dir string, manifest *image.Result) {
	t.Helper()
	dir = os.Getenv("STRONGROOM_IMAGE")
	if dir == "" {
		if err := plain(); err != nil {
			t.Fatal(err)
		}
		dir = filepath.Join(workDir, "plain")
	}
	manifest, err := readManifest(filepath.Join(dir, image.ManifestName))
	if err != nil {
		t.Fatal(err)
	}
	return dir, manifest
}

var plain = sync.OnceValue(func() error {
	return bake(context.Background(), recipe{name: "plain", formats: []string{image.FormatRaw, image.FormatNetboot}})
})

// variant bakes an image that is as it should be but for some files. It is sealed like any
// other: what the node finds was there when its verity tree was made.
func variant(t testing.TB, name string, drift ...overlay.Fragment) (disk string) {
	t.Helper()
	if err := bake(t.Context(), recipe{name: name, drift: drift}); err != nil {
		t.Fatal(err)
	}
	return filepath.Join(workDir, name, "disk.raw")
}

// One bake at a time: it wants every core and a file system in memory.
var baking sync.Mutex

// recipe is what makes one image of these tests another than the plain one.
type recipe struct {
	name         string
	version      string            // default one of the name
	server       string            // default vault
	platform     string            // default vm
	distribution string            // default debian/trixie
	parameters   map[string]string // of the profile
	drift        []overlay.Fragment
	unsigned     bool                                    // the baseline has no signature
	forge        func(overlay.Fragment) overlay.Fragment // every file of the hardening, when its baseline is signed
	programs     []image.Binary                          // beside the server and hostcheck
	packages     []string                                // of the distribution, beside those of every image
	controls     string                                  // a file of site controls
	waivers      string                                  // a file of waivers
	formats      []string                                // default raw
	netboot      image.Netboot                           // default: the disk "data" holds the node's data
	secureBoot   *secureboot.Identity
	policyKey    *measure.PolicyKey
}

func bake(ctx context.Context, r recipe) error {
	baking.Lock()
	defer baking.Unlock()
	assembly, err := assemble(r)
	if err != nil {
		return err
	}
	defer assembly.Close()
	for _, step := range []func(context.Context) error{
		assembly.BaseTree, assembly.ApplyOverlay, assembly.Seal, assembly.LeakGate, assembly.RootFilesystem, assembly.Verity, assembly.Initrd,
		assembly.UnifiedKernel, assembly.Disk, assembly.Convert, assembly.Manifest, assembly.Publish,
	} {
		if err := step(ctx); err != nil {
			return fmt.Errorf("cannot bake image %s: %w", r.name, err)
		}
	}
	return nil
}

// assemble begins a bake.
func assemble(r recipe) (*image.Assembly, error) {
	distribution := cmp.Or(r.distribution, "debian/trixie")
	product, err := server.Find(cmp.Or(r.server, "vault"))
	if err != nil {
		return nil, err
	}
	serverProgram, err := serverBinary(product)
	if err != nil {
		return nil, err
	}
	agent, err := hostcheck()
	if err != nil {
		return nil, err
	}
	programs := []image.Binary{{Source: serverProgram, Path: product.Binary}, {Source: agent, Path: "/usr/bin/hostcheck"}}
	catalogue, err := hardening.Load()
	if err != nil {
		return nil, err
	}
	if r.controls != "" {
		if catalogue, err = catalogue.With(baseline.File{Name: "site.yaml", Content: []byte(r.controls)}); err != nil {
			return nil, err
		}
	}
	parameters := maps.Clone(r.parameters)
	if parameters == nil {
		parameters = map[string]string{}
	}
	measured, err := image.InspectBinaries(programs[1:])
	if err != nil {
		return nil, err
	}
	// Not the server's: an emulated node takes half a minute for its digest.
	parameters["hostcheck_sha256"] = measured[0].SHA256
	compiled, err := catalogue.Compile(control.Profile{
		Server: product.ID, Platform: cmp.Or(r.platform, "vm"), Layout: "sealed", Distribution: distribution, Parameters: parameters,
	})
	if err != nil {
		return nil, err
	}
	if r.waivers != "" {
		waivers, err := baseline.ParseWaivers("waivers.yaml", []byte(r.waivers))
		if err != nil {
			return nil, err
		}
		if err := compiled.Waive(waivers, control.Lapsed(time.Now())); err != nil {
			return nil, err
		}
	}
	formats := r.formats
	if formats == nil {
		formats = []string{image.FormatRaw}
	}
	sign, err := bakery()
	if err != nil {
		return nil, err
	}
	tree, err := compiled.Overlay()
	if err == nil && !r.unsigned {
		tree, err = withSignature(tree, sign.baseline, r.forge)
	}
	if err != nil {
		return nil, err
	}
	for _, f := range r.drift {
		if err := tree.Add("the test", f); err != nil {
			return nil, err
		}
	}
	if r.netboot == (image.Netboot{}) {
		r.netboot.DataDisk = "id:virtio-data"
	}
	cache, err := image.UserCache()
	if err != nil {
		return nil, err
	}
	return image.New(image.Spec{
		ShipsLogs: parameters[baseline.LogShipping] == baseline.JournalUpload, Name: "strongroom", Version: cmp.Or(r.version, "0.0.0-"+r.name), Distribution: distribution, Hardware: r.platform == "metal",
		Overlay: tree, Packages: r.packages, Binaries: slices.Concat(programs, r.programs), Formats: formats, Netboot: r.netboot, DataSize: 2 << 30,
		SecureBoot: cmp.Or(r.secureBoot, &sign.image), PolicyKey: cmp.Or(r.policyKey, &sign.policy),
		Epoch: time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC), OutputDir: filepath.Join(workDir, r.name), CacheDir: cache,
	}, testLog())
}

// withSignature is a hardening whose baseline is signed, and then forged by a function that is not nil.
func withSignature(tree *overlay.Tree, key crypto.Signer, forge func(overlay.Fragment) overlay.Fragment) (*overlay.Tree, error) {
	if err := baseline.Sign(tree, key); err != nil || forge == nil {
		return tree, err
	}
	forged := new(overlay.Tree)
	for _, f := range tree.Fragments() {
		if err := forged.Add("the test", forge(f)); err != nil {
			return nil, err
		}
	}
	return forged, nil
}

// serverBinary is the server's program as `make image` takes it.
func serverBinary(p server.Product) (string, error) {
	if p.ID == "openbao" {
		path := os.Getenv("OPENBAO_BINARY")
		if path == "" {
			return "", errors.New("OPENBAO_BINARY is not set")
		}
		return path, nil
	}
	if path := os.Getenv("VAULT_BINARY"); path != "" {
		return path, nil
	}
	path, err := exec.Command("../../tools/build", "--path", "vault").Output()
	if err != nil {
		return "", fmt.Errorf("cannot tell where Vault lies: %w", err)
	}
	return strings.TrimSpace(string(path)), nil
}

// hostcheck is the agent as it is in the working tree.
var hostcheck = sync.OnceValues(func() (string, error) {
	path := filepath.Join(workDir, "hostcheck")
	build := exec.Command("go", "build", "-trimpath", "-tags=nethttpomithttp2", "-ldflags=-s -w", "-o", path, "./cmd/hostcheck")
	build.Dir = "../.."
	build.Env = append(os.Environ(), "CGO_ENABLED=0")
	if output, err := build.CombinedOutput(); err != nil {
		return "", fmt.Errorf("cannot build hostcheck: %w: %s", err, output)
	}
	return path, nil
})

func testLog() *slog.Logger {
	level := slog.LevelInfo
	if os.Getenv("STRONGROOM_DEBUG") != "" {
		level = slog.LevelDebug
	}
	return slog.New(slog.NewTextHandler(os.Stderr, &slog.HandlerOptions{Level: level}))
}

func vaultProduct(t testing.TB) server.Product {
	t.Helper()
	product, err := server.Find("vault")
	if err != nil {
		t.Fatal(err)
	}
	return product
}
