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

// KernelArgument is a word of the kernel command line. In the sealed layout the bake joins the
// rendered fragments into the unified kernel image, where a boot loader cannot change them. On an installed machine the
// distribution's boot loader has to be told of them (docs/installed.md).
type KernelArgument struct {
	Name  string `yaml:"name" json:"name"`             // "lockdown"
	Value string `yaml:"value" json:"value,omitempty"` // "" for a bare word
	// Proof is a file of the running kernel which shows that the argument had its effect: an
	// argument that the kernel did not understand stays in /proc/cmdline all the same.
	Proof *KernelProof `yaml:"proof" json:"proof,omitempty"`
}

// KernelProof is a line of /sys or /proc that must hold a text.
type KernelProof struct {
	Path     string `yaml:"path" json:"path"`
	Contains string `yaml:"contains" json:"contains"`
}

// CommandLineDir is where the bake collects the kernel command line from.
const CommandLineDir = "/usr/lib/strongroom/cmdline.d"

var kernelWord = regexp.MustCompile(`^[A-Za-z0-9_.-]+$`)

func (a *KernelArgument) Key() control.Key {
	return control.Key{Kind: "kernel_argument", Name: a.word()}
}

func (a *KernelArgument) Validate() error {
	var r require
	r.that(kernelWord.MatchString(a.Name), "name %q is not a kernel argument", a.Name)
	r.that(!strings.ContainsAny(a.Value, " \t\n\""), "value %q has blanks or quotes", a.Value)
	if a.Proof != nil {
		r.that(strings.HasPrefix(a.Proof.Path, "/sys/") || strings.HasPrefix(a.Proof.Path, "/proc/"),
			"proof path %q is not below /sys or /proc", a.Proof.Path)
		r.that(path.Clean(a.Proof.Path) == a.Proof.Path, "proof path %q is not clean", a.Proof.Path)
		r.that(a.Proof.Contains != "", "proof contains nothing")
	}
	return r.err()
}

func (a *KernelArgument) word() string {
	if a.Value == "" {
		return a.Name
	}
	return a.Name + "=" + a.Value
}

func (a *KernelArgument) Render(control.Profile) ([]overlay.Fragment, error) {
	file := CommandLineDir + "/50-" + strings.ReplaceAll(a.word(), "/", "_") + ".conf"
	return []overlay.Fragment{overlay.File(file, a.word()+"\n")}, nil
}

func (a *KernelArgument) Verify(_ context.Context, h host.Host, stage control.Stage) []control.Observation {
	if !stage.Runs() {
		return nil
	}
	o := effective(a.Key())
	args, err := h.KernelArguments()
	if err != nil {
		o.unknown("/proc/cmdline", a.word(), err)
	} else {
		// A later contradicting word wins in the kernel for most arguments, so it is shown.
		var same []string
		for _, w := range args {
			if kernelWordName(w) == kernelWordName(a.Name) {
				same = append(same, w)
			}
		}
		got := "absent"
		if len(same) > 0 {
			got = strings.Join(same, " ")
		}
		// The console may be named several times, so it is enough that the word is there;
		// for anything else every word of the name must say the same.
		ok := slices.Contains(same, a.word()) && (a.Name == "console" || len(slices.Compact(slices.Clone(same))) == 1)
		o.judge("/proc/cmdline", a.word(), got, ok)
	}
	if a.Proof != nil {
		want := "contains " + a.Proof.Contains
		content, err := h.ReadFile(a.Proof.Path)
		if err != nil {
			o.missing(a.Proof.Path, want, err)
		} else {
			got := strings.TrimSpace(string(content))
			o.judge(a.Proof.Path, want, got, strings.Contains(got, a.Proof.Contains))
		}
	}
	return o.out
}

// kernelWordName is the name of an argument as the kernel and systemd compare it: to both a dash
// is an underscore.
func kernelWordName(word string) string {
	name, _, _ := strings.Cut(word, "=")
	return strings.ReplaceAll(name, "-", "_")
}
