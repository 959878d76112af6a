package resource

import (
	"context"
	"errors"
	"fmt"
	"path"
	"strings"

	"github.com/strongroom/strongroom/internal/control"
	"github.com/strongroom/strongroom/internal/host"
	"github.com/strongroom/strongroom/internal/overlay"
)

// OpenFiles states that nobody but one unit holds files below a directory open. A file that was mapped into
// memory and closed again is not seen: the kernel shows no such thing without reading every process's maps.
type OpenFiles struct {
	Directory string `yaml:"directory" json:"directory"`
	Unit      string `yaml:"unit" json:"unit"`
}

func (f *OpenFiles) Key() control.Key { return control.Key{Kind: "open_files", Name: f.Directory} }

func (f *OpenFiles) Validate() error {
	var r require
	r.that(absolute(f.Directory) && f.Directory != "/", "directory %q is not absolute and clean", f.Directory)
	r.that(strings.HasSuffix(f.Unit, ".service"), "unit %q is not a service", f.Unit)
	return r.err()
}

func (f *OpenFiles) Render(control.Profile) ([]overlay.Fragment, error) { return nil, nil }

func (f *OpenFiles) Verify(_ context.Context, h host.Host, stage control.Stage) []control.Observation {
	if !stage.Runs() {
		return nil
	}
	o := effective(f.Key())
	source, want := "/proc/*/fd below "+f.Directory, "open in no process outside "+f.Unit
	files, err := h.OpenFiles(f.Directory)
	if err != nil {
		o.unknown(source, want, err)
		return o.out
	}
	var others []string
	for _, file := range files {
		switch {
		case unitOf(file.ControlGroup) == f.Unit:
		case file.Unreadable != "":
			o.unknown(fmt.Sprintf("/proc/%d/fd", file.PID), want, errors.New(file.Unreadable))
		default:
			others = append(others, fmt.Sprintf("%s in process %d (%s)", file.Path, file.PID, file.Name))
		}
	}
	o.judge(source, want, named(others, "in no other"), len(others) == 0)
	return o.out
}

// unitOf gives the unit of a control group: the first part of the path that is no slice. What is below belongs to
// the unit too, which may have been given its own tree. It is "" when the path names no unit.
func unitOf(group string) string {
	for part := range strings.SplitSeq(strings.Trim(group, "/"), "/") {
		switch path.Ext(part) {
		case ".slice":
		case ".service", ".scope", ".socket", ".mount", ".swap":
			return part
		default:
			return ""
		}
	}
	return ""
}
