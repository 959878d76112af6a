package telemetry_test

import (
	"strings"
	"testing"
	"time"

	"github.com/strongroom/strongroom/internal/report"
	"github.com/strongroom/strongroom/internal/telemetry"
)

func TestJoinState(t *testing.T) {
	e := telemetry.NewExporter(telemetry.Build{})
	h := e.Handler(telemetry.Probes{Alive: yes, Server: ready}, nil, quiet)
	if page := get(h, "GET", "/metrics").Body.String(); strings.Contains(page, "hostcheck_join") {
		t.Error("a state of the join is shown before there is one")
	}
	states := []string{"waiting", "ready"}
	for _, c := range []struct {
		state string
		want  []string
	}{
		{"waiting", []string{`{hostcheck_join_state="waiting"} 1`, `{hostcheck_join_state="ready"} 0`}},
		{"ready", []string{`{hostcheck_join_state="waiting"} 0`, `{hostcheck_join_state="ready"} 1`}},
		{"unheard", []string{`{hostcheck_join_state="waiting"} 0`, `{hostcheck_join_state="ready"} 0`, `{hostcheck_join_state="unheard"} 1`}},
	} {
		e.SetJoin(telemetry.Join{State: c.state, States: states, Since: time.UnixMilli(1_700_000_000_500)})
		page := get(h, "GET", "/metrics").Body.String()
		for _, want := range append(c.want, "\nhostcheck_join_since_timestamp_seconds 1.7000000005e+09\n") {
			if !strings.Contains(page, want) {
				t.Errorf("%s: the page lacks %s", c.state, want)
			}
		}
		if n := strings.Count(page, "\nhostcheck_join_state{"); n != len(c.want) {
			t.Errorf("%s: %d series", c.state, n)
		}
	}
}

// The report says where the join is, as it is now; nothing of it before there is one, and the posted report stays as it was.
func TestReportHasTheJoin(t *testing.T) {
	e := telemetry.NewExporter(telemetry.Build{})
	h := e.Handler(telemetry.Probes{Alive: yes, Server: ready}, nil, quiet)
	posted := document(passing)
	e.Judged(posted, false)
	join := func() *report.Join {
		d, err := report.ReadJSON(get(h, "GET", "/report").Body)
		if err != nil {
			t.Fatal(err)
		}
		return d.Join
	}
	if j := join(); j != nil {
		t.Errorf("there is none, and the report has %+v", j)
	}
	since := time.Unix(1_700_000_000, 0).UTC()
	for _, state := range []string{"refused", "ready"} {
		e.SetJoin(telemetry.Join{State: state, Reason: "why", Hint: "what to do", Since: since})
		if j := join(); j == nil || *j != (report.Join{State: state, Since: since, Reason: "why", Hint: "what to do"}) {
			t.Errorf("%s: the report has %+v", state, j)
		}
	}
	if posted.Join != nil {
		t.Error("the posted report was changed")
	}
}
