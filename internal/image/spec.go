package image

import (
	"errors"
	"fmt"
	"net/url"
	"path"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"time"

	"github.com/strongroom/strongroom/internal/leaks"
	"github.com/strongroom/strongroom/internal/measure"
	"github.com/strongroom/strongroom/internal/overlay"
	"github.com/strongroom/strongroom/internal/secureboot"
)

// Spec is everything that determines an image.
type Spec struct {
	Name    string // IMAGE_ID of os-release
	Version string // IMAGE_VERSION of os-release; comparable

	Distribution string   // "debian/trixie" or "debian/bookworm"
	Mirror       string   // archive URL; empty means the distribution's own
	Snapshot     string   // YYYYMMDDTHHMMSSZ of the dated archive; empty means today's archive
	Packages     []string // installed beside the set that the image needs
	ShipsLogs    bool     // what ships the journal is in the image
	// LockFile is the strongroom.lock that the image is baked from. The first bake writes it; "" bakes from what the archive has.
	LockFile string
	Builder  string // version of imagebuild, for the lock
	// Hardware asks for the kernel with the drivers of physical machines instead of the cloud flavour, which has those of
	// hypervisors and clouds at a third of the size.
	Hardware bool

	// Profile and Parameters say what the overlay was compiled for: the manifest repeats them.
	Profile    string
	Parameters map[string]string

	Overlay  *overlay.Tree
	Binaries []Binary

	Formats  []string // artifacts to keep
	Netboot  Netboot  // for the format netboot
	DataSize int64    // bytes of free room behind the root for the partitions of the first boot

	// Epoch is the time of every file and file system of the image, unless the lock has one. The same Spec with the same
	// lock gives the same bytes.
	Epoch time.Time

	SecureBoot *secureboot.Identity // signs the unified kernel images; nil leaves them unsigned
	PolicyKey  *measure.PolicyKey   // signs policies over what they measure; nil leaves them without
	Firmware   []measure.Firmware   // machines whose PCR 7 is to be predicted; only for a signed image

	AllowedLeaks []leaks.Allowance // what the leak gate lets through, each with a reason

	OutputDir string // published in one rename at the end
	Replace   bool   // an existing OutputDir is replaced instead of refused
	CacheDir  string // packages, base trees and initrds
}

// Binary is a program from the host that goes into the image, owned by root, mode 0755.
type Binary struct {
	Source string // path on the host
	Path   string // path in the image
	SHA256 string // hex; empty means unchecked
}

var (
	snapshotPattern = regexp.MustCompile(`^\d{8}T\d{6}Z$`)
	packagePattern  = regexp.MustCompile(`^[a-z0-9][a-z0-9+.-]+(:[a-z0-9]+)?(=[A-Za-z0-9.+:~-]+)?$`)
	sha256Pattern   = regexp.MustCompile(`^[0-9a-f]{64}$`)
	labelPattern    = regexp.MustCompile(`^[a-z0-9][a-z0-9._-]{0,63}$`)
)

// FieldError is a mistake in one field of a Spec.
type FieldError struct {
	Field string // Go name of the field: "Snapshot"
	Err   error
}

func (e *FieldError) Error() string { return e.Field + ": " + e.Err.Error() }
func (e *FieldError) Unwrap() error { return e.Err }

// ValidName reports whether a text can be the name or the version of an image, as os-release(5) takes them.
func ValidName(s string) bool { return labelPattern.MatchString(s) }

