package resource

import (
	"context"
	"regexp"
	"strings"

	"github.com/strongroom/strongroom/internal/control"
	"github.com/strongroom/strongroom/internal/host"
	"github.com/strongroom/strongroom/internal/overlay"
)

// Procedure is what the guide asks of people or of other machines, and no host can prove. It is never judged:
// a report lists it as not applicable, with the reason. A control that states one states nothing else.
type Procedure struct {
	Name   string `yaml:"name" json:"name"`     // unique: off-boarding
	Reason string `yaml:"reason" json:"reason"` // what to do, and where the evidence lies
}

var procedureName = regexp.MustCompile(`^[a-z][a-z0-9]*(-[a-z0-9]+)*$`)

func (p *Procedure) Key() control.Key { return control.Key{Kind: control.KindProcedure, Name: p.Name} }

func (p *Procedure) Validate() error {
	var r require
	r.that(procedureName.MatchString(p.Name), "name %q is not of lower-case words joined by hyphens", p.Name)
	r.that(strings.TrimSpace(p.Reason) != "", "no reason: say what to do, and where the evidence lies")
	return r.err()
}

// Render has nothing to add.
func (p *Procedure) Render(control.Profile) ([]overlay.Fragment, error) { return nil, nil }

func (p *Procedure) Verify(context.Context, host.Host, control.Stage) []control.Observation {
	o := onDisk(p.Key()) // of neither layer, and of both: nothing is looked at
	o.add("no host can show it", "a procedure", p.Reason, control.NotApplicable, nil)
	return o.out
}
