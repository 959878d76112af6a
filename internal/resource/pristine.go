package resource

import (
	"context"
	"errors"
	"io/fs"
	"path"
	"slices"
	"strings"

	"github.com/strongroom/strongroom/internal/control"
	"github.com/strongroom/strongroom/internal/host"
	"github.com/strongroom/strongroom/internal/overlay"
)

// Pristine is a place where the image has nothing, because whatever it had every node would share: an
// identity, a key, the state of the machine that baked it. The path may be absent, an empty file or an empty
// directory. A running node fills it, so only the image is judged.
type Pristine struct {
	Path string `yaml:"path" json:"path"`
	// Names are patterns (path.Match) of the names in the directory that must not be there; without them none may.
	Names []string `yaml:"names" json:"names,omitempty"`
}

func (p *Pristine) Key() control.Key {
	return control.Key{Kind: "pristine", Name: path.Join(p.Path, strings.Join(p.Names, ","))}
}

func (p *Pristine) Validate() error {
	var r require
	r.that(absolute(p.Path) && p.Path != "/", "path %q is not absolute and clean", p.Path)
	for _, n := range p.Names {
		_, err := path.Match(n, "")
		r.that(err == nil && n != "" && !strings.Contains(n, "/"), "name %q is not a pattern of a file name", n)
	}
	return r.err()
}

// Render has nothing to add: the bake seals the tree.
func (p *Pristine) Render(control.Profile) ([]overlay.Fragment, error) { return nil, nil }

func (p *Pristine) Verify(_ context.Context, h host.Host, stage control.Stage) []control.Observation {
	o := onDisk(p.Key())
	if stage.Runs() {
		o.add(p.Path, "nothing in the image", "judged when the image was made; a running node has its own", control.NotApplicable, nil)
		return o.out
	}
	info, err := h.Stat(p.Path)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		o.judge(p.Path, nothing, "absent", true)
	case err != nil:
		o.unknown(p.Path, nothing, err)
	case info.Mode.IsDir():
		p.verifyDirectory(o, h)
	case info.Mode.IsRegular() && info.Size == 0:
		o.judge(p.Path, nothing, "an empty file", true)
	default:
		o.judge(p.Path, nothing, "a file that says something", false)
	}
	return o.out
}

func (p *Pristine) verifyDirectory(o *observe, h host.Host) {
	names, err := h.ReadDir(p.Path)
	if err != nil {
		o.unknown(p.Path, nothing, err)
		return
	}
	if len(p.Names) > 0 {
		names = slices.DeleteFunc(slices.Clone(names), func(n string) bool { return !matchesAny(p.Names, n) })
	}
	o.judge(p.Path, nothing, named(names, nothing), len(names) == 0)
}