// Validate reports every mistake that can be seen in the spec alone. It touches neither disk nor
// network.
func Validate(s Spec) []error {
	var errs []error
	bad := func(field, format string, args ...any) {
		errs = append(errs, &FieldError{field, fmt.Errorf(format, args...)})
	}
	if !labelPattern.MatchString(s.Name) {
		bad("Name", "%q is not an image id: lower-case letters, digits, '.', '_' and '-', at most 64", s.Name)
	}
	if !labelPattern.MatchString(s.Version) {
		bad("Version", "%q is not an image version: lower-case letters, digits, '.', '_' and '-', at most 64", s.Version)
	}
	if _, ok := distributions[s.Distribution]; !ok {
		bad("Distribution", "%q is not known (known: %s)", s.Distribution, strings.Join(Distributions(), ", "))
	}
	if s.Mirror != "" {
		u, err := url.Parse(s.Mirror)
		switch {
		case err != nil:
			bad("Mirror", "%w", err)
		case !slices.Contains([]string{"http", "https", "file"}, u.Scheme) || u.Scheme != "file" && u.Host == "":
			bad("Mirror", "%q is not an http, https or file URL", s.Mirror)
		case strings.ContainsAny(s.Mirror, " \t\n[]"):
			bad("Mirror", "%q holds a character that sources.list reads as a separator", s.Mirror)
		}
	}
	if s.Snapshot != "" {
		if !snapshotPattern.MatchString(s.Snapshot) {
			bad("Snapshot", "%q is not a date of the form 20260131T000000Z", s.Snapshot)
		} else if _, err := time.Parse("20060102T150405Z", s.Snapshot); err != nil {
			bad("Snapshot", "%q is not a date that exists", s.Snapshot)
		}
	}
	for _, p := range s.Packages {
		switch {
		case !packagePattern.MatchString(p):
			bad("Packages", "%q is not a package name", p)
		case slices.Contains(bakeOnly, p):
			bad("Packages", "%s is part of the package manager or a bake tool, and never in the image", p)
		}
	}
	seen := map[string]bool{}
	for _, b := range s.Binaries {
		if b.Source == "" {
			bad("Binaries", "%s has no source on the host", b.Path)
		}
		if !path.IsAbs(b.Path) || path.Clean(b.Path) != b.Path || b.Path == "/" {
			bad("Binaries", "%q is not an absolute, clean path in the image", b.Path)
		}
		if seen[b.Path] {
			bad("Binaries", "%s is given twice", b.Path)
		}
		seen[b.Path] = true
		if b.SHA256 != "" && !sha256Pattern.MatchString(strings.ToLower(b.SHA256)) {
			bad("Binaries", "%q is not a SHA-256 in hex (%s)", b.SHA256, b.Path)
		}
	}
	if len(s.Formats) == 0 {
		bad("Formats", "no format is given (known: %s)", strings.Join(Formats(), ", "))
	}
	for i, f := range s.Formats {
		if !slices.Contains(Formats(), f) {
			bad("Formats", "%q is not known (known: %s)", f, strings.Join(Formats(), ", "))
		}
		if slices.Contains(s.Formats[:i], f) {
			bad("Formats", "%s is given twice", f)
		}
	}
	if slices.Contains(s.Formats, FormatNetboot) {
		if err := s.Netboot.validate(); err != nil {
			bad("Netboot", "%w", err)
		}
		if (s.Netboot.KeyFile == "") != (s.Netboot.CertificateFile == "") {
			bad("Netboot", "a key signs with its certificate: give both signing_key and signing_certificate, or neither")
		}
		if slices.Equal(s.Formats, []string{FormatNetboot}) {
			bad("Formats", "netboot stands beside a disk: add one of %s", strings.Join(disksOf(Formats()), ", "))
		}
	}
	for i, l := range s.AllowedLeaks {
		if err := l.Validate(); err != nil {
			bad("AllowedLeaks", "%d: %w", i+1, err)
		}
	}
	if s.DataSize < 0 {
		bad("DataSize", "%d is negative", s.DataSize)
	}
	if slices.Contains(s.Formats, FormatVHD) && s.DataSize > maxVHD-rootRoom {
		bad("DataSize", "a vhd has room for a disk of %d GiB and no more: leave %d of them to the system", int64(maxVHD)>>30, int64(rootRoom)>>30)
	}
	if s.Epoch.Unix() < fatEpoch.Unix() {
		bad("Epoch", "%s is before 1980, which the FAT of the EFI system partition cannot tell", s.Epoch.Format(time.RFC3339))
	}
	for field, dir := range map[string]string{"OutputDir": s.OutputDir, "CacheDir": s.CacheDir} {
		if dir == "" {
			bad(field, "is empty")
		} else if c := filepath.Clean(dir); c == "/" || c == "." || c == ".." {
			bad(field, "%q is a directory that a bake must not own", dir)
		}
	}
	slices.SortStableFunc(errs, func(a, b error) int {
		var x, y *FieldError
		errors.As(a, &x)
		errors.As(b, &y)
		return strings.Compare(x.Field, y.Field)
	})
	return errs
}

var fatEpoch = time.Date(1980, 1, 1, 0, 0, 0, 0, time.UTC)
