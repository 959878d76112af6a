package sbom_test

import (
	"bytes"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	cdx "github.com/CycloneDX/cyclonedx-go"
	"github.com/package-url/packageurl-go"
	"github.com/santhosh-tekuri/jsonschema/v6"
	spdxjson "github.com/spdx/tools-golang/json"
	"github.com/spdx/tools-golang/spdx"
	"github.com/spdx/tools-golang/spdxlib"

	"github.com/strongroom/strongroom/internal/sbom"
)

// bill is a small image: packages that SPDX has hard words for, a program that Go built and one that it did not.
func bill(t testing.TB) sbom.Bill {
	t.Helper()
	program := sbom.Program{
		Path: "/usr/bin/vault", SHA256: strings.Repeat("1", 64), Main: sbom.Module{Path: "github.com/hashicorp/vault", Version: "v1.21.1"},
		Modules: []sbom.Module{{Path: "stdlib", Version: "1.25.4"}, {Path: "github.com/hashicorp/go-hclog", Version: "v1.6.3"}, {Path: "example.com/copy"}},
	}
	agent := sbom.Program{
		Path: "/usr/bin/hostcheck", SHA256: strings.Repeat("2", 64), Main: sbom.Module{Path: "github.com/strongroom/strongroom"},
		Modules: []sbom.Module{{Path: "stdlib", Version: "1.26.0"}, {Path: "github.com/hashicorp/go-hclog", Version: "v1.6.3"}},
	}
	script := sbom.ReadProgram(strings.NewReader("#!/bin/sh\n"), "/usr/bin/script", strings.Repeat("0", 64))
	return sbom.Bill{
		Name: "strongroom", Version: "1.4.0", Distribution: "debian/trixie", Created: time.Unix(1_700_000_000, 0),
		Packages: []sbom.Package{
			{Name: "libstdc++6", Version: "14.2.0-19", Architecture: "amd64", Source: "gcc-14", SourceVersion: "14.2.0-19"},
			{Name: "acpid", Version: "1:2.0.34-1+b1", Architecture: "amd64", Source: "acpid", SourceVersion: "1:2.0.34-1",
				License: &sbom.License{Expression: "GPL-2.0-or-later AND LicenseRef-debian-acpid-x", Named: map[string]string{"LicenseRef-debian-acpid-x": "x"}}},
			{Name: "dpkg", Version: "1.22.21", Architecture: "amd64", Source: "dpkg", SourceVersion: "1.22.21", Tool: true},
		},
		Programs: []sbom.Program{program, agent, script},
	}
}

func documents(t testing.TB, b sbom.Bill) map[string][]byte {
	t.Helper()
	d, err := b.Documents()
	if err != nil {
		t.Fatal(err)
	}
	return d
}

// The same image has the same bills, in whatever order its parts are listed, and another image has others.
func TestDeterministic(t *testing.T) {
	one := bill(t)
	other := bill(t)
	slices.Reverse(other.Packages)
	slices.Reverse(other.Programs)
	a, b := documents(t, one), documents(t, other)
	other.Version = "1.4.1"
	c := documents(t, other)
	for name := range a {
		if !bytes.Equal(a[name], b[name]) {
			t.Errorf("%s depends on the order of the parts", name)
		}
		x, err := sbom.Read(a[name])
		if err != nil {
			t.Fatal(err)
		}
		y, err := sbom.Read(c[name])
		if err != nil {
			t.Fatal(err)
		}
		if x.ID == y.ID {
			t.Errorf("%s: two images have one identifier, %s", name, x.ID)
		}
	}
}

