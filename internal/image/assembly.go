package image

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"time"

	"github.com/strongroom/strongroom/internal/lock"
	"github.com/strongroom/strongroom/internal/measure"
	"github.com/strongroom/strongroom/internal/netboot"
)

// Assembly is one bake in progress. The steps are called once each and in the order of their
// declaration: BaseTree, ApplyOverlay, any number of Command, Upload and Download, Seal, Inspect, LeakGate,
// RootFilesystem, Verity, Initrd, UnifiedKernel, Disk, Convert, Manifest, Publish. Close is
// called in any case.
type Assembly struct {
	spec    Spec
	log     *slog.Logger
	box     *sandbox
	cache   cache
	lock    *lock.File // what is taken in; nil until the archive was asked
	newLock bool       // there was none to bake from
	initrd  background // the initrd is made beside the steps between BaseTree and Initrd
	result  Result
	running sync.Mutex // steps do not overlap
	done    string     // last step that succeeded
	kernel  kernelFiles
	kernels []measure.Kernel // what the unified kernel images measure
	disk    diskPlan
	staged  bool              // the staging directory exists
	bill    map[string][]byte // the bill of materials in its formats, by file name
	signer  *netboot.Signer   // of the netboot bundle; nil for none

	netbootLine string // the kernel's command line of the bundle
}

// New checks the spec, the host's tools and the binaries, and opens the sandbox that the bake
// runs in. Progress goes to log: one record at level Info per step, tool output at level Debug.
func New(spec Spec, log *slog.Logger) (*Assembly, error) {
	if errs := Validate(spec); len(errs) > 0 {
		return nil, errors.Join(errs...)
	}
	var err error
	for _, dir := range []*string{&spec.OutputDir, &spec.CacheDir, &spec.LockFile} {
		if *dir == "" {
			continue // no lock file
		}
		if *dir, err = filepath.Abs(*dir); err != nil {
			return nil, fmt.Errorf("cannot resolve %s: %w", *dir, err)
		}
	}
	if _, err := os.Lstat(spec.OutputDir); err == nil && !spec.Replace {
		return nil, withHint(fmt.Errorf("output directory %s exists", spec.OutputDir), "remove it, or bake with -force to replace it")
	}
	if err := requireTools(spec); err != nil {
		return nil, err
	}
	binaries, err := InspectBinaries(spec.Binaries)
	if err != nil {
		return nil, err
	}
	locked, err := readLock(spec, binaries)
	if err != nil {
		return nil, err
	}
	if locked != nil {
		spec.Epoch = time.Unix(locked.Epoch, 0).UTC()
	}
	digest, err := spec.Overlay.Digest()
	if err != nil {
		return nil, err
	}
	var signer *netboot.Signer
	if spec.Netboot.KeyFile != "" && slices.Contains(spec.Formats, FormatNetboot) {
		if signer, err = netboot.ReadSigner(spec.Netboot.KeyFile, spec.Netboot.CertificateFile); err != nil {
			return nil, fmt.Errorf("cannot sign the netboot bundle: %w", err)
		}
	}
	if err := os.MkdirAll(spec.CacheDir, 0o755); err != nil {
		return nil, fmt.Errorf("cannot make the cache directory: %w", err)
	}
	a := &Assembly{spec: spec, log: log, cache: cache{dir: spec.CacheDir}, lock: locked, signer: signer}
	a.result = Result{
		Name: spec.Name, Version: spec.Version, Distribution: spec.Distribution, Snapshot: spec.Snapshot,
		Profile: spec.Profile, Parameters: spec.Parameters, Overlay: digest, Binaries: binaries,
	}
	a.cache.sweep()
	if a.box, err = openSandbox(spec.CacheDir, workRoom(spec), log); err != nil {
		return nil, err
	}
	return a, nil
}

// Epoch is the time of every file of the image: that of the lock, or else of the spec.
func (a *Assembly) Epoch() time.Time { return a.spec.Epoch }

// Result says what has been made so far; it is complete after Publish.
func (a *Assembly) Result() Result { return a.result }

// Close ends every process of the bake and frees its memory. It may be called at any time and
// more than once; what Publish has published stays.
func (a *Assembly) Close() error {
	a.initrd.stop()
	err := a.box.close()
	if a.staged {
		a.staged = false
		err = errors.Join(err, os.RemoveAll(a.StagingDir()))
	}
	return err
}

// step runs one step: in order, timed, and with an error that names it.
func (a *Assembly) step(ctx context.Context, name, after string, run func(ctx context.Context) error) error {
	a.running.Lock()
	defer a.running.Unlock()
	if a.done != after {
		return fmt.Errorf("cannot run step %q after %q: it follows %q", name, a.done, after)
	}
	start := time.Now()
	if err := run(ctx); err != nil {
		if ctx.Err() != nil {
			return fmt.Errorf("%s: %w", name, context.Cause(ctx))
		}
		return fmt.Errorf("%s: %w", name, a.explainNoSpace(err))
	}
	took := time.Since(start)
	a.done = name
	a.result.Steps = append(a.result.Steps, StepTime{name, took})
	a.log.InfoContext(ctx, name, "seconds", fmt.Sprintf("%.2f", took.Seconds()))
	return nil
}
