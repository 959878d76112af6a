package resource

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"regexp"
	"strings"

	"github.com/strongroom/strongroom/internal/control"
	"github.com/strongroom/strongroom/internal/host"
	"github.com/strongroom/strongroom/internal/overlay"
)

// Units states which units may do something on this host: services, sockets, timers, paths, automounts and scopes in
// any state but inactive. Mounts, swap and devices have kinds of their own; slices and targets do nothing. There is one
// per baseline, since an exact list has only one place.
type Units struct {
	// Allow lists names, and templates ("systemd-fsck@.service"), which allow every instance.
	Allow []string `yaml:"allow" json:"allow"`
}

var (
	actorName  = regexp.MustCompile(`^[A-Za-z0-9:_.\\@-]+\.(service|socket|timer|path|automount|scope)$`)
	actingUnit = regexp.MustCompile(`\.(service|socket|timer|path|automount|scope)$`)
)

func (u *Units) Key() control.Key { return control.Key{Kind: "units", Name: "exact"} }

func (u *Units) Validate() error {
	var r require
	r.that(len(u.Allow) > 0, "no unit is allowed")
	for _, name := range u.Allow {
		r.that(actorName.MatchString(name), "%q is not a service, socket, timer, path, automount or scope", name)
	}
	return r.err()
}

func (u *Units) Render(control.Profile) ([]overlay.Fragment, error) { return nil, nil }

func (u *Units) Verify(ctx context.Context, h host.Host, stage control.Stage) []control.Observation {
	if !stage.Runs() {
		return nil
	}
	o := effective(u.Key())
	const source, want = "org.freedesktop.systemd1 ListUnits", "no unit outside the list"
	units, err := h.Units(ctx)
	if err != nil {
		o.unknown(source, want, err)
		return o.out
	}
	allowed := map[string]bool{}
	for _, name := range u.Allow {
		allowed[name] = true
	}
	var others []string
	for _, unit := range units {
		if unit.ActiveState != "inactive" && actingUnit.MatchString(unit.Name) && !allowed[unit.Name] && !allowed[template(unit.Name)] {
			others = append(others, unit.Name+" ("+unit.ActiveState+")")
		}
	}
	o.judge(source, want, named(others, "none"), len(others) == 0)
	return o.out
}

// template turns "systemd-fsck@dev-vda.service" into "systemd-fsck@.service".
func template(name string) string {
	at, dot := strings.Index(name, "@"), strings.LastIndex(name, ".")
	if at < 0 || dot < at {
		return ""
	}
	return name[:at+1] + name[dot:]
}

// Processes states that every process of user space belongs to a unit that systemd has loaded: none was started by
// a person, and none has left its unit. Which units those may be is the statement of Units.
type Processes struct{}

func (p *Processes) Key() control.Key { return control.Key{Kind: "processes", Name: "owned"} }

func (p *Processes) Validate() error { return nil }

func (p *Processes) Render(control.Profile) ([]overlay.Fragment, error) { return nil, nil }

func (p *Processes) Verify(ctx context.Context, h host.Host, stage control.Stage) []control.Observation {
	if !stage.Runs() {
		return nil
	}
	o := effective(p.Key())
	const source, want = "/proc/*/cgroup", "every process in a unit that systemd has loaded"
	processes, err := h.Processes()
	if err != nil {
		o.unknown(source, want, err)
		return o.out
	}
	units, err := h.Units(ctx)
	if err != nil {
		o.unknown("org.freedesktop.systemd1 ListUnits", want, err)
		return o.out
	}
	loaded := map[string]bool{}
	for _, u := range units {
		loaded[u.Name] = u.LoadState == "loaded"
	}
	var strays []string
	for _, proc := range processes {
		if proc.ControlGroup == "" {
			o.unknown(fmt.Sprintf("/proc/%d", proc.PID), want, errors.New(cmp.Or(proc.Unreadable, "no control group was read")))
			continue
		}
		if !owned(proc, loaded) {
			strays = append(strays, fmt.Sprintf("%s (process %d, uid %d, control group %s)", proc.Name, proc.PID, proc.UID, proc.ControlGroup))
		}
	}
	got := fmt.Sprintf("%d processes in units", len(processes))
	o.judge(source, want, named(strays, got), len(strays) == 0)
	return o.out
}

func owned(p host.ProcessSummary, loaded map[string]bool) bool {
	const kthreadd = 2
	switch unit := unitOf(p.ControlGroup); {
	case unit == "init.scope":
		// Besides PID 1 its children on the way to their unit, which systemd names "(vault)".
		return p.PID == 1 || p.Parent == 1 && (p.Name == "systemd" || strings.HasPrefix(p.Name, "(") || strings.HasPrefix(p.Name, "sd-"))
	case unit != "":
		return loaded[unit] && strings.HasPrefix(p.ControlGroup, "/system.slice/")
	default:
		// The kernel's own helpers (modprobe, a pipe of core_pattern) are children of kthreadd in no unit. Nothing else can
		// have that parent: an orphan goes to PID 1.
		return p.ControlGroup == "/" && p.Parent == kthreadd
	}
}
