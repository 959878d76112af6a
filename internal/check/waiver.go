package check

import (
	"time"

	"github.com/strongroom/strongroom/internal/control"
)

// waive turns what failed into waived, as long as the waiver holds. What could not be looked at stays unknown:
// nobody has decided to live with a fact that nobody has seen. The time is this machine's, which at stage boot no
// time server may have corrected yet; the agent judges again.
func waive(obs []control.Observation, w *control.Waiver, now time.Time) {
	if w == nil || !w.Covers(now) {
		return
	}
	for i := range obs {
		if obs[i].Outcome == control.Fail {
			obs[i].Outcome = control.Waived
		}
	}
}
