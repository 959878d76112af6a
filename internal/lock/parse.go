package lock

import (
	"errors"
	"fmt"
	"io"
	"os"
	"path"
	"regexp"
	"slices"
	"strings"
	"time"

	version "github.com/knqyf263/go-deb-version"

	"github.com/strongroom/strongroom/internal/strictjson"
)

// maxSize is far more than any lock has.
const maxSize = 8 << 20

// What the fields are made of. Names and paths become arguments of apt and parts of URLs and of its indexes.
var (
	namePattern         = regexp.MustCompile(`^[a-z0-9][a-z0-9+.-]+$`)
	askedPattern        = regexp.MustCompile(`^[a-z0-9][a-z0-9+.-]+(:[a-z0-9]+)?(=[A-Za-z0-9.+:~-]+)?$`)
	versionPattern      = regexp.MustCompile(`^[0-9][A-Za-z0-9.+:~-]*$`)
	sha256Pattern       = regexp.MustCompile(`^[0-9a-f]{64}$`)
	archivePattern      = regexp.MustCompile(`^[a-z0-9][a-z0-9-]*$`)
	poolPattern         = regexp.MustCompile(`^[A-Za-z0-9][A-Za-z0-9._+~:%/-]*\.deb$`)
	distributionPattern = regexp.MustCompile(`^[a-z0-9]+/[a-z0-9]+$`)
)

const snapshotLayout = "20060102T150405Z"

// Read reads the lock at path. The error of a file that is not there is fs.ErrNotExist.
func Read(path string) (File, error) {
	in, err := os.Open(path)
	if err != nil {
		return File{}, err
	}
	defer in.Close()
	text, err := io.ReadAll(io.LimitReader(in, maxSize+1))
	if err != nil {
		return File{}, fmt.Errorf("cannot read %s: %w", path, err)
	}
	f, err := Parse(text)
	if err != nil {
		return File{}, fmt.Errorf("%s: %w", path, err)
	}
	return f, nil
}

// Parse reads a lock and reports every mistake in it at once.
func Parse(text []byte) (File, error) {
	if len(text) > maxSize {
		return File{}, fmt.Errorf("longer than %d MiB, which no lock is", maxSize>>20)
	}
	var f File
	if err := strictjson.Document(text, &f); err != nil {
		return File{}, fmt.Errorf("is no lock: %w", err)
	}
	if f.Schema != Schema {
		return File{}, fmt.Errorf("is of schema %q, this program reads %s", f.Schema, Schema)
	}
	if err := errors.Join(f.mistakes()...); err != nil {
		return File{}, err
	}
	f.sort() // as written by hand too
	return f, nil
}

func (f File) mistakes() []error {
	var errs []error
	bad := func(format string, args ...any) { errs = append(errs, fmt.Errorf(format, args...)) }
	if !distributionPattern.MatchString(f.Distribution) {
		bad("distribution: %q is none, such as \"debian/trixie\"", f.Distribution)
	}
	if t, err := time.Parse(snapshotLayout, f.Snapshot); err != nil || t.Format(snapshotLayout) != f.Snapshot {
		bad("snapshot: %q is not a moment such as \"20260131T000000Z\"", f.Snapshot)
	}
	if f.Epoch <= 0 {
		bad("source_date_epoch: %d is no time", f.Epoch)
	}
	seen := map[string]bool{}
	for _, p := range f.Packages {
		wrong := func(field, value, want string) { bad("packages: %s: %s %q is not %s", p.Name, field, value, want) }
		if !namePattern.MatchString(p.Name) {
			bad("packages: %q is not the name of a package", p.Name)
		}
		if seen[p.Name] {
			bad("packages: %s is listed twice", p.Name)
		}
		seen[p.Name] = true
		if !versionPattern.MatchString(p.Version) || !version.Valid(p.Version) {
			wrong("version", p.Version, "a version of Debian's")
		}
		if p.Architecture != "amd64" && p.Architecture != "all" {
			wrong("architecture", p.Architecture, "amd64 or all")
		}
		if !sha256Pattern.MatchString(p.SHA256) {
			wrong("sha256", p.SHA256, "a SHA-256 in hex")
		}
		if p.Size <= 0 {
			bad("packages: %s: size %d is none", p.Name, p.Size)
		}
		if !archivePattern.MatchString(p.Archive) {
			wrong("archive", p.Archive, "one such as debian or debian-security")
		}
		if !poolPattern.MatchString(p.Path) || path.Clean(p.Path) != p.Path || strings.Contains(p.Path, "..") {
			wrong("path", p.Path, "the path of a .deb in an archive")
		}
	}
	for _, name := range slices.Concat(f.Asked.Builder, f.Asked.Template) {
		bare := Bare(name)
		if !askedPattern.MatchString(name) {
			bad("asked: %q is not the name of a package", name)
		} else if !seen[bare] {
			bad("asked: %s is not among the packages", bare)
		}
	}
	programs := map[string]bool{}
	for _, p := range f.Programs {
		if !path.IsAbs(p.Path) || path.Clean(p.Path) != p.Path || p.Path == "/" {
			bad("programs: %q is not an absolute, clean path", p.Path)
		}
		if programs[p.Path] {
			bad("programs: %s is listed twice", p.Path)
		}
		programs[p.Path] = true
		if !sha256Pattern.MatchString(p.SHA256) || p.Size <= 0 {
			bad("programs: %s: sha256 %q and size %d are not those of a file", p.Path, p.SHA256, p.Size)
		}
	}
	return errs
}

// Bare is the name of a package without the architecture and the version that it was asked for with.
func Bare(asked string) string {
	name, _, _ := strings.Cut(asked, "=")
	name, _, _ = strings.Cut(name, ":")
	return name
}
