package resource

import (
	"context"
	"errors"
	"io/fs"
	"regexp"
	"slices"
	"strings"

	"github.com/strongroom/strongroom/internal/control"
	"github.com/strongroom/strongroom/internal/host"
	"github.com/strongroom/strongroom/internal/overlay"
)

// KernelModule is a module that must be loaded, or that must never be.
type KernelModule struct {
	Name  string `yaml:"name" json:"name"`
	State string `yaml:"state" json:"state"` // "loaded" or "blocked"
}

var moduleName = regexp.MustCompile(`^[a-z0-9_]+$`)

func (m *KernelModule) Key() control.Key { return control.Key{Kind: "kernel_module", Name: m.Name} }

func (m *KernelModule) Validate() error {
	var r require
	r.that(moduleName.MatchString(m.Name), "name %q is not a module as /proc/modules writes it (underscores)", m.Name)
	r.that(m.State == "loaded" || m.State == "blocked", "state %q is neither loaded nor blocked", m.State)
	return r.err()
}

func (m *KernelModule) Render(control.Profile) ([]overlay.Fragment, error) {
	if m.State == "loaded" {
		return []overlay.Fragment{overlay.File("/usr/lib/modules-load.d/60-strongroom-"+m.Name+".conf", m.Name+"\n")}, nil
	}
	// "blacklist" alone only hides the aliases; "install" also refuses a load by name.
	return []overlay.Fragment{overlay.File("/usr/lib/modprobe.d/60-strongroom-"+m.Name+".conf",
		"blacklist "+m.Name+"\ninstall "+m.Name+" /bin/false\n")}, nil
}

func (m *KernelModule) Verify(_ context.Context, h host.Host, stage control.Stage) []control.Observation {
	if !stage.Runs() {
		return nil
	}
	o := effective(m.Key())
	loaded, err := m.loaded(h)
	want := map[string]string{"loaded": "loaded or built in", "blocked": "not loaded"}[m.State]
	if err != nil {
		o.unknown("/proc/modules", want, err)
		return o.out
	}
	got := "not loaded"
	if loaded {
		got = "loaded or built in"
	}
	o.equal("/proc/modules", want, got)
	return o.out
}

// loaded also finds built-in code, which has a directory in /sys/module but no line in /proc/modules.
func (m *KernelModule) loaded(h host.Host) (bool, error) {
	names, err := h.Modules()
	if err != nil {
		return false, err
	}
	if slices.Contains(names, m.Name) {
		return true, nil
	}
	switch _, err := h.Stat("/sys/module/" + m.Name); {
	case err == nil:
		return true, nil
	case errors.Is(err, fs.ErrNotExist):
	default:
		return false, err
	}
	// Built-in code without parameters has no directory either; the kernel's own list knows it.
	if m.State == "blocked" {
		return false, nil
	}
	release, err := h.ReadFile("/proc/sys/kernel/osrelease")
	if err != nil {
		return false, err
	}
	builtin, err := h.ReadFile("/usr/lib/modules/" + strings.TrimSpace(string(release)) + "/modules.builtin")
	if errors.Is(err, fs.ErrNotExist) {
		return false, nil
	}
	return strings.Contains(string(builtin), "/"+m.Name+".ko"), err
}
