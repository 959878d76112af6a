package resource

import (
	"context"
	"errors"
	"io/fs"

	"github.com/strongroom/strongroom/internal/control"
	"github.com/strongroom/strongroom/internal/host"
	"github.com/strongroom/strongroom/internal/overlay"
)

// Absent is a path that must not exist: a daemon, a shell tool, a key. Nothing deletes it: an
// image that has it fails at stage image, so that whoever put it there hears of it.
type Absent struct {
	Path string `yaml:"path" json:"path"`
}

func (a *Absent) Key() control.Key { return control.Key{Kind: "absent", Name: a.Path} }

func (a *Absent) Validate() error {
	var r require
	r.that(absolute(a.Path) && a.Path != "/", "path %q is not absolute and clean", a.Path)
	return r.err()
}

// Render has nothing to add.
func (a *Absent) Render(control.Profile) ([]overlay.Fragment, error) { return nil, nil }

func (a *Absent) Verify(_ context.Context, h host.Host, _ control.Stage) []control.Observation {
	o := onDisk(a.Key())
	switch _, err := h.Lstat(a.Path); {
	case err == nil:
		o.judge(a.Path, "absent", "present", false)
	case errors.Is(err, fs.ErrNotExist):
		o.judge(a.Path, "absent", "absent", true)
	default:
		o.unknown(a.Path, "absent", err)
	}
	return o.out
}
