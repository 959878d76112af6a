//go:build bake && slow

package main

import (
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/strongroom/strongroom/internal/image"
	"github.com/strongroom/strongroom/internal/image/imagetest"
	"github.com/strongroom/strongroom/internal/lock"
)

// TestOnePackageMore bakes an image with one package more: the lock and the image differ in that one and what it depends on, and
// the disk in everything that has the root's hash in it.
func TestOnePackageMore(t *testing.T) {
	spec := imagetest.Spec(t)
	one := imagetest.Bake(t, spec)
	spec = imagetest.Spec(t)
	spec.Packages = []string{"tcpdump"}
	other := imagetest.Bake(t, spec)

	read := func(r image.Result) lock.File {
		f, err := lock.Read(r.Dir + "/" + r.Lock.Path)
		if err != nil {
			t.Fatal(err)
		}
		return f
	}
	var added []string
	for _, c := range lock.Diff(read(one), read(other)) {
		if c.Kind != lock.Added {
			t.Errorf("more than packages were added: %s", c)
		}
		if c.Package {
			added = append(added, c.Name)
		}
	}
	if !slices.Contains(added, "tcpdump") || len(added) > 5 {
		t.Errorf("added were %q", added)
	}
	var installed []string
	for _, p := range other.Packages {
		if !slices.ContainsFunc(one.Packages, func(o image.Package) bool { return o == p }) {
			installed = append(installed, p.Name)
		}
	}
	if d := cmp.Diff(added, installed); d != "" {
		t.Errorf("locked and installed: %s", d)
	}
	if one.RootHash == other.RootHash || one.Kernel != other.Kernel || one.Overlay != other.Overlay {
		t.Error("another root hash, and nothing else, was to be expected")
	}
}
