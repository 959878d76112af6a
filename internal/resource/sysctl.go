package resource

import (
	"context"
	"errors"
	"io/fs"
	"path"
	"regexp"
	"slices"
	"strings"
	"sync"

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
var sysctlDirs = []string{"/etc/sysctl.d", "/run/sysctl.d", "/usr/local/lib/sysctl.d", sysctlFragments}

// sysctlFragments is where ours lie.
const sysctlFragments = "/usr/lib/sysctl.d"

func (s *Sysctl) Key() control.Key { return control.Key{Kind: "sysctl", Name: s.Name} }

func (s *Sysctl) Validate() error {
	var r require
	r.that(sysctlName.MatchString(s.Name), "name %q is not a sysctl (like kernel.kptr_restrict)", s.Name)
	r.that(s.Value != "" && s.Value == words(s.Value), "value %q is empty, or not as /proc/sys shows it (one line, one blank between words)", s.Value)
	return r.err()
}

func (s *Sysctl) fragmentName() string { return "99-strongroom-" + s.Name + ".conf" }

func (s *Sysctl) Render(control.Profile) ([]overlay.Fragment, error) {
	prefix := ""
	if s.Optional {
		prefix = "-" // systemd-sysctl ignores a failure to set it
	}
	return []overlay.Fragment{
		overlay.File(path.Join(sysctlFragments, s.fragmentName()), prefix+s.Name+" = "+s.Value+"\n"),
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
		live.equal(source, s.Value, words(string(got)))
	}
	return append(disk.out, live.out...)
}

// verifyOverrides looks for a fragment that systemd-sysctl would read in place of ours or after it.
func (s *Sysctl) verifyOverrides(o *observe, h host.Host) {
	files := host.Derive(h, "sysctl.d", listSysctlFiles)
	if files.err != nil {
		o.unknown(files.unreadable, "readable", files.err)
		return
	}
	ours := s.fragmentName()
	i, found := slices.BinarySearchFunc(files.list, ours, func(f *sysctlFile, name string) int { return strings.Compare(f.name, name) })
	if found {
		files.list[i].judgeName(o)
		i++
	}
	parameter := sysctlPath(s.Name)
	for _, f := range files.list[i:] {
		settings, err := f.settings()
		if err != nil {
			o.unknown(f.path, "readable", err)
			continue
		}
		if value, ok := settings.value(parameter); ok && value != s.Value {
			o.judge(f.path, s.Name+" = "+s.Value, value, false)
		}
	}
}

// sysctlFiles are the files that systemd-sysctl reads, in its order: by name.
type sysctlFiles struct {
	list       []*sysctlFile
	unreadable string // a directory that could not be listed
	err        error
}

// sysctlFile is the one of several files of a name that counts.
type sysctlFile struct {
	name, path string
	settings   func() (sysctlSettings, error) // read on first use
}

// judgeName fails a file of another directory that has the name of one of our fragments: systemd-sysctl would
// read it in place of ours.
func (f *sysctlFile) judgeName(o *observe) {
	if path.Dir(f.path) != sysctlFragments {
		o.judge(f.path, "no file of this name", "replaces "+path.Join(sysctlFragments, f.name), false)
	}
}

func listSysctlFiles(h host.Host) sysctlFiles {
	var out sysctlFiles
	taken := map[string]bool{}
	for _, dir := range sysctlDirs {
		names, err := h.ReadDir(dir)
		if err != nil && !errors.Is(err, fs.ErrNotExist) {
			return sysctlFiles{unreadable: dir, err: err}
		}
		for _, n := range names {
			if taken[n] || !strings.HasSuffix(n, ".conf") {
				continue
			}
			taken[n] = true
			at := path.Join(dir, n)
			out.list = append(out.list, &sysctlFile{n, at, sync.OnceValues(func() (sysctlSettings, error) {
				content, err := readSysctlFragment(h, at)
				return parseSysctls(string(content)), err
			})})
		}
	}
	slices.SortFunc(out.list, func(a, b *sysctlFile) int { return strings.Compare(a.name, b.name) })
	return out
}

// readSysctlFragment takes a link to /dev/null, which masks a file, and a dangling link for the
// empty files that they are to systemd-sysctl.
func readSysctlFragment(h host.Host, at string) ([]byte, error) {
	info, err := h.Lstat(at)
	if err == nil && info.Target == "/dev/null" {
		return nil, nil
	}
	var content []byte
	if err == nil {
		content, err = h.ReadFile(at)
	}
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	return content, err
}

func (s *Sysctl) procPath() string { return "/proc/sys/" + sysctlPath(s.Name) }

// notSet is what parseSysctls says of a parameter that a file takes back.
const notSet = "not set at all"

// sysctlSettings are the settings of one sysctl.d file, in order.
type sysctlSettings []struct{ path, value string }

// parseSysctls reads a sysctl.d file. "-name" without a value takes earlier values back. A key with wildcards
// says nothing: systemd-sysctl leaves out of it what any file sets by name, as ours does.
func parseSysctls(content string) sysctlSettings {
	var out sysctlSettings
	for line := range strings.Lines(content) {
		line = strings.TrimSpace(line)
		if line == "" || line[0] == '#' || line[0] == ';' {
			continue
		}
		key, v, assigned := strings.Cut(line, "=")
		key, dashed := strings.CutPrefix(key, "-")
		value := notSet
		if assigned {
			value = words(v)
		} else if !dashed {
			continue
		}
		out = append(out, struct{ path, value string }{sysctlPath(strings.TrimSpace(key)), value})
	}
	return out
}

// value finds what a file makes of a parameter: the last thing that it says of it.
func (s sysctlSettings) value(parameter string) (string, bool) {
	for _, setting := range slices.Backward(s) {
		if setting.path == parameter {
			return setting.value, true
		}
	}
	return "", false
}

// swapSeparators is made once: it is some kilobytes, and every line of sysctl.d goes through it.
var swapSeparators = strings.NewReplacer(".", "/", "/", ".")

// sysctlPath is the path of a parameter below /proc/sys. The first separator of a key says which of
// the two separates: net.ipv4.conf.eth0/1.x and net/ipv4/conf/eth0.1/x are the same.
func sysctlPath(key string) string {
	if i := strings.IndexAny(key, "./"); i >= 0 && key[i] == '.' {
		key = swapSeparators.Replace(key)
	}
	return strings.TrimPrefix(path.Clean("/"+key), "/")
}

// words folds white space, as the kernel's own files have tabs between values.
func words(s string) string { return strings.Join(strings.Fields(s), " ") }
