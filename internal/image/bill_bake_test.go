//go:build bake

package image

import (
	"bytes"
	"os"
	"path/filepath"
	"slices"
	"testing"

	"github.com/strongroom/strongroom/internal/sbom"
)

// checkBill compares the bills beside the image with those inside and with each other, and both with the packages.
func checkBill(t *testing.T, r Result, tree string) {
	t.Helper()
	var said []sbom.Summary
	for _, name := range []string{sbom.SPDXName, sbom.CycloneDXName} {
		text, err := os.ReadFile(filepath.Join(r.Dir, name))
		if err != nil {
			t.Fatal(err)
		}
		inside, err := os.ReadFile(filepath.Join(tree, sbom.Dir, name))
		if err != nil || !bytes.Equal(inside, text) {
			t.Errorf("%s in the image is another one (%v)", name, err)
		}
		if !slices.ContainsFunc(r.Beside, func(f SideFile) bool { return f.Name == name && f.Size == int64(len(text)) }) {
			t.Errorf("the manifest lacks %s", name)
		}
		s, err := sbom.Read(text)
		if err != nil {
			t.Fatal(err)
		}
		said = append(said, s)
	}
	if !slices.Equal(said[0].Components, said[1].Components) {
		t.Error("SPDX and CycloneDX do not say the same")
	}
	licensed := 0
	versions := map[string]string{}
	for _, c := range said[0].Components {
		versions[c.Name] = c.Version
		if c.License != "" {
			licensed++
		}
	}
	for _, p := range r.Packages {
		if versions[p.Name] != p.Version {
			t.Errorf("the bill has %s %s, want %s", p.Name, versions[p.Name], p.Version)
		}
	}
	t.Logf("%d components, %d with a licence", len(said[0].Components), licensed)
	if licensed < len(r.Packages)/2 {
		t.Errorf("only %d of %d packages have a licence", licensed, len(r.Packages))
	}
}
