package resource

import (
	"context"
	"errors"
	"io/fs"
	"path"
	"regexp"
	"slices"
	"strings"

	"github.com/strongroom/strongroom/internal/control"
	"github.com/strongroom/strongroom/internal/host"
	"github.com/strongroom/strongroom/internal/overlay"
)

// Sysctl is a kernel parameter: rendered as a sysctl.d fragment of its own, verified against
// /proc/sys, and against later fragments that would win over ours at the next boot.
type Sysctl struct {
	Name  string `yaml:"name" json:"name"`   // "kernel.kptr_restrict"
	Value string `yaml:"value" json:"value"` // as /proc/sys shows it
	// Optional accepts a kernel that was built without the parameter: what is not there cannot be misused.
	Optional bool `yaml:"optional" json:"optional,omitempty"`
}

var sysctlName = regexp.MustCompile(`^[a-z0-9_]+(\.[A-Za-z0-9_-]+)+$`)

// sysctlDirs is where systemd-sysctl reads from. A file of the same name in an earlier directory
// replaces one in a later directory; across names the last one by name wins.
var sysctlDirs = []string{"/etc/sysctl.d", "/run/sysctl.d", "/usr/local/lib/sysctl.d", "/usr/lib/sysctl.d"}

func (s *Sysctl) Key() control.Key { return control.Key{Kind: "sysctl", Name: s.Name} }

func (s *Sysctl) Validate() error {
	var r require
	r.that(sysctlName.MatchString(s.Name), "name %q is not a sysctl (like kernel.kptr_restrict)", s.Name)
	r.that(s.Value != "" && !strings.ContainsAny(s.Value, "\n"), "value is empty or has more than one line")
	return r.err()
}

func (s *Sysctl) fragmentName() string { return "99-strongroom-" + s.Name + ".conf" }

func (s *Sysctl) Render(control.Profile) ([]overlay.Fragment, error) {
	prefix := ""
	if s.Optional {
		prefix = "-" // systemd-sysctl ignores a failure to set it
	}
	return []overlay.Fragment{
		overlay.File("/usr/lib/sysctl.d/"+s.fragmentName(), prefix+s.Name+" = "+s.Value+"\n"),
	}, nil
}

func (s *Sysctl) Verify(_ context.Context, h host.Host, stage control.Stage) []control.Observation {
	disk := onDisk(s.Key())
	s.verifyOverrides(disk, h)
	if !stage.Runs() {
		return disk.out
	}
	live := effective(s.Key())
	source := s.procPath()
	got, err := h.ReadFile(source)
	switch {
	case s.Optional && errors.Is(err, fs.ErrNotExist):
		live.judge(source, s.Value, "not in this kernel", true)
	case err != nil:
		live.missing(source, s.Value, err)
	default:
		live.equal(source, s.Value, strings.Join(strings.Fields(string(got)), " "))
	}
	return append(disk.out, live.out...)
}

// verifyOverrides looks for a fragment that systemd-sysctl would apply after ours.
func (s *Sysctl) verifyOverrides(o *observe, h host.Host) {
	winners := map[string]string{} // file name → the path that counts
	for _, dir := range sysctlDirs {
		names, err := h.ReadDir(dir)
		if err != nil && !errors.Is(err, fs.ErrNotExist) {
			o.unknown(dir, "readable", err)
			return
		}
		for _, n := range names {
			if _, taken := winners[n]; !taken && strings.HasSuffix(n, ".conf") {
				winners[n] = path.Join(dir, n)
			}
		}
	}
	names := make([]string, 0, len(winners))
	for n := range winners {
		if n > s.fragmentName() {
			names = append(names, n)
		}
	}
	slices.Sort(names)
	for _, n := range names {
		content, err := h.ReadFile(winners[n])
		if err != nil && !errors.Is(err, fs.ErrNotExist) {
			o.unknown(winners[n], "readable", err)
			continue
		}
		if value, ok := sysctlSetting(string(content), s.Name); ok && value != s.Value {
			o.judge(winners[n], s.Name+" = "+s.Value, value, false)
		}
	}
}

func (s *Sysctl) procPath() string {
	return "/proc/sys/" + strings.ReplaceAll(s.Name, ".", "/")
}

// sysctlSetting finds the last value that a sysctl.d file gives to a parameter.
func sysctlSetting(content, name string) (string, bool) {
	value, found := "", false
	for line := range strings.Lines(content) {
		line = strings.TrimSpace(line)
		if line == "" || line[0] == '#' || line[0] == ';' {
			continue
		}
		key, v, ok := strings.Cut(strings.TrimPrefix(line, "-"), "=")
		if !ok {
			continue
		}
		if strings.ReplaceAll(strings.TrimSpace(key), "/", ".") == name {
			value, found = strings.Join(strings.Fields(v), " "), true
		}
	}
	return value, found
}
