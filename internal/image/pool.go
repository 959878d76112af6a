package image

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"net/url"
	"path"
	"slices"
	"strings"
	"time"

	"github.com/strongroom/strongroom/internal/lock"
)

// poolDir of the work directory is an archive that has the packages of the lock and no others, so that what is installed
// and in which order depends on nothing else.
const poolDir = "pool"

// makePool brings the packages together: from the cache, or else from the archive. None goes in whose digest is not the lock's.
func (a *Assembly) makePool(ctx context.Context) error {
	if err := a.box.files.MkdirAll(path.Join(poolDir, "incoming"), 0o755); err != nil {
		return err
	}
	var missing []lock.Package
	for _, p := range a.lock.Packages {
		have, err := a.takeCached(p)
		if err != nil {
			return err
		}
		if !have {
			missing = append(missing, p)
		}
	}
	if err := a.download(ctx, missing); err != nil {
		return err
	}
	return a.indexPool(ctx)
}

// cachedPackage is a package's name in the cache.
func cachedPackage(p lock.Package) string { return "package-" + p.SHA256 + ".deb" }

// poolFile is a package's name in the pool.
func poolFile(p lock.Package) string { return path.Join(poolDir, "incoming", p.SHA256+".deb") }

// takeCached copies a package out of the cache. One that is not what its name says does not count.
func (a *Assembly) takeCached(p lock.Package) (bool, error) {
	cached, err := a.cache.open(cachedPackage(p), 0)
	if err != nil || cached == nil {
		return false, err
	}
	defer cached.Close()
	if err := a.copyIn(poolFile(p), cached); err != nil {
		return false, err
	}
	ok, err := a.inPool(p)
	return ok, err
}

// inPool reports whether the pool has the very package of the lock. Another file under its name is removed.
func (a *Assembly) inPool(p lock.Package) (bool, error) {
	f, err := a.box.files.Open(poolFile(p))
	if err != nil {
		return false, nil
	}
	defer f.Close()
	h := sha256.New()
	if _, err := io.Copy(h, f); err != nil {
		return false, err
	}
	if hex.EncodeToString(h.Sum(nil)) == p.SHA256 {
		return true, nil
	}
	return false, a.box.files.Remove(poolFile(p))
}

// download fetches packages from the archive and keeps them in the cache.
func (a *Assembly) download(ctx context.Context, packages []lock.Package) error {
	if len(packages) == 0 {
		return nil
	}
	a.log.InfoContext(ctx, "fetching packages", "packages", len(packages), "archive", archiveName(a.spec))
	roots := map[string]string{}
	for _, from := range archives(a.spec) {
		roots[from.name] = from.root
	}
	argv := []string{"/usr/lib/apt/apt-helper", "-o", "Acquire::Retries=2", "-o", "Acquire::http::Timeout=20", "-o", "APT::Sandbox::User=root", "download-file"}
	for _, p := range packages {
		root := roots[p.Archive]
		if root == "" {
			return withHint(fmt.Errorf("package %s %s is locked to the archive %s, which %s does not have", p.Name, p.Version, p.Archive, archiveName(a.spec)),
				a.updateHint())
		}
		argv = append(argv, root+"/"+escapePath(p.Path), a.box.path(poolFile(p)), "SHA256:"+p.SHA256)
	}
	failed := a.box.run(a.box.command(ctx, argv...))
	if err := ctx.Err(); err != nil {
		return err
	}
	var refused []lock.Package
	for _, p := range packages {
		have, err := a.inPool(p)
		if err != nil {
			return err
		}
		if !have {
			refused = append(refused, p)
			continue
		}
		if err := a.cache.put(cachedPackage(p), func(w io.Writer) error { return a.copyFrom(poolFile(p), w) }); err != nil {
			return err
		}
	}
	if len(refused) > 0 {
		return a.explainRefused(ctx, refused, failed)
	}
	return nil
}

func (a *Assembly) copyFrom(name string, w io.Writer) error {
	f, err := a.box.files.Open(name)
	if err != nil {
		return err
	}
	defer f.Close()
	_, err = io.Copy(w, f)
	return err
}

// escapePath writes a pool path for a URL as apt does.
func escapePath(p string) string {
	return strings.NewReplacer("%", "%25", "+", "%2b", "~", "%7e").Replace(p)
}

