package resource

import (
	"context"
	"fmt"
	"path"
	"slices"
	"strings"

	"github.com/strongroom/strongroom/internal/control"
	"github.com/strongroom/strongroom/internal/host"
	"github.com/strongroom/strongroom/internal/overlay"
)

// Mounts is a rule for the mounts of a node, also for those that nobody has thought of. Points and Writable
// choose mounts; the rest says what must be true of each.
type Mounts struct {
	Name     string   `yaml:"name" json:"name"`                   // of the rule: "writable-known"
	Points   []string `yaml:"points" json:"points,omitempty"`     // mount points; each must be there. Empty: every mount
	Writable bool     `yaml:"writable" json:"writable,omitempty"` // those that can be written to, of the mounts above

	Only      []string `yaml:"only" json:"only,omitempty"`           // patterns (path.Match) of which the mount point matches one
	Options   []string `yaml:"options" json:"options,omitempty"`     // all in effect
	Except    []string `yaml:"except" json:"except,omitempty"`       // mount points of which the options are not asked
	Apart     bool     `yaml:"apart" json:"apart,omitempty"`         // no two on one device
	Encrypted bool     `yaml:"encrypted" json:"encrypted,omitempty"` // on a device that dm-crypt encrypts
}

func (m *Mounts) Key() control.Key { return control.Key{Kind: "mounts", Name: m.Name} }

func (m *Mounts) Validate() error {
	var r require
	r.that(groupName.MatchString(m.Name), "name %q is not a word in lower case", m.Name)
	for _, p := range slices.Concat(m.Points, m.Only, m.Except) {
		r.that(absolute(p), "path %q is not absolute and clean", p)
		_, err := path.Match(p, "")
		r.that(err == nil, "path %q is not a pattern", p)
	}
	for _, o := range m.Options {
		r.that(o != "" && !strings.ContainsAny(o, ", \n"), "option %q is not a single mount option", o)
	}
	r.that(len(m.Only) > 0 || len(m.Options) > 0 || m.Apart || m.Encrypted, "nothing is stated: only, options, apart or encrypted")
	r.that(len(m.Points) > 0 || m.Writable, "points or writable must choose mounts")
	r.that(len(m.Except) == 0 || len(m.Options) > 0, "except needs options")
	r.that(!(m.Apart || m.Encrypted) || len(m.Points) > 0, "apart and encrypted are about points")
	return r.err()
}

// Render has nothing to write: the mounts are those of other resources and of systemd.
func (m *Mounts) Render(control.Profile) ([]overlay.Fragment, error) { return nil, nil }

func (m *Mounts) Verify(_ context.Context, h host.Host, stage control.Stage) []control.Observation {
	if !stage.Runs() {
		return nil
	}
	o := effective(m.Key())
	const source = "/proc/1/mountinfo"
	all, err := h.Mounts()
	if err != nil {
		o.unknown(source, "readable", err)
		return o.out
	}
	chosen, absent := m.choose(all)
	if len(absent) > 0 {
		o.judge(source, strings.Join(m.Points, ", ")+" mounted", "not a mount point: "+strings.Join(absent, ", "), false)
	}
	if len(m.Only) > 0 {
		o.none(source, "nothing else than "+strings.Join(m.Only, ", "), strings.Join(pointsOf(chosen, func(mt host.Mount) bool {
			return !matchesAny(m.Only, mt.Point)
		}), ", "))
	}
	if len(m.Options) > 0 {
		o.none(source, strings.Join(m.Options, ",")+" on each", strings.Join(pointsOf(chosen, func(mt host.Mount) bool {
			return !slices.Contains(m.Except, mt.Point) && slices.ContainsFunc(m.Options, func(want string) bool { return !slices.Contains(mt.Options, want) })
		}), ", "))
	}
	if m.Apart {
		m.verifyApart(o, source, chosen)
	}
	if m.Encrypted {
		for _, mt := range chosen {
			o.mapped(h, mt, "CRYPT-LUKS", fmt.Sprintf("%s lies on %s in the clear", mt.Point, mt.Source))
		}
	}
	return o.out
}

// choose gives the mounts that the rule is about, and the points where nothing is mounted. Of several mounts
// on one point the last is the one that is seen; the others can come to light again, so a rule for all
// mounts is about them too.
func (m *Mounts) choose(all []host.Mount) (chosen []host.Mount, absent []string) {
	if len(m.Points) == 0 {
		return slices.DeleteFunc(slices.Clone(all), func(mt host.Mount) bool { return m.Writable && !slices.Contains(mt.Options, "rw") }), nil
	}
	for _, p := range m.Points {
		found := false
		for _, mt := range slices.Backward(all) {
			if mt.Point == p {
				found = true
				if !m.Writable || slices.Contains(mt.Options, "rw") {
					chosen = append(chosen, mt)
				}
				break
			}
		}
		if !found {
			absent = append(absent, p)
		}
	}
	return chosen, absent
}

func pointsOf(mounts []host.Mount, which func(host.Mount) bool) []string {
	var out []string
	for _, mt := range mounts {
		if which(mt) {
			out = append(out, mt.Point+" ("+strings.Join(mt.Options, ",")+")")
		}
	}
	return out
}

func (m *Mounts) verifyApart(o *observe, source string, chosen []host.Mount) {
	on := map[string][]string{}
	for _, mt := range chosen {
		on[mt.Device] = append(on[mt.Device], mt.Point)
	}
	var shared []string
	for _, mt := range chosen { // in the order of the mounts
		if points := on[mt.Device]; len(points) > 1 && points[0] == mt.Point {
			shared = append(shared, mt.Device+": "+strings.Join(points, " and "))
		}
	}
	o.none(source, "each on a device of its own", strings.Join(shared, ", "))
}
