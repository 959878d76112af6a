package telemetry_test

import (
	"strings"
	"testing"

	"github.com/strongroom/strongroom/internal/control"
	"github.com/strongroom/strongroom/internal/report"
	"github.com/strongroom/strongroom/internal/telemetry"
)

func TestDrift(t *testing.T) {
	e := telemetry.NewExporter(telemetry.Build{})
	h := e.Handler(telemetry.Probes{Alive: yes, Server: ready}, nil, quiet)
	to := func(o control.Outcome) func(*report.Document) {
		return func(d *report.Document) { d.Controls[2].Outcome = o }
	}
	e.Show(document(nil)) // the gate's report: ssh-absent passes
	for i, step := range []struct {
		outcome  control.Outcome
		settling bool
		want     string
	}{
		{control.Pass, false, "0"},
		{control.Fail, true, "0"},     // the server starts
		{control.Pending, false, "0"}, // the server does not run
		{control.Pass, false, "0"},
		{control.Fail, true, "0"},
		{control.Fail, false, "1"}, // it still fails when all has settled
		{control.Fail, false, "1"},
		{control.Unknown, false, "1"}, // it was not passing before
		{control.Pass, false, "1"},
		{control.Unknown, false, "2"},
		{control.Pass, false, "2"},
		{control.Waived, false, "3"},
	} {
		e.Judged(document(to(step.outcome)), step.settling)
		if want := `hostcheck_drift_total{check="ssh-absent"} ` + step.want + "\n"; !strings.Contains(get(h, "GET", "/metrics").Body.String(), want) {
			t.Errorf("step %d: the page lacks %s", i, want)
		}
	}
	if strings.Contains(get(h, "GET", "/metrics").Body.String(), `hostcheck_drift_total{check="memory-swap-off"}`) {
		t.Error("a control that never passed has drifted")
	}
}