// SPDX's own library reads the document and finds nothing wrong.
func TestSPDX(t *testing.T) {
	doc, err := spdxjson.Read(bytes.NewReader(documents(t, bill(t))[sbom.SPDXName]))
	if err != nil {
		t.Fatal(err)
	}
	if err := spdxlib.ValidateDocument(doc); err != nil {
		t.Error(err)
	}
	if doc.SPDXVersion != "SPDX-2.3" || doc.CreationInfo.Created != "2023-11-14T22:13:20Z" {
		t.Errorf("version %s of %s", doc.SPDXVersion, doc.CreationInfo.Created)
	}
	relations := map[string]int{}
	for _, r := range doc.Relationships {
		relations[r.Relationship]++
	}
	if relations["DESCRIBES"] != 1 || relations["CONTAINS"] != 2+3+5 || relations["BUILD_TOOL_OF"] != 1 || len(doc.Packages) != 1+3+4+3 {
		t.Errorf("relations %v of %d packages", relations, len(doc.Packages))
	}
	if len(doc.OtherLicenses) != 1 || doc.OtherLicenses[0].LicenseIdentifier != "LicenseRef-debian-acpid-x" {
		t.Errorf("licences %+v", doc.OtherLicenses)
	}
	var acpid *spdx.Package
	for _, p := range doc.Packages {
		if p.PackageName == "acpid" {
			acpid = p
		}
		for _, r := range p.PackageExternalReferences {
			if _, err := packageurl.FromString(r.Locator); err != nil {
				t.Errorf("%s: %v", r.Locator, err)
			}
		}
	}
	if want := "pkg:deb/debian/acpid@1%3A2.0.34-1%2Bb1?arch=amd64&distro=trixie&upstream=acpid%401%3A2.0.34-1"; acpid == nil || acpid.PackageExternalReferences[0].Locator != want {
		t.Errorf("%+v, want the package URL %s", acpid.PackageExternalReferences[0], want)
	}
}

// The standard's own schema: testdata/README.md says where it is from.
func TestSPDXSchema(t *testing.T) {
	schema, err := jsonschema.NewCompiler().Compile("testdata/spdx-2.3.schema.json")
	if err != nil {
		t.Fatal(err)
	}
	text := documents(t, bill(t))[sbom.SPDXName]
	for name, tt := range map[string]struct {
		old, with string
		valid     bool
	}{
		"as it is":             {"", "", true},
		"an unknown field":     {`"spdxVersion"`, `"spdxversion"`, false},
		"an unknown relation":  {`"BUILD_TOOL_OF"`, `"BUILDS"`, false},
		"an unknown algorithm": {`"SHA256"`, `"SHA-256"`, false},
		"no name":              {`"name": "acpid"`, `"comment": "acpid"`, false},
	} {
		changed := bytes.Replace(text, []byte(tt.old), []byte(tt.with), 1)
		if !tt.valid && bytes.Equal(changed, text) {
			t.Errorf("%s: nothing was changed", name)
		}
		v, err := jsonschema.UnmarshalJSON(bytes.NewReader(changed))
		if err != nil {
			t.Fatal(err)
		}
		if err := schema.Validate(v); (err == nil) != tt.valid {
			t.Errorf("%s: valid is %v: %v", name, !tt.valid, err)
		}
	}
}

