package resource_test

import (
	"strings"
	"testing"

	"github.com/strongroom/strongroom/internal/control"
	"github.com/strongroom/strongroom/internal/host/hosttest"
	"github.com/strongroom/strongroom/internal/resource"
)

func TestProcedureIsNeverJudged(t *testing.T) {
	p := &resource.Procedure{Name: "off-boarding", Reason: "Talk to people."}
	for _, stage := range []control.Stage{control.StageImage, control.StageBoot, control.StageRun, control.StageMember} {
		obs := p.Verify(t.Context(), hosttest.New(), stage)
		if len(obs) != 1 || obs[0].Outcome != control.NotApplicable || obs[0].Got != p.Reason {
			t.Errorf("stage %s: %+v", stage, obs)
		}
	}
	if fragments, err := p.Render(control.Profile{}); len(fragments) != 0 || err != nil {
		t.Errorf("renders %v, %v", fragments, err)
	}
	for says, bad := range map[string]*resource.Procedure{"lower-case words": {Name: "Off boarding", Reason: "r"}, "no reason": {Name: "off-boarding", Reason: " "}} {
		if err := bad.Validate(); err == nil || !strings.Contains(err.Error(), says) {
			t.Errorf("%+v: %v", bad, err)
		}
	}
}
