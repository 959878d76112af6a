// Package sbom writes the bill of materials of an image, in two formats: SPDX 2.3 and CycloneDX 1.6, both as JSON by the formats' own
// libraries. A bill depends on what is in the image and nothing else: no clock, no random number.
package sbom

import (
	"bytes"
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/google/uuid"
	"github.com/package-url/packageurl-go"
)

// Names of the two files, beside an image and below Dir in it.
const (
	SPDXName      = "sbom.spdx.json"
	CycloneDXName = "sbom.cdx.json"
)

// Dir is the directory of the image that has both files.
const Dir = "/usr/share/strongroom"

// Bill is what an image consists of.
type Bill struct {
	Name         string    `json:"name"`    // IMAGE_ID of os-release
	Version      string    `json:"version"` // IMAGE_VERSION
	Distribution string    `json:"distribution"`
	Created      time.Time `json:"created"` // SOURCE_DATE_EPOCH
	Packages     []Package `json:"packages"`
	Programs     []Program `json:"programs"`
}

// Package is one package of the distribution.
type Package struct {
	Name          string   `json:"name"`
	Version       string   `json:"version"`
	Architecture  string   `json:"architecture"`
	Source        string   `json:"source"`
	SourceVersion string   `json:"source_version"`
	License       *License `json:"license,omitempty"` // nil when it is not known
	// Tool says that the package was used in making the image, and that no file of it is in there.
	Tool bool `json:"tool,omitempty"`
}

// Program is a program that no package brought.
type Program struct {
	Path    string   `json:"path"` // in the image
	SHA256  string   `json:"sha256"`
	Main    Module   `json:"main,omitzero"` // of a program that Go built
	Modules []Module `json:"modules,omitempty"`
}

// Module is a Go module in a program.
type Module struct {
	Path    string `json:"path"`
	Version string `json:"version,omitempty"` // "" is a working copy
}

// Documents are the two files of a bill, by name.
func (b Bill) Documents() (map[string][]byte, error) {
	b.sort()
	canonical, err := json.Marshal(b)
	if err != nil {
		return nil, err
	}
	out := map[string][]byte{}
	for name, write := range map[string]func(*bytes.Buffer, Bill, uuid.UUID) error{SPDXName: writeSPDX, CycloneDXName: writeCycloneDX} {
		var text bytes.Buffer
		if err := write(&text, b, uuid.NewSHA1(namespace, append([]byte(name+"\x00"), canonical...))); err != nil {
			return nil, fmt.Errorf("cannot write the bill of materials %s: %w", name, err)
		}
		out[name] = text.Bytes()
	}
	return out, nil
}

// namespace of the identifiers of bills: a random UUID that never changes.
var namespace = uuid.MustParse("5f0e7c2b-93d4-4c1e-8a57-3b1f6ad20c88")

func (b *Bill) sort() {
	b.Packages, b.Programs = slices.Clone(b.Packages), slices.Clone(b.Programs)
	slices.SortFunc(b.Packages, func(x, y Package) int { return strings.Compare(x.Name+" "+x.Architecture, y.Name+" "+y.Architecture) })
	slices.SortFunc(b.Programs, func(x, y Program) int { return strings.Compare(x.Path, y.Path) })
}

// modules lists those of all programs, each once.
func (b Bill) modules() []Module {
	var all []Module
	for _, p := range b.Programs {
		all = append(all, p.Modules...)
	}
	slices.SortFunc(all, compareModules)
	return slices.Compact(all)
}

func compareModules(a, b Module) int {
	if c := strings.Compare(a.Path, b.Path); c != 0 {
		return c
	}
	return strings.Compare(a.Version, b.Version)
}

// supplier is who gives the packages out: "Debian" of "debian/trixie".
func (b Bill) supplier() string {
	id, _, _ := strings.Cut(b.Distribution, "/")
	if id == "" {
		return ""
	}
	return strings.ToUpper(id[:1]) + id[1:]
}

// packageURL names a package as purl-spec's type "deb" does, the source package as the qualifier "upstream", which vulnerability
// scanners match by.
func (b Bill) packageURL(p Package) string {
	id, suite, _ := strings.Cut(b.Distribution, "/")
	q := packageurl.Qualifiers{{Key: "arch", Value: p.Architecture}, {Key: "distro", Value: suite}}
	if p.Source != p.Name || p.SourceVersion != p.Version {
		q = append(q, packageurl.Qualifier{Key: "upstream", Value: p.Source + "@" + p.SourceVersion})
	}
	return packageurl.NewPackageURL(packageurl.TypeDebian, id, p.Name, p.Version, q, "").ToString()
}

// packageURL names a module as purl-spec's type "golang" does.
func (m Module) packageURL() string {
	at := strings.LastIndexByte(m.Path, '/')
	return packageurl.NewPackageURL(packageurl.TypeGolang, strings.TrimSuffix(m.Path[:at+1], "/"), m.Path[at+1:], m.Version, nil, "").ToString()
}

// base is the last part of a program's path, by which people call it.
func (p Program) base() string { return p.Path[strings.LastIndexByte(p.Path, '/')+1:] }
