package resource

import (
	"context"
	"fmt"
	"regexp"
	"strings"

	"github.com/strongroom/strongroom/internal/control"
	"github.com/strongroom/strongroom/internal/host"
	"github.com/strongroom/strongroom/internal/overlay"
)

// UnitState is whether a systemd unit runs, or cannot.
type UnitState struct {
	Name  string `yaml:"name" json:"name"`
	State string `yaml:"state" json:"state"` // "active" or "masked"
	// WantedBy is the target (or unit) that pulls an active unit in; without it something else does.
	WantedBy string `yaml:"wanted_by" json:"wanted_by,omitempty"`
}

var unitName = regexp.MustCompile(`^[A-Za-z0-9:_.\\-]+@?[A-Za-z0-9:_.\\-]*\.(service|socket|target|timer|mount|automount|path|swap|slice)$`)

func (u *UnitState) Key() control.Key { return control.Key{Kind: "unit_state", Name: u.Name} }

func (u *UnitState) Validate() error {
	var r require
	r.that(unitName.MatchString(u.Name), "name %q is not a unit name with its type", u.Name)
	r.that(u.State == "active" || u.State == "masked", "state %q is neither active nor masked", u.State)
	r.that(u.WantedBy == "" || u.State == "active" && unitName.MatchString(u.WantedBy), "wanted_by %q does not fit", u.WantedBy)
	return r.err()
}

func (u *UnitState) Render(control.Profile) ([]overlay.Fragment, error) {
	if u.State == "masked" {
		return []overlay.Fragment{overlay.Symlink("/etc/systemd/system/"+u.Name, "/dev/null")}, nil
	}
	if u.WantedBy == "" {
		return nil, nil
	}
	return []overlay.Fragment{
		overlay.Symlink("/etc/systemd/system/"+u.WantedBy+".wants/"+u.Name, "/usr/lib/systemd/system/"+u.Name),
	}, nil
}

func (u *UnitState) Verify(ctx context.Context, h host.Host, stage control.Stage) []control.Observation {
	if !stage.Runs() {
		return nil
	}
	o := effective(u.Key())
	// A template has no state of its own; systemd tells of a mask through any instance.
	name := strings.Replace(u.Name, "@.", "@strongroom.", 1)
	source := "org.freedesktop.systemd1 " + name
	unit, err := h.UnitStatus(ctx, name)
	if err != nil {
		o.unknown(source, u.State, err)
		return o.out
	}
	got := fmt.Sprintf("%s, %s", unit.LoadState, unit.ActiveState)
	if u.State == "masked" {
		// A unit that is not there at all cannot start either.
		ok := (unit.LoadState == "masked" || unit.LoadState == "not-found") && unit.ActiveState == "inactive"
		o.judge(source, "masked, inactive", got, ok)
		return o.out
	}
	o.judge(source, "loaded, active", got, unit.LoadState == "loaded" && unit.ActiveState == "active")
	return o.out
}
