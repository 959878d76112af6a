package plugin

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	registryimage "github.com/hashicorp/packer-plugin-sdk/packer/registry/image"

	"github.com/strongroom/strongroom/internal/image"
)

func published(t *testing.T) (*artifact, string) {
	t.Helper()
	dir := filepath.Join(t.TempDir(), "image")
	for _, name := range []string{"disk.raw", "disk.qcow2", image.ManifestName, imageReportName} {
		write(t, filepath.Join(dir, name), name, 0o644)
	}
	a, err := newArtifact(image.Result{
		Name: "vault", Version: "1.4.0", Distribution: "debian/trixie", Kernel: "6.12", RootHash: "r00t", Overlay: "0ver", Dir: dir,
		Files: []image.File{{Name: "disk.raw", SHA256: strings.Repeat("a", 64)}, {Name: "disk.qcow2", SHA256: strings.Repeat("b", 64)}},
	}, []string{image.ManifestName, imageReportName}, map[string]any{varBaselineDigest: "ba5e", varRootHash: "r00t"})
	if err != nil {
		t.Fatal(err)
	}
	return a, dir
}

// What stock post-processors rely on.
func TestArtifactContract(t *testing.T) {
	a, _ := published(t)
	seen := map[string]bool{}
	for i, f := range a.Files() {
		info, err := os.Lstat(f)
		if err != nil || !info.Mode().IsRegular() {
			t.Errorf("%s is not a regular file (%v)", f, err)
		}
		base := filepath.Base(f)
		if seen[base] {
			t.Errorf("base name %s is not unique", base)
		}
		seen[base] = true
		if i == 0 && base != "disk.raw" {
			t.Errorf("the first file is %s, want the disk", base)
		}
	}
	if len(seen) != 4 {
		t.Errorf("files %q", a.Files())
	}
	if want := "sha256:" + strings.Repeat("a", 64); a.Id() != want {
		t.Errorf("id %s, want %s", a.Id(), want)
	}
	if a.BuilderId() != "strongroom.image" {
		t.Errorf("builder id %s changed: templates and registries know it", a.BuilderId())
	}
	if s := a.String(); !strings.Contains(s, "vault 1.4.0") || !strings.Contains(s, a.Id()) {
		t.Errorf("description %q", s)
	}
}

func TestArtifactState(t *testing.T) {
	a, _ := published(t)
	// checksum, compress and shell-local assert a map without looking.
	if generated, ok := a.State("generated_data").(map[string]any); !ok || generated[varRootHash] != "r00t" {
		t.Errorf("generated_data is %#v", a.State("generated_data"))
	}
	meta, ok := a.State(registryimage.ArtifactStateURI).(*registryimage.Image)
	if !ok {
		t.Fatalf("registry metadata is %#v", a.State(registryimage.ArtifactStateURI))
	}
	if err := meta.Validate(); err != nil {
		t.Error(err)
	}
	for name, want := range map[string]string{"image_version": "1.4.0", "root_hash": "r00t", "baseline_sha256": "ba5e", "overlay_sha256": "0ver"} {
		if meta.Labels[name] != want {
			t.Errorf("label %s is %q, want %q", name, meta.Labels[name], want)
		}
	}
	if got := a.State("no such thing"); got != nil {
		t.Errorf("unknown state is %#v, want nil", got)
	}
}

func TestDestroyRemovesOnlyWhatWasMade(t *testing.T) {
	a, dir := published(t)
	foreign := filepath.Join(dir, "notes.txt")
	write(t, foreign, "somebody else's", 0o644)
	if err := a.Destroy(); err != nil {
		t.Fatal(err)
	}
	left, err := filepath.Glob(filepath.Join(dir, "*"))
	if err != nil || !slices.Equal(left, []string{foreign}) {
		t.Errorf("left %q (%v), want only %s", left, err, foreign)
	}
	if err := os.Remove(foreign); err != nil {
		t.Fatal(err)
	}
	if err := a.Destroy(); err != nil {
		t.Errorf("a second time: %v", err)
	}
	if _, err := os.Lstat(dir); !os.IsNotExist(err) {
		t.Error("the empty directory is still there")
	}
}

func TestArtifactWithoutFiles(t *testing.T) {
	if _, err := newArtifact(image.Result{}, nil, nil); err == nil {
		t.Error("an artifact without a disk")
	}
}
