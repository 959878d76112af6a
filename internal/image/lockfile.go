package image

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"maps"
	"net/url"
	"slices"
	"strings"
	"time"

	"github.com/strongroom/strongroom/internal/lock"
)

// LockFile is the lock that lies beside an image: what the image was baked from.
type LockFile struct {
	Path   string `json:"path"` // relative to the output directory
	SHA256 string `json:"sha256"`
}

// SpecOf is what a lock is of: the part of a spec that Resolve reads.
func SpecOf(f lock.File) Spec {
	return Spec{Distribution: f.Distribution, Packages: f.Asked.Template, Hardware: slices.Contains(f.Asked.Builder, fullKernel), Epoch: time.Unix(f.Epoch, 0).UTC()}
}

// ValidateForLock reports every mistake in that part.
func ValidateForLock(s Spec) error {
	var errs []error
	for _, err := range Validate(s) {
		var f *FieldError
		if errors.As(err, &f) && slices.Contains([]string{"Distribution", "Mirror", "Snapshot", "Packages", "Binaries", "Epoch"}, f.Field) {
			errs = append(errs, f.Err)
		}
	}
	return errors.Join(errs...)
}

// readLock reads the lock that the spec names, and refuses one that is of another image. There may be none yet: nil.
func readLock(s Spec, programs []InstalledBinary) (*lock.File, error) {
	if s.LockFile == "" {
		return nil, nil
	}
	f, err := lock.Read(s.LockFile)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, withHint(fmt.Errorf("cannot use the lock: %w", err), "take it back from version control, or remove it: the bake writes a new one")
	}
	if err := checkLock(f, s, programs); err != nil {
		return nil, err
	}
	return &f, nil
}

// checkLock reports everything in which a lock is of another image than the spec's.
func checkLock(f lock.File, s Spec, programs []InstalledBinary) error {
	var errs []error
	bad := func(format string, args ...any) {
		errs = append(errs, fmt.Errorf("%s: "+format, append([]any{s.LockFile}, args...)...))
	}
	update := []string{"imagebuild lock --update"}
	if f.Distribution != s.Distribution {
		bad("the lock is of %s, and the image stands on %s", f.Distribution, s.Distribution)
		update = append(update, "--distribution "+s.Distribution)
	}
	changed := func(what string, locked, asked []string) bool {
		n := len(errs)
		for _, name := range asked {
			if !slices.Contains(locked, name) {
				bad("%s asks for the package %s, which the lock does not have", what, name)
			}
		}
		for _, name := range locked {
			if !slices.Contains(asked, name) {
				bad("the lock has the package %s, for which %s does not ask any more", name, what)
			}
		}
		return len(errs) > n
	}
	changed("this version of the builder", f.Asked.Builder, builderPackages(s))
	if slices.Contains(f.Asked.Builder, fullKernel) != s.Hardware {
		update = append(update, fmt.Sprintf("--hardware=%t", s.Hardware))
	}
	if changed("the template", f.Asked.Template, s.Packages) {
		update = append(update, "--packages="+strings.Join(s.Packages, ","))
	}
	have := map[string]InstalledBinary{}
	for _, p := range programs {
		have[p.Path] = p
		locked, ok := f.Program(p.Path)
		if ok && locked.SHA256 == p.SHA256 {
			continue
		}
		source := p.Path
		if i := slices.IndexFunc(s.Binaries, func(b Binary) bool { return b.Path == p.Path }); i >= 0 {
			source = s.Binaries[i].Source
		}
		if ok {
			bad("program %s: the lock says SHA-256 %s, and %s has %s", p.Path, locked.SHA256, source, p.SHA256)
		} else {
			bad("the lock does not have the program %s (%s)", p.Path, source)
		}
		update = append(update, "--program "+p.Path+"="+source)
	}
	for _, p := range f.Programs {
		if _, ok := have[p.Path]; !ok {
			bad("the lock has the program %s, which the image does not have", p.Path)
			update = append(update, "--program "+p.Path+"=")
		}
	}
	if len(errs) == 0 {
		return nil
	}
	return withHint(errors.Join(errs...), strings.Join(append(update, mirrorFlag(s)...), " ")+" "+s.LockFile)
}

// updateHint is the command that brings the lock up to date.
func (a *Assembly) updateHint() string {
	if a.spec.LockFile == "" {
		return "bake again: without a lock file the packages are looked up anew every day"
	}
	return strings.Join(slices.Concat([]string{"imagebuild lock --update"}, mirrorFlag(a.spec), []string{a.spec.LockFile}), " ")
}

