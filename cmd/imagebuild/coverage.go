package main

import (
	"slices"
	"strings"

	"github.com/strongroom/strongroom/internal/control"
)

// What becomes of an item of the guide.
const (
	proven       = "proven on the node"
	provenInPart = "proven on the node; the rest is a procedure"
	byProcedure  = "procedure: no host can prove it"
	uncovered    = "not in this profile"
)

// itemCoverage is an item of the guide with the controls that serve it.
type itemCoverage struct {
	control.GuideItem
	controls []control.Control
}

func cover(g control.Guide, controls []control.Control) []itemCoverage {
	out := make([]itemCoverage, len(g.Items))
	for i, item := range g.Items {
		out[i].GuideItem = item
		for _, c := range controls {
			if slices.Contains(c.Guide, item.ID) {
				out[i].controls = append(out[i].controls, c)
			}
		}
	}
	return out
}

func (i itemCoverage) class() string {
	procedures := 0
	for _, c := range i.controls {
		if c.Procedural() {
			procedures++
		}
	}
	switch {
	case len(i.controls) == 0:
		return uncovered
	case procedures == len(i.controls):
		return byProcedure
	case procedures > 0:
		return provenInPart
	}
	return proven
}

// stages are those at which the item is judged for the first time, in order.
func (i itemCoverage) stages() string {
	var stages []control.Stage
	for _, c := range i.controls {
		if !c.Procedural() {
			stages = append(stages, c.Stage)
		}
	}
	slices.Sort(stages)
	var names []string
	for _, s := range slices.Compact(stages) {
		names = append(names, s.String())
	}
	if len(names) == 0 {
		return "–"
	}
	return strings.Join(names, ", ")
}
