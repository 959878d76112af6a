package check_test

import (
	"testing"

	"github.com/strongroom/strongroom/internal/check/checktest"
	"github.com/strongroom/strongroom/internal/control"
)

// The report of a stage carries what every earlier stage found out, judged again: one document is the whole
// story of a node. Only what was still to come may be missing.
func TestLaterStagesKeepEarlierFacts(t *testing.T) {
	type fact struct {
		control, resource string
		layer             control.Layer
		source            string
	}
	for name, p := range profiles() {
		t.Run(name, func(t *testing.T) {
			b := checktest.Compile(t, p)
			node := checktest.Node(t, b)
			facts := func(stage control.Stage) map[fact]bool {
				seen := map[fact]bool{}
				r := run(t, b, node, stage)
				if len(r.Controls) != len(b.Controls) {
					t.Errorf("stage %s lists %d of %d controls", stage, len(r.Controls), len(b.Controls))
				}
				for _, c := range r.Controls {
					for _, o := range c.Observations {
						if o.Outcome != control.Pending {
							seen[fact{c.Control.ID, o.Resource.String(), o.Layer, o.Source}] = true
						}
					}
				}
				return seen
			}
			earlier := facts(control.StageBoot)
			for _, stage := range []control.Stage{control.StageRun, control.StageMember} {
				later := facts(stage)
				for f := range earlier {
					if !later[f] {
						t.Errorf("stage %s says nothing about %+v", stage, f)
					}
				}
				if len(later) < len(earlier) {
					t.Errorf("stage %s has %d facts, the one before it %d", stage, len(later), len(earlier))
				}
				earlier = later
			}
		})
	}
}
