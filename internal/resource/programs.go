package resource

import (
	"context"
	"errors"
	"io/fs"
	"path"
	"strings"

	"github.com/strongroom/strongroom/internal/control"
	"github.com/strongroom/strongroom/internal/host"
	"github.com/strongroom/strongroom/internal/overlay"
)

// ProgramsAbsent is a group of programs of which the node has none, in whatever directory of programs a
// package would put them.
type ProgramsAbsent struct {
	Name     string   `yaml:"name" json:"name"`         // of the group: "debuggers"
	Programs []string `yaml:"programs" json:"programs"` // patterns (path.Match) of file names
}

// programDirs is where programs lie. Without merged /usr the first two are directories of their own.
var programDirs = []string{"/bin", "/sbin", "/usr/bin", "/usr/sbin", "/usr/local/bin", "/usr/local/sbin", "/usr/games", "/opt/bin"}

func (p *ProgramsAbsent) Key() control.Key {
	return control.Key{Kind: "programs_absent", Name: p.Name}
}

func (p *ProgramsAbsent) Validate() error {
	var r require
	r.that(groupName.MatchString(p.Name), "name %q is not a word in lower case", p.Name)
	r.that(len(p.Programs) > 0, "no programs")
	for _, n := range p.Programs {
		_, err := path.Match(n, "")
		r.that(err == nil && n != "" && !strings.Contains(n, "/"), "program %q is not a pattern of a file name", n)
	}
	return r.err()
}

// Render has nothing to add.
func (p *ProgramsAbsent) Render(control.Profile) ([]overlay.Fragment, error) { return nil, nil }

func (p *ProgramsAbsent) Verify(_ context.Context, h host.Host, _ control.Stage) []control.Observation {
	o := onDisk(p.Key())
	want := "none of " + strings.Join(p.Programs, " ")
	installed := host.Derive(h, "programs", listPrograms)
	if installed.err != nil {
		o.unknown(installed.unreadable, want, installed.err)
	}
	var found []string
	for _, at := range installed.paths {
		if matchesAny(p.Programs, path.Base(at)) {
			found = append(found, at)
		}
	}
	o.none(strings.Join(programDirs, ":"), want, named(found, ""))
	return o.out
}

// programs are the paths of what lies in the directories of programs, links included.
type programs struct {
	paths      []string
	unreadable string // a directory that could not be listed
	err        error
}

func listPrograms(h host.Host) programs {
	var out programs
	for _, dir := range programDirs {
		// With merged /usr the link would show everything twice.
		info, err := h.Lstat(dir)
		if errors.Is(err, fs.ErrNotExist) || err == nil && info.Mode&fs.ModeSymlink != 0 {
			continue
		}
		names, listErr := h.ReadDir(dir)
		if err := errors.Join(err, listErr); err != nil {
			out.unreadable, out.err = dir, err
			continue
		}
		for _, n := range names {
			out.paths = append(out.paths, path.Join(dir, n))
		}
	}
	return out
}
