package resource

import (
	"context"
	"fmt"
	"slices"
	"strings"

	"github.com/strongroom/strongroom/internal/control"
	"github.com/strongroom/strongroom/internal/host"
	"github.com/strongroom/strongroom/internal/overlay"
)

// Mount is a mount point with the options it must have. With What it is also rendered as a mount
// unit; without it the kernel, systemd or the verity generator mounts it and only the state is judged.
type Mount struct {
	Point   string   `yaml:"point" json:"point"`
	What    string   `yaml:"what" json:"what,omitempty"` // "/dev/disk/by-partlabel/vault"
	FSType  string   `yaml:"fstype" json:"fstype,omitempty"`
	Options []string `yaml:"options" json:"options,omitempty"` // must all be in effect
	// Verity asks that the block device is a dm-verity target, so that the kernel checks every read.
	Verity bool `yaml:"verity" json:"verity,omitempty"`
	// Bind renders a mount of a directory, What, of whatever file system it lies on. What need not be there before.
	Bind bool `yaml:"bind" json:"bind,omitempty"`
	// After names units that must have run first, such as the one that creates the file system.
	After []string `yaml:"after" json:"after,omitempty"`
	// Requires names units that make the device only after the system is up, such as the one that opens an encrypted partition. The
	// mount then needs them, and is no part of local-fs.target, which comes before.
	Requires []string `yaml:"requires" json:"requires,omitempty"`
	// Settings are options that are rendered but that the kernel does not show as they were
	// written (size=, mode=).
	Settings []string `yaml:"settings" json:"settings,omitempty"`
}

func (m *Mount) Key() control.Key { return control.Key{Kind: "mount", Name: m.Point} }

func (m *Mount) Validate() error {
	var r require
	r.that(absolute(m.Point), "point %q is not absolute and clean", m.Point)
	r.that(m.What == "" || m.Point != "/" && !strings.Contains(m.Point, "-"), "point %q cannot name a mount unit: a dash needs escaping", m.Point)
	r.that(!strings.ContainsAny(m.What+m.FSType, " \t\n"), "what %q or fstype %q has blanks", m.What, m.FSType)
	r.that(m.What == "" || (m.FSType != "") != m.Bind, "a mount that is rendered (what: %s) needs its fstype, or bind", m.What)
	r.that(!m.Bind || absolute(m.What), "bind needs the directory (what)")
	r.that(m.What != "" || len(m.After) == 0, "after needs what: nothing is rendered otherwise")
	r.that(m.What != "" || len(m.Settings) == 0, "settings need what: nothing is rendered otherwise")
	r.that(m.What != "" || len(m.Requires) == 0, "requires needs what: nothing is rendered otherwise")
	r.that(len(m.After) == 0 || len(m.Requires) == 0, "requires orders the mount as well: leave out after")
	for _, a := range m.After {
		r.that(unitName.MatchString(a), "after %q is not a unit name with its type", a)
	}
	for _, u := range m.Requires {
		r.that(unitName.MatchString(u), "requires %q is not a unit name with its type", u)
	}
	for _, o := range slices.Concat(m.Options, m.Settings) {
		r.that(o != "" && !strings.ContainsAny(o, ", \n"), "option %q is not a single mount option", o)
	}
	r.that(len(m.Options) > 0 || m.Verity || m.FSType != "", "nothing is stated about %s", m.Point)
	return r.err()
}

// unit is the systemd name of the mount point; the points of the catalogue need no escaping but
// the separator.
func (m *Mount) unit() string {
	return strings.ReplaceAll(strings.Trim(m.Point, "/"), "/", "-") + ".mount"
}

func (m *Mount) Render(control.Profile) ([]overlay.Fragment, error) {
	if m.What == "" {
		return nil, nil
	}
	var b strings.Builder
	wants := "local-fs.target.requires/"
	fmt.Fprintf(&b, "[Unit]\nDescription=%s of the node\n", m.Point)
	if len(m.Requires) > 0 {
		wants = "multi-user.target.wants/"
		b.WriteString("DefaultDependencies=no\nConflicts=umount.target\nBefore=umount.target\n")
	} else {
		b.WriteString("Before=local-fs.target\n")
	}
	for _, a := range m.After {
		fmt.Fprintf(&b, "After=%s\n", a)
	}
	for _, u := range m.Requires {
		fmt.Fprintf(&b, "Requires=%s\nAfter=%s\n", u, u)
	}
	fstype, options := m.FSType, slices.Concat(m.Options, m.Settings)
	if m.Bind {
		fstype, options = "none", append([]string{"bind"}, options...)
	}
	fmt.Fprintf(&b, "\n[Mount]\nWhat=%s\nWhere=%s\nType=%s\nOptions=%s\n", m.What, m.Point, fstype, strings.Join(options, ","))
	return []overlay.Fragment{
		overlay.File("/usr/lib/systemd/system/"+m.unit(), b.String()),
		overlay.Symlink("/usr/lib/systemd/system/"+wants+m.unit(), "../"+m.unit()),
	}, nil
}

func (m *Mount) Verify(_ context.Context, h host.Host, stage control.Stage) []control.Observation {
	if !stage.Runs() {
		return nil
	}
	o := effective(m.Key())
	const source = "/proc/self/mountinfo"
	mounts, err := h.Mounts()
	if err != nil {
		o.unknown(source, m.Point+" mounted", err)
		return o.out
	}
	var found *host.Mount
	for i := range mounts { // the last one on a point is the one that is seen
		if mounts[i].Point == m.Point {
			found = &mounts[i]
		}
	}
	if found == nil {
		o.judge(source, m.Point+" mounted", "not a mount point", false)
		return o.out
	}
	if m.FSType != "" {
		o.equal(source+" "+m.Point+" type", m.FSType, found.FSType)
	}
	if len(m.Options) > 0 {
		missing := slices.DeleteFunc(slices.Clone(m.Options), func(want string) bool { return slices.Contains(found.Options, want) })
		o.judge(source+" "+m.Point+" options", strings.Join(m.Options, ","), strings.Join(found.Options, ","), len(missing) == 0)
	}
	if m.Verity {
		o.mapped(h, *found, "CRYPT-VERITY-", "not a device-mapper device: "+found.Source)
	}
	return o.out
}