// The standard's own schema, from the module of its library.
func TestCycloneDXSchema(t *testing.T) {
	dir, err := exec.Command("go", "list", "-f", "{{.Dir}}", "github.com/CycloneDX/cyclonedx-go").Output()
	if err != nil {
		t.Fatal(err)
	}
	c := jsonschema.NewCompiler()
	for id, name := range map[string]string{"bom.json": "bom-1.6.schema.json", "spdx.schema.json": "spdx.schema.json", "jsf-0.82.schema.json": "jsf-0.82.schemax.json"} {
		text, err := os.Open(filepath.Join(strings.TrimSpace(string(dir)), "schema", name))
		if err != nil {
			t.Fatal(err)
		}
		defer text.Close()
		schema, err := jsonschema.UnmarshalJSON(text)
		if err != nil {
			t.Fatal(err)
		}
		if err := c.AddResource("http://cyclonedx.org/schema/"+id, schema); err != nil {
			t.Fatal(err)
		}
	}
	schema, err := c.Compile("http://cyclonedx.org/schema/bom.json")
	if err != nil {
		t.Fatal(err)
	}
	text := documents(t, bill(t))[sbom.CycloneDXName]
	for says, text := range map[bool][]byte{true: text, false: bytes.Replace(text, []byte(`"type": "library"`), []byte(`"type": "book"`), 1)} {
		v, err := jsonschema.UnmarshalJSON(bytes.NewReader(text))
		if err != nil {
			t.Fatal(err)
		}
		if err := schema.Validate(v); (err == nil) != says {
			t.Errorf("valid is %v: %v", !says, err)
		}
	}
	var bom cdx.BOM
	if err := cdx.NewBOMDecoder(bytes.NewReader(text), cdx.BOMFileFormatJSON).Decode(&bom); err != nil {
		t.Fatal(err)
	}
	refs := map[string]bool{"image": true}
	for _, c := range *bom.Components {
		if refs[c.BOMRef] {
			t.Errorf("%s is there twice", c.BOMRef)
		}
		refs[c.BOMRef] = true
	}
	for _, d := range *bom.Dependencies {
		for _, ref := range append(*d.Dependencies, d.Ref) {
			if !refs[ref] {
				t.Errorf("%s depends on %s, which is not there", d.Ref, ref)
			}
		}
	}
}

// What the linker wrote into a program is in its bill, replaced modules as what they were replaced with.
func TestReadProgram(t *testing.T) {
	path := filepath.Join(t.TempDir(), "hostcheck")
	if out, err := exec.Command("go", "build", "-o", path, "github.com/strongroom/strongroom/cmd/hostcheck").CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	f, err := os.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	p := sbom.ReadProgram(f, "/usr/bin/hostcheck", "")
	if p.Main.Path != "github.com/strongroom/strongroom" || strings.Contains(p.Main.Version, "devel") {
		t.Errorf("the main module is %+v", p.Main)
	}
	var modules []string
	for _, m := range p.Modules {
		modules = append(modules, m.Path)
		if m.Version == "" {
			t.Errorf("%s has no version", m.Path)
		}
	}
	for _, want := range []string{"stdlib", "github.com/nywilken/go-cty", "github.com/spf13/cobra"} {
		if !slices.Contains(modules, want) {
			t.Errorf("%s is not among %v", want, modules)
		}
	}
}

// Both formats say the same.
func TestReadBoth(t *testing.T) {
	d := documents(t, bill(t))
	var said [2]sbom.Summary
	for i, name := range []string{sbom.SPDXName, sbom.CycloneDXName} {
		s, err := sbom.Read(d[name])
		if err != nil {
			t.Fatal(err)
		}
		if s.Name != "strongroom" || s.Version != "1.4.0" || s.Created != "2023-11-14T22:13:20Z" || s.ID == "" {
			t.Errorf("%s: %+v", name, s)
		}
		said[i] = s
	}
	if said[0].Format != "SPDX-2.3" || said[1].Format != "CycloneDX 1.6" {
		t.Errorf("formats %s and %s", said[0].Format, said[1].Format)
	}
	if !slices.Equal(said[0].Components, said[1].Components) {
		t.Errorf("SPDX has %v\nCycloneDX has %v", said[0].Components, said[1].Components)
	}
	if _, err := sbom.Read([]byte(`{"spdxVersion":"SPDX-3.0"}`)); err == nil || !strings.Contains(err.Error(), "neither") {
		t.Errorf("SPDX 3: %v", err)
	}
}

func FuzzRead(f *testing.F) {
	b := bill(f)
	b.Programs = nil
	for _, text := range documents(f, b) {
		f.Add(text)
	}
	f.Add([]byte(`{"spdxVersion":"SPDX-2.3","packages":[null]}`))
	f.Fuzz(func(t *testing.T, text []byte) {
		if s, err := sbom.Read(text); err == nil && s.Format == "" {
			t.Error("a bill without a format")
		}
	})
}
