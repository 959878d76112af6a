package resource

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"path"
	"slices"
	"strings"

	"github.com/strongroom/strongroom/internal/control"
	"github.com/strongroom/strongroom/internal/host"
	"github.com/strongroom/strongroom/internal/overlay"
)

// KernelFact is what a file or directory of /proc or /sys says about the running kernel, where no sysctl
// and no argument tells it. Words are what white space and commas separate; the words of a directory are
// its names. Exactly one of Is, Has, Lacks and Empty is stated.
type KernelFact struct {
	Path  string   `yaml:"path" json:"path"`             // "/sys/kernel/kexec_crash_loaded"
	Is    string   `yaml:"is" json:"is,omitempty"`       // the whole content, white space folded
	Has   []string `yaml:"has" json:"has,omitempty"`     // words that must all be there
	Lacks []string `yaml:"lacks" json:"lacks,omitempty"` // patterns (path.Match) that no word may match
	Empty bool     `yaml:"empty" json:"empty,omitempty"` // no word at all
	// Optional accepts a kernel that has no such file: what is not there cannot be misused.
	Optional bool `yaml:"optional" json:"optional,omitempty"`
}

func (f *KernelFact) Key() control.Key { return control.Key{Kind: "kernel_fact", Name: f.Path} }

func (f *KernelFact) Validate() error {
	var r require
	r.that(path.Clean(f.Path) == f.Path && (strings.HasPrefix(f.Path, "/sys/") || strings.HasPrefix(f.Path, "/proc/")),
		"path %q is not clean, or not below /sys or /proc", f.Path)
	stated := 0
	for _, is := range []bool{f.Is != "", len(f.Has) > 0, len(f.Lacks) > 0, f.Empty} {
		if is {
			stated++
		}
	}
	r.that(stated == 1, "exactly one of is, has, lacks and empty must be stated")
	r.that(f.Is == words(f.Is), "is %q has white space at an end, or more than one blank between words", f.Is)
	for _, p := range f.Lacks {
		_, err := path.Match(p, "")
		r.that(err == nil && p != "", "lacks %q is not a pattern", p)
	}
	r.that(!slices.Contains(f.Has, ""), "has an empty word")
	return r.err()
}

// Render has nothing to write: other resources bring the fact about.
func (f *KernelFact) Render(control.Profile) ([]overlay.Fragment, error) { return nil, nil }

func (f *KernelFact) Verify(_ context.Context, h host.Host, stage control.Stage) []control.Observation {
	if !stage.Runs() {
		return nil
	}
	o := effective(f.Key())
	got, err := f.read(h)
	switch {
	case f.Optional && errors.Is(err, fs.ErrNotExist):
		o.judge(f.Path, f.want(), "not in this kernel", true)
	case err != nil:
		o.missing(f.Path, f.want(), err)
	default:
		o.judge(f.Path, f.want(), cmp.Or(got, nothing), f.holds(got))
	}
	return o.out
}

// read gives the content with white space folded, or the names in a directory.
func (f *KernelFact) read(h host.Host) (string, error) {
	info, err := h.Stat(f.Path)
	if err != nil {
		return "", err
	}
	if info.Mode.IsDir() {
		names, err := h.ReadDir(f.Path)
		return strings.Join(names, " "), err
	}
	content, err := h.ReadFile(f.Path)
	return words(string(content)), err
}

func (f *KernelFact) holds(got string) bool {
	all := strings.FieldsFunc(got, func(r rune) bool { return r == ' ' || r == ',' })
	switch {
	case f.Is != "":
		return got == f.Is
	case len(f.Has) > 0:
		return !slices.ContainsFunc(f.Has, func(w string) bool { return !slices.Contains(all, w) })
	case len(f.Lacks) > 0:
		return !slices.ContainsFunc(all, func(w string) bool { return matchesAny(f.Lacks, w) })
	}
	return len(all) == 0
}

func (f *KernelFact) want() string {
	switch {
	case f.Is != "":
		return f.Is
	case len(f.Has) > 0:
		return "has " + strings.Join(f.Has, ", ")
	case len(f.Lacks) > 0:
		return fmt.Sprintf("nothing like %s", strings.Join(f.Lacks, ", "))
	}
	return nothing
}

const nothing = "nothing"

// matchesAny reports whether a name matches one of the patterns, which Validate has proven well-formed.
func matchesAny(patterns []string, name string) bool {
	return slices.ContainsFunc(patterns, func(p string) bool {
		ok, _ := path.Match(p, name)
		return ok
	})
}
