package resource

import (
	"context"
	"errors"
	"io/fs"
	"maps"
	"path"
	"slices"
	"strings"

	"github.com/strongroom/strongroom/internal/control"
	"github.com/strongroom/strongroom/internal/host"
	"github.com/strongroom/strongroom/internal/overlay"
)

// HomeTraces states that files which a person's work leaves behind are in no home: not in those of passwd, not in
// /root and not below /home, where a home outlives its account.
type HomeTraces struct {
	Name  string   `yaml:"name" json:"name"`
	Files []string `yaml:"files" json:"files"` // relative to a home
}

func (t *HomeTraces) Key() control.Key { return control.Key{Kind: "home_traces", Name: t.Name} }

func (t *HomeTraces) Validate() error {
	var r require
	r.that(slugName.MatchString(t.Name), "name %q is not a slug", t.Name)
	r.that(len(t.Files) > 0, "no files")
	for _, f := range t.Files {
		r.that(f != "" && !path.IsAbs(f) && path.Clean(f) == f && !strings.HasPrefix(f, ".."), "file %q is not a path inside a home", f)
	}
	return r.err()
}

func (t *HomeTraces) Render(control.Profile) ([]overlay.Fragment, error) { return nil, nil }

// Verify looks in a tree and on a node: a token that was baked in is as bad as one that was left later.
func (t *HomeTraces) Verify(_ context.Context, h host.Host, _ control.Stage) []control.Observation {
	o := onDisk(t.Key())
	want := "no " + strings.Join(t.Files, ", ")
	homes, err := homesOf(h)
	if err != nil {
		o.missing("/etc/passwd", "readable", err)
		return o.out
	}
	var found []string
	looked := 0
	for _, home := range homes {
		if _, err := h.Stat(home); errors.Is(err, fs.ErrNotExist) {
			continue // many accounts of the system have a home that is not there
		} else if err != nil {
			o.unknown(home, want, err)
			continue
		}
		looked++
		for _, f := range t.Files {
			switch _, err := h.Lstat(path.Join(home, f)); {
			case err == nil:
				found = append(found, path.Join(home, f))
			case absentPath(err):
			default:
				o.unknown(path.Join(home, f), want, err)
			}
		}
	}
	o.judge("home directories", want, named(found, "none"), len(found) == 0)
	return o.out
}

// absentPath also knows a path that leads through a file.
func absentPath(err error) bool {
	return errors.Is(err, fs.ErrNotExist) || strings.HasSuffix(err.Error(), "not a directory")
}

// homesOf lists the homes of passwd, /root, and what lies below /home.
func homesOf(h host.Host) ([]string, error) {
	passwd, err := h.ReadFile("/etc/passwd")
	if err != nil {
		return nil, err
	}
	accounts, err := parseColonFile(string(passwd), 7)
	if err != nil {
		return nil, err
	}
	homes := map[string]bool{"/root": true}
	for _, f := range accounts {
		if path.IsAbs(f[5]) {
			homes[path.Clean(f[5])] = true
		}
	}
	names, err := h.ReadDir("/home")
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, err
	}
	for _, name := range names {
		homes["/home/"+name] = true
	}
	return slices.Sorted(maps.Keys(homes)), nil
}
