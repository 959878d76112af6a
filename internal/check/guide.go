package check

import (
	"fmt"
	"slices"
	"strings"

	"github.com/strongroom/strongroom/internal/control"
)

// coverage folds the results of the controls into one for each item of the guide. A control of procedures is
// not counted beside one that looks at the host; its reason stays, because an auditor has to go and look.
func coverage(g control.Guide, results []ControlResult) []GuideResult {
	out := make([]GuideResult, 0, len(g.Items))
	for _, item := range g.Items {
		r := GuideResult{Item: item}
		var judged []control.Outcome
		var procedures, waiting []string
		for _, c := range results {
			if !slices.Contains(c.Control.Guide, item.ID) {
				continue
			}
			r.Controls = append(r.Controls, c.Control.ID)
			if c.Control.Procedural() && c.Outcome == control.NotApplicable {
				procedures = append(procedures, reasons(c)...)
				continue
			}
			judged = append(judged, c.Outcome)
			if c.Outcome == control.Pending {
				waiting = append(waiting, c.Control.ID)
			}
		}
		switch {
		case len(judged) > 0:
			r.Outcome = control.WorstOutcome(judged)
			if len(procedures) > 0 {
				procedures[0] = "not to be proven here: " + procedures[0]
			}
			if r.Outcome == control.Pass && len(waiting) > 0 {
				procedures = append(procedures, "not judged yet: "+strings.Join(waiting, ", "))
			}
		case len(procedures) > 0:
			r.Outcome = control.NotApplicable
		default:
			r.Outcome = control.Unknown
			procedures = append(procedures, fmt.Sprintf("no control of this profile serves %s", item.ID))
		}
		r.Reason = strings.Join(procedures, "; ")
		out = append(out, r)
	}
	return out
}

// reasons are what the observations of a procedure say.
func reasons(c ControlResult) []string {
	var out []string
	for _, o := range c.Observations {
		if o.Outcome == control.NotApplicable && o.Got != "" {
			out = append(out, o.Got)
		}
	}
	return out
}
