//go:build bake && slow

package main

import (
	"os"
	"path/filepath"
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/strongroom/strongroom/internal/image"
	"github.com/strongroom/strongroom/internal/image/imagetest"
	"github.com/strongroom/strongroom/internal/lock"
	"github.com/strongroom/strongroom/internal/secureboot"
	"github.com/strongroom/strongroom/internal/secureboot/secureboottest"
)

// TestOnePackageMore bakes an image with one package more: the lock and the image differ in that one and what it depends on, and
// the disk in everything that has the root's hash in it, which imagebuild diff says. On the way other programs say of the disk what imagebuild
// inspect says.
func TestOnePackageMore(t *testing.T) {
	key := secureboottest.Key(t, 2048)
	certificate := secureboottest.Certificate(t, key)
	signer, err := secureboot.New(key, certificate, secureboottest.Epoch)
	if err != nil {
		t.Fatal(err)
	}
	signed := func() image.Spec {
		spec := imagetest.Spec(t)
		spec.SecureBoot = &signer
		return spec
	}
	spec := signed()
	spec.Formats, spec.Netboot.DataDisk = []string{image.FormatRaw, image.FormatQCOW2, image.FormatNetboot}, "id:virtio-data"
	one := imagetest.Bake(t, spec)
	pem := filepath.Join(t.TempDir(), "db.pem")
	if err := os.WriteFile(pem, secureboottest.CertificatePEM(certificate), 0o644); err != nil {
		t.Fatal(err)
	}
	t.Run("inspect", func(t *testing.T) { requireSound(t, one.Dir, pem) })
	t.Run("consumers", func(t *testing.T) { requireAgreement(t, filepath.Join(one.Dir, "disk.raw"), pem) })
	spec = signed()
	spec.Packages = []string{"tcpdump"}
	other := imagetest.Bake(t, spec)
	t.Run("diff", func(t *testing.T) { requireOnlyTcpdump(t, one, other) })

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
