package plugin

import (
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"slices"

	packersdk "github.com/hashicorp/packer-plugin-sdk/packer"
	registryimage "github.com/hashicorp/packer-plugin-sdk/packer/registry/image"

	"github.com/strongroom/strongroom/internal/image"
)

// BuilderID tells post-processors where an artifact comes from. It never changes.
const BuilderID = "strongroom.image"

// artifact is a published image: regular files with unique base names in one directory and those below it, the
// raw disk first, as the stock post-processors need them.
type artifact struct {
	dir       string
	files     []string
	id        string // digest of the first file
	netboot   string // directory of the netboot bundle, if there is one
	generated map[string]any
	labels    map[string]any
}

var _ packersdk.Artifact = (*artifact)(nil)

// newArtifact describes what was published: the disks of the manifest and the other files beside them. Its id is the digest of the first file, which is
// the disk: the same image has the same id, wherever and whenever it was baked.
func newArtifact(r image.Result, others []string, generated map[string]any) (*artifact, error) {
	if len(r.Files) == 0 {
		return nil, errors.New("cannot describe the artifact: the bake published no file")
	}
	a := &artifact{
		dir:       r.Dir,
		id:        "sha256:" + r.Files[0].SHA256,
		generated: generated,
		labels: map[string]any{
			"image_name":     r.Name,
			"image_version":  r.Version,
			"distribution":   r.Distribution,
			"kernel":         r.Kernel,
			"overlay_sha256": r.Overlay,
			"root_hash":      r.RootHash,
		},
	}
	for _, f := range r.Files {
		a.files = append(a.files, filepath.Join(r.Dir, f.Name))
	}
	if r.Netboot != nil {
		// Not the bundle's manifest: base names are unique, and the name is the image's.
		a.netboot = filepath.Join(r.Dir, image.FormatNetboot)
		for _, f := range r.Netboot.Files {
			a.files = append(a.files, filepath.Join(a.netboot, f.Name))
		}
	}
	for _, name := range others {
		a.files = append(a.files, filepath.Join(r.Dir, name))
	}
	if digest, ok := generated[varBaselineDigest].(string); ok {
		a.labels["baseline_sha256"] = digest
	}
	return a, nil
}

// BuilderId returns [BuilderID].
func (*artifact) BuilderId() string { return BuilderID }

// Files lists what was published.
func (a *artifact) Files() []string { return a.files }

// Id is "sha256:" and the digest of the disk.
func (a *artifact) Id() string { return a.id }

func (a *artifact) String() string {
	return fmt.Sprintf("image %v %v in %s (%s)", a.labels["image_name"], a.labels["image_version"], a.dir, a.id)
}

// State answers what other components ask for. Everything in it is of a plain type, since it
// crosses a process boundary.
func (a *artifact) State(name string) any {
	switch name {
	case "generated_data":
		return a.generated
	case registryimage.ArtifactStateURI:
		img, err := registryimage.FromArtifact(a,
			registryimage.WithProvider("strongroom"),
			registryimage.WithRegion("local"),
			registryimage.SetLabels(a.labels))
		if err != nil {
			return nil
		}
		return img
	}
	return nil
}

// Destroy removes the files that the build made, and the directories in which nothing else is.
func (a *artifact) Destroy() error {
	var errs []error
	dirs := map[string]bool{a.dir: true}
	for _, f := range a.files {
		if err := os.Remove(f); err != nil && !errors.Is(err, fs.ErrNotExist) {
			errs = append(errs, err)
		}
		dirs[filepath.Dir(f)] = true
	}
	if a.netboot != "" {
		if err := os.Remove(filepath.Join(a.netboot, image.ManifestName)); err != nil && !errors.Is(err, fs.ErrNotExist) {
			errs = append(errs, err)
		}
	}
	for _, dir := range slices.Backward(slices.Sorted(maps.Keys(dirs))) { // those below first
		if left, err := os.ReadDir(dir); err == nil && len(left) == 0 {
			errs = append(errs, os.Remove(dir))
		}
	}
	return errors.Join(errs...)
}
