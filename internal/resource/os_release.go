package resource

import (
	"cmp"
	"context"
	"strings"

	"github.com/strongroom/strongroom/internal/control"
	"github.com/strongroom/strongroom/internal/host"
	"github.com/strongroom/strongroom/internal/overlay"
)

// OSRelease is what os-release(5) must tell of the image. It has no fields: an image has an id and a version.
type OSRelease struct{}

const osReleaseFile = "/etc/os-release"

func (r *OSRelease) Key() control.Key { return control.Key{Kind: "os_release", Name: "image"} }

func (r *OSRelease) Validate() error { return nil }

// Render has nothing to write: the bake adds the lines to the distribution's file.
func (r *OSRelease) Render(control.Profile) ([]overlay.Fragment, error) { return nil, nil }

func (r *OSRelease) Verify(_ context.Context, h host.Host, _ control.Stage) []control.Observation {
	o := onDisk(r.Key())
	content, err := h.ReadFile(osReleaseFile)
	if err != nil {
		o.missing(osReleaseFile, "IMAGE_ID and IMAGE_VERSION", err)
		return o.out
	}
	for _, key := range []string{"IMAGE_ID", "IMAGE_VERSION"} {
		value := ""
		for line := range strings.Lines(string(content)) {
			if v, ok := strings.CutPrefix(strings.TrimSpace(line), key+"="); ok {
				value = strings.Trim(v, `"'`)
			}
		}
		o.judge(osReleaseFile+" "+key, "set", cmp.Or(value, nothing), value != "")
	}
	return o.out
}
