package baseline

import (
	"cmp"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/strongroom/strongroom/internal/control"
	"github.com/strongroom/strongroom/internal/distribution"
	"github.com/strongroom/strongroom/internal/server"
)

// Known values of a profile's fields. A value that is not here would select nothing by mistake.
var (
	Servers   = server.IDs()
	Platforms = []string{"cloud", "vm", "metal"}
	Layouts   = distribution.Layouts
)

// Distributions are those that a layout can stand on, its default first.
func Distributions(layout string) []string { return distribution.IDs(layout) }

// Baseline is the statement of one profile: the controls that apply, every value resolved.
type Baseline struct {
	Profile  control.Profile
	Guide    control.Guide // without items in a baseline that was made before there were any
	Controls []control.Control
	Waivers  []control.Waiver // by control
	static   []staticFile
}

// Compile selects and resolves the controls of a profile. Parameters that the profile leaves out
// take their defaults. The result depends on nothing but the catalogue and the profile.
func (c *Catalogue) Compile(p control.Profile) (*Baseline, error) {
	resolved, err := c.resolve(p)
	if err != nil {
		return nil, err
	}
	words, err := c.wordsOf(resolved)
	if err != nil {
		return nil, err
	}
	b := &Baseline{Profile: resolved, Guide: c.Guide}
	keys := map[control.Key]statement{}
	for _, e := range c.entries {
		if !e.applies(resolved) {
			continue
		}
		ctl, err := e.control(words)
		if err != nil {
			return nil, fmt.Errorf("%s: control %q: %w", place(e.file, e.line), e.id, err)
		}
		for _, r := range e.resources {
			if !selects(r.when, resolved) {
				continue
			}
			n := r.node
			res, err := decodeResource(n, words)
			if err != nil {
				return nil, inFile(e.file, err)
			}
			if other, taken := keys[res.Key()]; taken {
				return nil, fmt.Errorf("%s: controls %s and %s %w, %s (the other at %s)", place(e.file, n.Line), other.control, e.id, ErrStatedTwice, res.Key(), other.place)
			}
			keys[res.Key()] = statement{e.id, place(e.file, n.Line)}
			ctl.Resources = append(ctl.Resources, res)
		}
		if len(ctl.Resources) == 0 {
			return nil, fmt.Errorf("%s: control %q: none of its resources is for this profile: restrict the control itself (when)", place(e.file, e.line), e.id)
		}
		b.Controls = append(b.Controls, ctl)
	}
	slices.SortFunc(b.Controls, func(a, z control.Control) int {
		return cmp.Or(strings.Compare(a.Family, z.Family), strings.Compare(a.ID, z.ID))
	})
	b.static, err = readStatic(c.units, resolved)
	if err != nil {
		return nil, err
	}
	return b, nil
}

// ErrStatedTwice says that two controls are about one thing; at most one of them could hold.
var ErrStatedTwice = errors.New("both state the same")

// statement says who states a resource, and where.
type statement struct{ control, place string }

// control is the entry with its texts filled in, without resources.
func (e entry) control(w words) (control.Control, error) {
	var errs []error
	text := func(s string) string {
		filled, err := w.fill(s)
		errs = append(errs, err)
		return filled
	}
	c := control.Control{
		ID: e.id, Family: e.family, Title: text(e.title), Severity: e.severity, Stage: e.stage,
		Guide: e.guide, Refs: e.refs, Rationale: text(e.rationale), Fix: text(e.fix),
	}
	return c, errors.Join(errs...)
}

func (c *Catalogue) resolve(p control.Profile) (control.Profile, error) {
	var errs []error
	one := func(field, value string, known []string) {
		if !slices.Contains(known, value) {
			errs = append(errs, fmt.Errorf("%s %q is not one of %s", field, value, strings.Join(known, ", ")))
		}
	}
	one("server", p.Server, Servers)
	one("platform", p.Platform, Platforms)
	_, err := distribution.Find(p.Layout, p.Distribution)
	errs = append(errs, err)

	values := map[string]string{}
	declared := map[string]bool{}
	for _, param := range c.Parameters {
		declared[param.Name] = true
		values[param.Name] = param.canonical(param.Default)
		if v, ok := p.Parameters[param.Name]; ok {
			values[param.Name] = param.canonical(v)
			if err := param.checkFor(p, v); err != nil {
				errs = append(errs, err)
			}
		}
	}
	errs = append(errs, portsApart(c.Parameters, values))
	for _, name := range slices.Sorted(maps.Keys(p.Parameters)) {
		if !declared[name] {
			errs = append(errs, fmt.Errorf("unknown parameter %q (known: %s)", name, strings.Join(slices.Sorted(maps.Keys(declared)), ", ")))
		}
	}
	p.Parameters = values
	return p, errors.Join(errs...)
}

func (e entry) applies(p control.Profile) bool { return selects(e.when, p) }

// selects reports whether a profile has one of the values that are named for each of its fields and parameters.
func selects(when map[string][]string, p control.Profile) bool {
	for name, allowed := range when {
		value := p.Parameters[name]
		switch name {
		case "server":
			value = p.Server
		case "platform":
			value = p.Platform
		case "layout":
			value = p.Layout
		case "distribution":
			value = p.Distribution
		case "family":
			value = string(distribution.FamilyOf(p.Distribution))
		}
		if !slices.Contains(allowed, value) {
			return false
		}
	}
	return true
}

// Find gives a control by its id.
func (b *Baseline) Find(id string) (control.Control, bool) {
	for _, c := range b.Controls {
		if c.ID == id {
			return c, true
		}
	}
	return control.Control{}, false
}
