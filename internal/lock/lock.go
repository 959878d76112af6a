// Package lock is the list of everything that a bake takes in: every package with its digest, the programs from the
// host, and the one moment that all times of the image are. A bake writes it once, and bakes from it ever after.
package lock

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"io"
	"slices"
	"strings"

	"github.com/strongroom/strongroom/internal/atomicfile"
)

// Name is what the file is called, in a project and beside an image.
const Name = "strongroom.lock"

// Schema versions the file.
const Schema = "strongroom.lock/v1"

// File is a lock. Its lists are sorted and without doubles.
type File struct {
	Schema       string `json:"schema"`
	Builder      string `json:"builder,omitempty"` // version of the imagebuild that wrote it; another one may make other bytes of the same packages
	Distribution string `json:"distribution"`      // and suite: "debian/trixie"
	// Snapshot is a moment at which the dated archive had all of it, as in "20260131T000000Z".
	Snapshot string `json:"snapshot"`
	// Epoch is the time of every file and file system of the image, in seconds since 1970.
	Epoch    int64     `json:"source_date_epoch"`
	Asked    Asked     `json:"asked"`
	Programs []Program `json:"programs"`
	Packages []Package `json:"packages"`
}

// Asked are the packages that were asked for by name; the others are there because these depend on them.
type Asked struct {
	Builder  []string `json:"builder"`  // what every image of this kind needs
	Template []string `json:"template"` // what the template adds; may be pinned: "tcpdump=4.99.5-2"
}

// Program is one that comes from the host.
type Program struct {
	Path   string `json:"path"` // in the image: "/usr/bin/vault"
	SHA256 string `json:"sha256"`
	Size   int64  `json:"size"`
}

// Package is one binary package.
type Package struct {
	Name         string `json:"name"`
	Version      string `json:"version"`
	Architecture string `json:"architecture"`
	SHA256       string `json:"sha256"` // of the .deb
	Size         int64  `json:"size"`
	Archive      string `json:"archive"` // "debian", "debian-security": a mirror and the dated archive have one tree for each
	Path         string `json:"path"`    // in that tree: "pool/main/o/openssl/openssl_3.5.1-1_amd64.deb"
}

// Bytes is the one way in which a lock is written: a line for each package, so that a version control system shows
// what changed.
func (f File) Bytes() []byte {
	f.Schema = Schema
	f.sort()
	packages, programs := f.Packages, f.Programs
	f.Packages, f.Programs = nil, nil
	head := mustMarshal(f)
	var out bytes.Buffer
	// The two empty lists are the last fields of the object.
	out.Write(bytes.TrimSuffix(head, []byte("  \"programs\": null,\n  \"packages\": null\n}")))
	writeLines(&out, "programs", programs)
	out.WriteString(",\n")
	writeLines(&out, "packages", packages)
	out.WriteString("\n}\n")
	return out.Bytes()
}

func mustMarshal(v any) []byte {
	var out bytes.Buffer
	e := json.NewEncoder(&out)
	e.SetEscapeHTML(false)
	e.SetIndent("", "  ")
	if err := e.Encode(v); err != nil {
		panic(err) // only plain structs come here
	}
	return bytes.TrimSuffix(out.Bytes(), []byte("\n"))
}

func writeLines[T any](out *bytes.Buffer, name string, list []T) {
	out.WriteString("  \"" + name + "\": [")
	for i, v := range list {
		if i > 0 {
			out.WriteString(",")
		}
		out.WriteString("\n    ")
		line := mustMarshal(v)
		var compact bytes.Buffer
		if err := json.Compact(&compact, line); err != nil {
			panic(err) // our own JSON
		}
		out.Write(compact.Bytes())
	}
	if len(list) > 0 {
		out.WriteString("\n  ")
	}
	out.WriteString("]")
}

// sort brings the lists into their order, without touching the caller's.
func (f *File) sort() {
	f.Asked.Builder = sorted(f.Asked.Builder)
	f.Asked.Template = sorted(f.Asked.Template)
	f.Programs = slices.Clone(f.Programs)
	slices.SortFunc(f.Programs, func(a, b Program) int { return strings.Compare(a.Path, b.Path) })
	f.Packages = slices.Clone(f.Packages)
	slices.SortFunc(f.Packages, func(a, b Package) int { return strings.Compare(a.Name, b.Name) })
}

func sorted(names []string) []string {
	names = append([]string{}, names...) // never null
	slices.Sort(names)
	return slices.Compact(names)
}

// Digest is the SHA-256 of the file in hex.
func (f File) Digest() string {
	sum := sha256.Sum256(f.Bytes())
	return hex.EncodeToString(sum[:])
}

// Write replaces the file at path.
func (f File) Write(path string) error {
	return atomicfile.Write(path, 0o644, func(w io.Writer) error {
		_, err := w.Write(f.Bytes())
		return err
	})
}

// Find is the package of that name.
func (f File) Find(name string) (Package, bool) {
	i := slices.IndexFunc(f.Packages, func(p Package) bool { return p.Name == name })
	if i < 0 {
		return Package{}, false
	}
	return f.Packages[i], true
}

// Program is the program that lies at a path of the image.
func (f File) Program(path string) (Program, bool) {
	i := slices.IndexFunc(f.Programs, func(p Program) bool { return p.Path == path })
	if i < 0 {
		return Program{}, false
	}
	return f.Programs[i], true
}
