package resource

import (
	"context"
	"fmt"
	"maps"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"github.com/strongroom/strongroom/internal/control"
	"github.com/strongroom/strongroom/internal/host"
	"github.com/strongroom/strongroom/internal/overlay"
)

// UnitProperty states settings of one section of a unit. It is rendered as a drop-in and verified
// against what systemd has loaded, so that another drop-in that undoes it is seen.
type UnitProperty struct {
	Unit       string            `yaml:"unit" json:"unit"`
	Name       string            `yaml:"name" json:"name"`       // of the drop-in: "sandbox"
	Section    string            `yaml:"section" json:"section"` // "Unit", "Service", "Socket"
	Properties map[string]string `yaml:"properties" json:"properties"`
}

// slugName is the name of one statement among several about the same object.
var (
	slugName      = regexp.MustCompile(`^[a-z][a-z0-9-]*$`)
	settingOfUnit = regexp.MustCompile(`^[A-Z][A-Za-z]+$`)
)

func (u *UnitProperty) Key() control.Key {
	return control.Key{Kind: "unit_property", Name: u.Unit + "/" + u.Name}
}

func (u *UnitProperty) Validate() error {
	var r require
	r.that(unitName.MatchString(u.Unit), "unit %q is not a unit name with its type", u.Unit)
	r.that(slugName.MatchString(u.Name), "name %q is not a slug", u.Name)
	r.that(slices.Contains([]string{"Unit", "Service", "Socket", "Mount"}, u.Section), "section %q is not Unit, Service, Socket or Mount", u.Section)
	r.that(len(u.Properties) > 0, "no properties")
	for k, v := range u.Properties {
		r.that(settingOfUnit.MatchString(k), "property %q is not a systemd setting", k)
		r.that(!strings.Contains(v, "\n"), "property %s has more than one line", k)
	}
	return r.err()
}

func (u *UnitProperty) Render(control.Profile) ([]overlay.Fragment, error) {
	var b strings.Builder
	fmt.Fprintf(&b, "[%s]\n", u.Section)
	for _, k := range slices.Sorted(maps.Keys(u.Properties)) {
		fmt.Fprintf(&b, "%s=%s\n", k, u.Properties[k])
	}
	return []overlay.Fragment{overlay.File("/usr/lib/systemd/system/"+u.Unit+".d/50-"+u.Name+".conf", b.String())}, nil
}

func (u *UnitProperty) Verify(ctx context.Context, h host.Host, stage control.Stage) []control.Observation {
	if !stage.Runs() {
		return nil
	}
	o := effective(u.Key())
	unit, err := h.Unit(ctx, u.Unit)
	for _, k := range slices.Sorted(maps.Keys(u.Properties)) {
		want := u.Properties[k]
		source := "org.freedesktop.systemd1 " + u.Unit + " " + k
		if err != nil {
			o.unknown(source, want, err)
			continue
		}
		if unit.LoadState != "loaded" {
			o.judge(source, want, "unit "+unit.LoadState, false)
			continue
		}
		got, ok := unit.Properties[k]
		if !ok {
			// systemd of this version has no such property: it cannot be judged, and what
			// cannot be judged does not pass.
			o.unknown(source, want, fmt.Errorf("this systemd shows no property %s", k))
			continue
		}
		same := sameProperty(k, want, got)
		if k == "SystemCallFilter" && same {
			// Hundreds of names, which a reader needs only when one of them is wrong.
			got = fmt.Sprintf("%d system calls, none of those excluded", len(strings.Fields(got)))
		}
		o.judge(source, want, got, same)
	}
	return o.out
}

// sameProperty compares a setting as unit files write it with its canonical text on the bus (see
// host.Unit).
func sameProperty(name, want, got string) bool {
	switch name {
	case "Requires", "Wants", "After", "Before", "RequiredBy", "ReadOnlyPaths", "InaccessiblePaths", "NoExecPaths":
		// systemd adds default dependencies by itself, and more paths that are closed take nothing away.
		have := strings.Fields(got)
		return !slices.ContainsFunc(strings.Fields(want), func(w string) bool { return !slices.Contains(have, w) })
	case "ReadWritePaths", "ExecPaths", "SystemCallArchitectures", "RestrictAddressFamilies":
		return sameWords(want, got) // one more would be an opening
	case "CapabilityBoundingSet", "AmbientCapabilities":
		return sameWords(strings.ToLower(want), got)
	case "IPAddressAllow", "IPAddressDeny":
		return sameWords(anyAddress.Replace(want), anyAddress.Replace(got))
	case "SystemCallFilter":
		return sameSystemCallFilter(want, got)
	case "UMask":
		w, err := strconv.ParseUint(want, 8, 32)
		g, gotErr := strconv.ParseUint(got, 8, 32)
		return err == nil && gotErr == nil && w == g
	}
	return boolean(want) == got
}

// anyAddress writes the word of unit files as the ranges that systemd makes of it.
var anyAddress = strings.NewReplacer("any", "0.0.0.0/0 ::/0")

// boolean folds the spellings that unit files allow. Digits are left alone: they are numbers as well.
func boolean(v string) string {
	switch v {
	case "true", "on":
		return "yes"
	case "false", "off":
		return "no"
	}
	return v
}

// sameWords compares lists without order. A list that denies has "~" in front of all of it.
func sameWords(a, b string) bool {
	as, aDenies := strings.CutPrefix(a, "~")
	bs, bDenies := strings.CutPrefix(b, "~")
	return aDenies == bDenies && slices.Equal(sortedWords(as), sortedWords(bs))
}

func sortedWords(s string) []string {
	list := strings.Fields(s)
	slices.Sort(list)
	return slices.Compact(list)
}