// explainRefused says of each package that could not be had what the lock says and what the archive offers.
func (a *Assembly) explainRefused(ctx context.Context, refused []lock.Package, failed error) error {
	offered, err := resolve(ctx, a.box, a.spec)
	if err != nil {
		if failed != nil {
			return explainArchive(fmt.Errorf("cannot fetch %d packages, %s among them: %w", len(refused), refused[0].Name, failed), a.spec)
		}
		return err
	}
	var errs []error
	for _, p := range refused {
		i := slices.IndexFunc(offered.packages, func(o lock.Package) bool { return o.Name == p.Name })
		locked := fmt.Sprintf("package %s: the lock says %s with SHA-256 %s, ", p.Name, p.Version, p.SHA256)
		switch {
		case i < 0:
			errs = append(errs, errors.New(locked+"the archive does not offer it any more; "+a.dated(p)))
		case offered.packages[i].Version != p.Version:
			errs = append(errs, errors.New(locked+"the archive offers "+offered.packages[i].Version+"; "+a.dated(p)))
		case offered.packages[i].SHA256 != p.SHA256:
			errs = append(errs, errors.New(locked+"the archive offers the same version with "+offered.packages[i].SHA256))
		default:
			errs = append(errs, fmt.Errorf("%sthe archive offers it and does not send it: %w", locked, failed))
		}
	}
	return withHint(errors.Join(errs...), a.updateHint()+"; to bake once more what was locked: snapshot = \""+a.lock.Snapshot+"\"")
}

// dated says where the dated archive has a package.
func (a *Assembly) dated(p lock.Package) string {
	return "the dated archive has it: " + datedArchive(p.Archive, a.lock.Snapshot) + "/" + escapePath(p.Path)
}

// indexPool makes an archive of the pool: an index of what the packages say of themselves, and a Release file. It needs no signature, since
// each digest in it is the lock's.
func (a *Assembly) indexPool(ctx context.Context) error {
	// One process for all: what comes first of each is its place in the list.
	script := `for deb in "$@"; do dpkg-deb --field "$deb" && printf '\f\n' || exit; done`
	argv := []string{"sh", "-c", script, "sh"}
	for _, p := range a.lock.Packages {
		argv = append(argv, a.box.path(poolFile(p)))
	}
	text, err := a.box.output(a.box.command(ctx, argv...))
	if err != nil {
		return fmt.Errorf("cannot read the packages: %w", err)
	}
	stanzas := bytes.Split(text, []byte("\f\n"))
	if len(stanzas) != len(a.lock.Packages)+1 {
		return fmt.Errorf("cannot read the packages: dpkg-deb described %d of %d", len(stanzas)-1, len(a.lock.Packages))
	}
	var index bytes.Buffer
	for i, p := range a.lock.Packages {
		for _, f := range []struct{ name, want string }{{"Package", p.Name}, {"Version", p.Version}, {"Architecture", p.Architecture}} {
			if got := field(stanzas[i], f.name); got != f.want {
				return withHint(fmt.Errorf("package %s: the lock says %s %s, the package with that digest says %s", p.Name, strings.ToLower(f.name), f.want, got),
					a.updateHint())
			}
		}
		index.Write(stanzas[i])
		fmt.Fprintf(&index, "Filename: incoming/%s.deb\nSize: %d\nSHA256: %s\n\n", p.SHA256, p.Size, p.SHA256)
	}
	suite := distributions[a.spec.Distribution].suite
	const packages = "main/binary-amd64/Packages"
	sum := sha256.Sum256(index.Bytes())
	moment, err := time.Parse(snapshotLayout, a.lock.Snapshot)
	if err != nil {
		return err
	}
	release := fmt.Sprintf("Suite: %s\nCodename: %s\nDate: %s\nArchitectures: amd64\nComponents: main\nSHA256:\n %x %d %s\n",
		suite, suite, moment.Format(time.RFC1123), sum, index.Len(), packages)
	dists := path.Join(poolDir, "dists", suite)
	if err := a.box.files.MkdirAll(path.Join(dists, path.Dir(packages)), 0o755); err != nil {
		return err
	}
	if err := a.box.files.WriteFile(path.Join(dists, packages), index.Bytes(), 0o644); err != nil {
		return err
	}
	if err := a.box.files.WriteFile(path.Join(dists, "Release"), []byte(release), 0o644); err != nil {
		return err
	}
	// Past the umask: apt reads as a user of its own.
	return a.box.run(a.box.command(ctx, "chmod", "-R", "a+rX", a.box.path(poolDir)))
}

// field is a field of a control file, of one line.
func field(stanza []byte, name string) string {
	for line := range strings.Lines(string(stanza)) {
		if value, ok := strings.CutPrefix(line, name+":"); ok {
			return strings.TrimSpace(value)
		}
	}
	return ""
}

// poolSource is the pool's line of sources.list.
func poolSource(suite, pool string) string {
	// copy and not file: the packages are then below the tree, where dpkg in the tree finds them.
	return "deb [trusted=yes] " + (&url.URL{Scheme: "copy", Path: pool}).String() + " " + suite + " main"
}
