package plugin

import (
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	packersdk "github.com/hashicorp/packer-plugin-sdk/packer"
	registryimage "github.com/hashicorp/packer-plugin-sdk/packer/registry/image"

	"github.com/strongroom/strongroom/internal/launch"
)

// LaunchTemplateID is the BuilderId of what the post-processor returns. It never changes.
const LaunchTemplateID = "strongroom.launch-template"

// launchArtifact is a launch template, or the files of a dry run.
type launchArtifact struct {
	id        string
	what      string
	files     []string
	generated map[string]any
	state     map[string]any
	metadata  *registryimage.Image
}

var _ packersdk.Artifact = (*launchArtifact)(nil)

// newLaunchArtifact describes what was made. The id of a dry run is the digest of its files.
func newLaunchArtifact(provider string, request launch.Request, result launch.Result, files []string, source packersdk.Artifact) (*launchArtifact, error) {
	a := &launchArtifact{
		files: files, generated: generatedData(source),
		state: map[string]any{"provider": provider, "region": result.Region, "dry_run": files != nil},
	}
	if files != nil {
		hash := sha256.New()
		for _, name := range files {
			text, err := os.ReadFile(name)
			if err != nil {
				return nil, err
			}
			fmt.Fprintf(hash, "%s %d\n%s", filepath.Base(name), len(text), text)
		}
		a.id = "sha256:" + hex.EncodeToString(hash.Sum(nil))
		a.what = fmt.Sprintf("dry run of the launch template %s in %s", request.Name, filepath.Dir(files[0]))
		return a, nil
	}
	a.id = result.ID
	if result.Region != "" {
		a.id = result.Region + ":" + result.ID
	}
	a.what = fmt.Sprintf("launch template %s (%s) of the image %s", request.Name, a.id, result.Image)
	a.state["launch_template"], a.state["image"], a.state["changed"] = result.ID, result.Image, result.Changed
	labels := map[string]any{"launch_template": result.ID}
	for name, value := range map[string]string{"image_version": request.Image.Version, "root_hash": request.Image.RootHash} {
		if value != "" {
			labels[name] = value
		}
	}
	metadata, err := registryimage.FromArtifact(a, registryimage.WithProvider(provider), registryimage.WithRegion(result.Region),
		registryimage.WithID(result.Image), registryimage.SetLabels(labels))
	if err != nil {
		return nil, err
	}
	a.metadata = metadata
	return a, nil
}

// generatedData is what the build has told post-processors so far. It comes over the wire as another kind of map.
func generatedData(source packersdk.Artifact) map[string]any {
	out := map[string]any{}
	switch data := source.State("generated_data").(type) {
	case map[string]any:
		for name, value := range data {
			out[name] = value
		}
	case map[any]any:
		for name, value := range data {
			out[fmt.Sprint(name)] = value
		}
	}
	return out
}

// BuilderId returns [LaunchTemplateID].
func (*launchArtifact) BuilderId() string { return LaunchTemplateID }

// Files lists those of a dry run.
func (a *launchArtifact) Files() []string { return a.files }

// Id is "REGION:TEMPLATE:VERSION" on AWS, the template's name or URL elsewhere, and the digest of the files of a dry run.
func (a *launchArtifact) Id() string { return a.id }

func (a *launchArtifact) String() string { return a.what }

// State answers what other components ask for, in plain types.
func (a *launchArtifact) State(name string) any {
	switch name {
	case "generated_data":
		return a.generated
	case registryimage.ArtifactStateURI:
		if a.metadata == nil { // a dry run made no image
			return nil
		}
		return a.metadata
	}
	return a.state[name]
}

// Destroy removes the files of a dry run. What is in the cloud stays: instances may have been started from it.
func (a *launchArtifact) Destroy() error {
	var errs []error
	for _, name := range a.files {
		if err := os.Remove(name); err != nil && !errors.Is(err, fs.ErrNotExist) {
			errs = append(errs, err)
		}
	}
	if len(a.files) > 0 {
		dir := filepath.Dir(a.files[0])
		if left, err := os.ReadDir(dir); err == nil && len(left) == 0 {
			errs = append(errs, os.Remove(dir))
		}
	}
	return errors.Join(errs...)
}
