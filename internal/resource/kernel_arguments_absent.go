package resource

import (
	"context"
	"path"
	"regexp"
	"slices"
	"strings"

	"github.com/strongroom/strongroom/internal/control"
	"github.com/strongroom/strongroom/internal/host"
	"github.com/strongroom/strongroom/internal/overlay"
)

// KernelArgumentsAbsent is a group of words that must not be on the kernel command line.
type KernelArgumentsAbsent struct {
	Name string `yaml:"name" json:"name"` // of the group: "weakening"
	// Words are patterns (path.Match). One without "=" is about an argument of this name, whatever its
	// value: "init". One with it is about the whole word: "mitigations=off*".
	Words []string `yaml:"words" json:"words"`
}

var groupName = regexp.MustCompile(`^[a-z][a-z0-9-]*$`)

func (a *KernelArgumentsAbsent) Key() control.Key {
	return control.Key{Kind: "kernel_arguments_absent", Name: a.Name}
}

func (a *KernelArgumentsAbsent) Validate() error {
	var r require
	r.that(groupName.MatchString(a.Name), "name %q is not a word in lower case", a.Name)
	r.that(len(a.Words) > 0, "no words")
	for _, w := range a.Words {
		_, err := path.Match(w, "")
		r.that(err == nil && w != "" && !strings.ContainsAny(w, " \t\n"), "word %q is not a pattern without blanks", w)
	}
	return r.err()
}

// Render has nothing to add.
func (a *KernelArgumentsAbsent) Render(control.Profile) ([]overlay.Fragment, error) { return nil, nil }

func (a *KernelArgumentsAbsent) Verify(_ context.Context, h host.Host, stage control.Stage) []control.Observation {
	if !stage.Runs() {
		return nil
	}
	o := effective(a.Key())
	want := "none of " + strings.Join(a.Words, " ")
	args, err := h.KernelArguments()
	if err != nil {
		o.unknown("/proc/cmdline", want, err)
		return o.out
	}
	found := slices.DeleteFunc(slices.Clone(args), func(arg string) bool { return !a.forbids(arg) })
	got := want
	if len(found) > 0 {
		got = strings.Join(found, " ")
	}
	o.judge("/proc/cmdline", want, got, len(found) == 0)
	return o.out
}

// forbids compares as the kernel and systemd do, to both of which a dash in a name is an underscore.
func (a *KernelArgumentsAbsent) forbids(arg string) bool {
	name := kernelWordName(arg)
	_, value, valued := strings.Cut(arg, "=")
	whole := name
	if valued {
		whole += "=" + value
	}
	return slices.ContainsFunc(a.Words, func(pattern string) bool {
		of, wanted, withValue := strings.Cut(pattern, "=")
		of = strings.ReplaceAll(of, "-", "_")
		subject := name
		if withValue {
			of, subject = of+"="+wanted, whole
		}
		ok, _ := path.Match(of, subject)
		return ok
	})
}
