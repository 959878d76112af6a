package check_test

import (
	"slices"
	"strings"
	"testing"

	"github.com/strongroom/strongroom/internal/check"
	"github.com/strongroom/strongroom/internal/check/checktest"
	"github.com/strongroom/strongroom/internal/control"
	"github.com/strongroom/strongroom/internal/host"
)

func item(t *testing.T, r *check.Report, id string) check.GuideResult {
	t.Helper()
	i := slices.IndexFunc(r.Guide, func(g check.GuideResult) bool { return g.Item.ID == id })
	if i < 0 {
		t.Fatalf("the report has no item %s", id)
	}
	return r.Guide[i]
}

func TestEveryItemOfTheGuideIsReported(t *testing.T) {
	b := checktest.Compile(t, checktest.Profile())
	r := run(t, b, checktest.Node(t, b), control.StageRun)
	if len(r.Guide) != 36 {
		t.Errorf("%d items", len(r.Guide))
	}
	for i, g := range r.Guide {
		if g.Item != b.Guide.Items[i] {
			t.Errorf("item %d is %+v, want %+v", i, g.Item, b.Guide.Items[i])
		}
		for _, id := range g.Controls {
			if c, ok := b.Find(id); !ok || !slices.Contains(c.Guide, g.Item.ID) {
				t.Errorf("%s lists %s, which does not cite it", g.Item.ID, id)
			}
		}
	}
	if swap := item(t, r, "B4"); swap.Outcome != control.Pass || swap.Reason != "" || !slices.Contains(swap.Controls, "memory-swap-off") {
		t.Errorf("%+v", swap)
	}
}

// One failure is the item's outcome, whatever else passes.
func TestAnItemIsAsGoodAsItsWorstControl(t *testing.T) {
	b := checktest.Compile(t, checktest.Profile())
	r := run(t, b, checktest.Node(t, b).SetSwaps(host.Swap{Device: "/dev/vda9"}), control.StageRun)
	if g := item(t, r, "B4"); g.Outcome != control.Fail {
		t.Errorf("B4 is %s", g.Outcome)
	}
	if g := item(t, r, "B5"); g.Outcome != control.Pass {
		t.Errorf("B5 is %s", g.Outcome)
	}
}

// What no host can prove is never a pass, and says what somebody has to do.
func TestAProcedureIsNotApplicableWithItsReason(t *testing.T) {
	b := checktest.Compile(t, checktest.Profile())
	for _, stage := range []control.Stage{control.StageImage, control.StageBoot, control.StageRun, control.StageMember} {
		r := run(t, b, checktest.Node(t, b), stage)
		if g := item(t, r, "B22"); g.Outcome != control.NotApplicable || !strings.Contains(g.Reason, "evidence is") || len(g.Controls) != 1 {
			t.Errorf("stage %s: %+v", stage, g)
		}
		for _, c := range r.Controls {
			if c.Control.Procedural() && c.Outcome != control.NotApplicable {
				t.Errorf("stage %s: %s is %s", stage, c.Control.ID, c.Outcome)
			}
		}
	}
}

// Beside controls that look at the host a procedure does not decide, and its reason is not lost.
func TestAProcedureBesideFactsIsTold(t *testing.T) {
	b := checktest.Compile(t, checktest.Profile())
	r := run(t, b, checktest.Node(t, b), control.StageRun)
	if g := item(t, r, "B7"); g.Outcome != control.Pass || !strings.HasPrefix(g.Reason, "not to be proven here: restrict security groups") {
		t.Errorf("%+v", g)
	}
}

func TestWhatIsNotJudgedYetIsTold(t *testing.T) {
	b := checktest.Compile(t, checktest.Profile())
	r := run(t, b, checktest.Tree(t, b), control.StageImage)
	// Of the controls of B6 some are rendered files, which a tree shows, and some are facts of a running kernel only.
	g := item(t, r, "B6")
	if g.Outcome != control.Pass || !strings.HasPrefix(g.Reason, "not judged yet: ") || !strings.Contains(g.Reason, "network-listeners-exact") {
		t.Errorf("%+v", g)
	}
}

// A profile in which nothing serves an item must not look as if it had been proven.
func TestAnItemWithoutControlsIsUnknown(t *testing.T) {
	b := checktest.Compile(t, checktest.Profile())
	b.Controls = slices.DeleteFunc(b.Controls, func(c control.Control) bool { return slices.Contains(c.Guide, "B14") })
	r := run(t, b, checktest.Node(t, b), control.StageRun)
	if g := item(t, r, "B14"); g.Outcome != control.Unknown || !strings.Contains(g.Reason, "no control") {
		t.Errorf("%+v", g)
	}
}
