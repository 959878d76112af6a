package resource

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"path"
	"regexp"
	"slices"
	"strings"

	"github.com/strongroom/strongroom/internal/control"
	"github.com/strongroom/strongroom/internal/host"
	"github.com/strongroom/strongroom/internal/overlay"
)

// InterfaceSysctl is a kernel parameter that every network interface has for itself. The kernel joins the
// value of "all" with that of the interface in a way of each parameter's own (for redirects one of the two
// is enough, for the reverse path filter the larger counts), and "default" is what an interface starts
// with. So the value is stated for all, default and every interface: then it does not matter how they join.
type InterfaceSysctl struct {
	Family string `yaml:"family" json:"family"` // "ipv4" or "ipv6"
	Name   string `yaml:"name" json:"name"`     // "rp_filter"
	Value  string `yaml:"value" json:"value"`   // as /proc/sys shows it
}

var interfaceSysctlName = regexp.MustCompile(`^[a-z0-9_]+$`)

func (s *InterfaceSysctl) Key() control.Key {
	return control.Key{Kind: "interface_sysctl", Name: s.Family + "." + s.Name}
}

func (s *InterfaceSysctl) Validate() error {
	var r require
	r.that(s.Family == "ipv4" || s.Family == "ipv6", "family %q is neither ipv4 nor ipv6", s.Family)
	r.that(interfaceSysctlName.MatchString(s.Name), "name %q is not a parameter of an interface (like rp_filter)", s.Name)
	r.that(s.Value != "" && s.Value == words(s.Value), "value %q is empty, or not as /proc/sys shows it", s.Value)
	return r.err()
}

func (s *InterfaceSysctl) dir() string { return "/proc/sys/net/" + s.Family + "/conf" }

func (s *InterfaceSysctl) fragmentName() string {
	return "99-strongroom-net." + s.Family + ".conf.each." + s.Name + ".conf"
}

// always are the elements of conf that are no interfaces.
var always = []string{"all", "default"}

// Render writes a line with a wildcard. systemd-sysctl applies it to what there is, and udev once more to
// each interface that comes later. It leaves out what any file names; systemd's own 50-default.conf, which
// Debian 13 has in linux-sysctl-defaults, names all and default: so they are named again. The dash lets a
// kernel without the family go on.
func (s *InterfaceSysctl) Render(control.Profile) ([]overlay.Fragment, error) {
	var lines strings.Builder
	for _, element := range append(slices.Clone(always), "*") {
		fmt.Fprintf(&lines, "-net.%s.conf.%s.%s = %s\n", s.Family, element, s.Name, s.Value)
	}
	return []overlay.Fragment{overlay.File(path.Join(sysctlFragments, s.fragmentName()), lines.String())}, nil
}

func (s *InterfaceSysctl) Verify(_ context.Context, h host.Host, stage control.Stage) []control.Observation {
	disk := onDisk(s.Key())
	s.verifyOverrides(disk, h)
	if !stage.Runs() {
		return disk.out
	}
	live := effective(s.Key())
	s.verifyInterfaces(live, h)
	return append(disk.out, live.out...)
}

func (s *InterfaceSysctl) verifyInterfaces(o *observe, h host.Host) {
	source, want := path.Join(s.dir(), "*", s.Name), s.Value+" everywhere"
	names, err := h.ReadDir(s.dir())
	switch {
	case errors.Is(err, fs.ErrNotExist):
		o.judge(source, want, "no "+s.Family+" in this kernel", true)
		return
	case err != nil:
		o.unknown(source, want, err)
		return
	}
	var others []string
	for _, n := range names {
		at := path.Join(s.dir(), n, s.Name)
		content, err := h.ReadFile(at)
		switch {
		case errors.Is(err, fs.ErrNotExist):
			others = append(others, n+": absent")
		case err != nil:
			o.unknown(at, s.Value, err)
		default:
			if got := words(string(content)); got != s.Value {
				others = append(others, n+": "+got)
			}
		}
	}
	for _, needed := range always {
		if !slices.Contains(names, needed) {
			others = append(others, needed+": absent")
		}
	}
	got := want
	if len(others) > 0 {
		got = strings.Join(others, ", ")
	}
	o.judge(source, want, got, len(others) == 0)
}

// verifyOverrides looks for what takes an interface out of our wildcard: a key without one, in whatever
// file, and a wildcard of a later file. What we name ourselves only a later file can change.
func (s *InterfaceSysctl) verifyOverrides(o *observe, h host.Host) {
	files := host.Derive(h, "sysctl.d", listSysctlFiles)
	if files.err != nil {
		o.unknown(files.unreadable, "readable", files.err)
		return
	}
	ours := s.fragmentName()
	for _, f := range files.list {
		if f.name == ours {
			f.judgeName(o)
			continue
		}
		settings, err := f.settings()
		if err != nil {
			o.unknown(f.path, "readable", err)
			continue
		}
		for _, setting := range settings {
			element, ok := s.element(setting.path)
			overridden := f.name < ours && (strings.ContainsAny(element, "*?[") || slices.Contains(always, element))
			if !ok || setting.value == s.Value || overridden {
				continue
			}
			o.judge(f.path, s.Key().Name+" = "+s.Value, setting.path+" = "+setting.value, false)
		}
	}
}

// element is the part of a setting's path that names the interface, when it is about our parameter.
func (s *InterfaceSysctl) element(parameter string) (string, bool) {
	rest, ok := strings.CutPrefix(parameter, "net/"+s.Family+"/conf/")
	if !ok {
		return "", false
	}
	element, name, ok := strings.Cut(rest, "/")
	matched, err := path.Match(name, s.Name) // the name may have wildcards too
	return element, ok && (err != nil || matched)
}