// mirrorFlag repeats the mirror, which a lock does not have: it may hold a password.
func mirrorFlag(s Spec) []string {
	u, err := url.Parse(s.Mirror)
	if s.Mirror == "" || err != nil {
		return nil
	}
	return []string{"--mirror " + u.Redacted()}
}

// takeLock makes sure that there is a lock: the one of the spec, or what the archive offers now, asked once a day.
func (a *Assembly) takeLock(ctx context.Context) error {
	if a.lock == nil {
		f, err := a.resolved(ctx)
		if err != nil {
			return err
		}
		a.lock, a.newLock = &f, true
	} else if a.lock.Builder != a.spec.Builder {
		a.log.InfoContext(ctx, "the lock was written by another version of imagebuild: the same packages may make other bytes", "lock", a.lock.Builder, "this", a.spec.Builder)
	}
	a.result.BaseKey = baseKey(*a.lock)
	a.result.Lock = LockFile{Path: lock.Name, SHA256: a.lock.Digest()}
	return nil
}

// resolved is what the archive offers, from the cache when that was asked within a day, or of a moment that does not change.
func (a *Assembly) resolved(ctx context.Context) (lock.File, error) {
	name := "resolved-" + askKey(a.spec) + ".lock"
	maxAge := maxResolvedAge
	if a.spec.Snapshot != "" {
		maxAge = 0
	}
	cached, err := a.cache.open(name, maxAge)
	if err != nil {
		return lock.File{}, err
	}
	if cached != nil {
		defer cached.Close()
		if text, err := io.ReadAll(cached); err == nil {
			if f, err := lock.Parse(text); err == nil {
				return resolution{f.Packages, f.Snapshot}.with(a.spec, a.result.Binaries), nil
			}
		}
		a.log.WarnContext(ctx, "what the cache has of the archive cannot be read: asking again", "file", cached.Name())
	}
	a.log.InfoContext(ctx, "asking the archive for packages", "distribution", a.spec.Distribution, "archive", archiveName(a.spec))
	r, err := resolve(ctx, a.box, a.spec)
	if err != nil {
		return lock.File{}, err
	}
	f := r.with(a.spec, a.result.Binaries)
	if _, err := lock.Parse(f.Bytes()); err != nil {
		return lock.File{}, fmt.Errorf("the archive offers what no lock can hold: %w", err)
	}
	return f, a.cache.put(name, func(w io.Writer) error {
		_, err := w.Write(f.Bytes())
		return err
	})
}

// maxResolvedAge is how long the answer of the moving archive is used. A golden image without a lock file must not miss
// its security updates for long.
const maxResolvedAge = 24 * time.Hour

// writeLock keeps a new lock for the bakes that follow.
func (a *Assembly) writeLock() error {
	if a.spec.LockFile == "" || !a.newLock {
		return nil
	}
	// Another bake may have written one meanwhile: the second of two builds in one template.
	if other, err := lock.Read(a.spec.LockFile); !errors.Is(err, fs.ErrNotExist) {
		if err == nil && other.Digest() != a.lock.Digest() {
			err = errors.New("another bake has written another one meanwhile")
		}
		if err != nil {
			return withHint(fmt.Errorf("cannot write the lock %s: %w", a.spec.LockFile, err), "give each image a lock_file of its own")
		}
		return nil
	}
	if err := a.lock.Write(a.spec.LockFile); err != nil {
		return fmt.Errorf("cannot write the lock: %w", err)
	}
	a.log.Info("packages are locked", "file", a.spec.LockFile, "packages", len(a.lock.Packages))
	return nil
}

// checkInstalled compares a new base tree with the lock.
func (a *Assembly) checkInstalled(ctx context.Context) error {
	table, err := a.box.output(a.box.chroot(ctx, treeDir, "dpkg-query", "--show", "--showformat="+packageFormat))
	if err != nil {
		return err
	}
	installed, err := parsePackages(string(table))
	if err != nil {
		return err
	}
	want := map[string]lock.Package{}
	for _, p := range a.lock.Packages {
		want[p.Name] = p
	}
	var errs []error
	for _, p := range installed {
		if w := want[p.Name]; w.Version != p.Version || w.Architecture != p.Architecture {
			errs = append(errs, fmt.Errorf("package %s: the lock says %q for %q, installed was %q for %q", p.Name, w.Version, w.Architecture, p.Version, p.Architecture))
		}
		delete(want, p.Name)
	}
	for _, name := range slices.Sorted(maps.Keys(want)) {
		errs = append(errs, fmt.Errorf("package %s is in the lock and was not installed", name))
	}
	return errors.Join(errs...)
}
