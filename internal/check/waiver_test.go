package check_test

import (
	"errors"
	"slices"
	"testing"
	"time"

	"github.com/strongroom/strongroom/internal/check"
	"github.com/strongroom/strongroom/internal/check/checktest"
	"github.com/strongroom/strongroom/internal/control"
	"github.com/strongroom/strongroom/internal/host"
	"github.com/strongroom/strongroom/internal/host/hosttest"
)

const waived = "memory-swap-off"

// runWaived judges a host one hour before its waiver lapses, or at another distance from that moment.
func runWaived(t *testing.T, break_ func(*hosttest.Host), sinceExpiry time.Duration) (*check.Report, check.ControlResult) {
	t.Helper()
	b := checktest.Compile(t, checktest.Profile())
	expires := time.Date(2027, 1, 31, 0, 0, 0, 0, time.UTC)
	b.Waivers = []control.Waiver{{Control: waived, Reason: "a migration", Owner: "operations", Expires: expires}}
	h := checktest.Node(t, b)
	break_(h)
	r := check.Run(t.Context(), b, "digest", h, control.StageBoot, check.Options{Now: func() time.Time { return expires.Add(sinceExpiry) }})
	i := slices.IndexFunc(r.Controls, func(c check.ControlResult) bool { return c.Control.ID == waived })
	if r.Controls[i].Waiver == nil || r.Controls[i].Waiver.Owner != "operations" {
		t.Errorf("the report does not show the waiver: %+v", r.Controls[i].Waiver)
	}
	for j, c := range r.Controls {
		if j != i && c.Waiver != nil {
			t.Errorf("%s has the waiver of %s", c.Control.ID, waived)
		}
	}
	return r, r.Controls[i]
}

func swaps(h *hosttest.Host) { h.SetSwaps(host.Swap{Device: "/dev/vda9", Type: "partition"}) }

func TestAWaiverCoversAFailure(t *testing.T) {
	r, c := runWaived(t, swaps, -time.Nanosecond)
	if c.Outcome != control.Waived || r.Verdict != check.Pass {
		t.Errorf("outcome %s, verdict %s", c.Outcome, r.Verdict)
	}
	if !slices.ContainsFunc(c.Observations, func(o control.Observation) bool { return o.Outcome == control.Waived && o.Got != "" }) {
		t.Errorf("no observation says what is waived: %+v", c.Observations)
	}
	for _, o := range c.Observations {
		if o.Outcome == control.Fail {
			t.Errorf("an observation still fails: %+v", o)
		}
	}
}

// From its moment on a waiver covers nothing: the failure is a failure again.
func TestAnExpiredWaiverCoversNothing(t *testing.T) {
	for _, since := range []time.Duration{0, time.Second, 1000 * time.Hour} {
		if r, c := runWaived(t, swaps, since); c.Outcome != control.Fail || r.Verdict != check.Fail {
			t.Errorf("%s after: outcome %s, verdict %s", since, c.Outcome, r.Verdict)
		}
	}
}

// Nobody can have decided to live with what nobody has seen.
func TestAWaiverNeverCoversAnUnknown(t *testing.T) {
	r, c := runWaived(t, func(h *hosttest.Host) { h.FailFact("Swaps", errors.New("permission denied")) }, -time.Hour)
	if c.Outcome != control.Unknown || r.Verdict != check.Unknown {
		t.Errorf("outcome %s, verdict %s", c.Outcome, r.Verdict)
	}
	// A failure beside the unknown must not hide it.
	r, c = runWaived(t, func(h *hosttest.Host) {
		moreUnits(t, h.FailFact("Swaps", errors.New("permission denied")), host.UnitStatus{Name: "dev-vda6.swap", LoadState: "loaded", ActiveState: "inactive"})
	}, -time.Hour)
	if c.Outcome != control.Unknown || r.Verdict != check.Unknown {
		t.Errorf("with a failure beside it: outcome %s, verdict %s", c.Outcome, r.Verdict)
	}
}

func TestAWaiverLeavesAPassAlone(t *testing.T) {
	if r, c := runWaived(t, func(*hosttest.Host) {}, -time.Hour); c.Outcome != control.Pass || r.Verdict != check.Pass {
		t.Errorf("outcome %s, verdict %s", c.Outcome, r.Verdict)
	}
}
