package telemetry_test

import (
	"fmt"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/strongroom/strongroom/internal/check"
	"github.com/strongroom/strongroom/internal/check/checktest"
	"github.com/strongroom/strongroom/internal/control"
	"github.com/strongroom/strongroom/internal/report"
	"github.com/strongroom/strongroom/internal/telemetry"
)

// The number of series of a node is the documented one: three for a control at most, also when every control has a
// waiver, has drifted and has had every outcome.
func TestCardinality(t *testing.T) {
	b := checktest.Compile(t, checktest.Profile())
	d := report.New(check.Run(t.Context(), b, "digest", checktest.Node(t, b), control.StageRun, check.Options{}), "1.2.3")
	if len(d.Controls) < 150 {
		t.Fatalf("%d controls are not the catalogue", len(d.Controls))
	}
	e := telemetry.NewExporter(telemetry.Build{Version: "v", Revision: "r"})
	e.SetGate(true)
	e.SetNode(telemetry.Node{ID: "i-1", Cluster: "prod", Seal: "transit"})
	e.SetTLSExpiry("node", time.Now())
	e.SetTLSExpiry("ca", time.Now())
	e.SetJoin(telemetry.Join{State: telemetry.JoinReady})
	for _, source := range []string{"mounts", "swaps", "nftables", "routes", "systemd", "files"} {
		e.SetListening(source, true)
	}
	e.Announced("memory")
	handler := e.Handler(says(anActive), nil, quiet)
	count := func() (byControl map[string]int, others, total int) {
		byControl = map[string]int{}
		for line := range strings.Lines(get(handler, "GET", "/metrics").Body.String()) {
			switch m := regexp.MustCompile(`[{,]check="([^"]*)"`).FindStringSubmatch(line); {
			case strings.HasPrefix(line, "#"):
			case m != nil:
				byControl[m[1]]++
				total++
			default:
				others++
				total++
			}
		}
		return byControl, others, total
	}
	e.Judged(d, false)
	_, _, plain := count()
	for _, o := range []control.Outcome{control.Pass, control.Fail, control.Unknown, control.Pass, control.Pending, control.Pass, control.Waived} {
		for i := range d.Controls {
			d.Controls[i].Outcome = o
			d.Controls[i].Waiver = &report.Waiver{Expires: time.Now()}
		}
		e.Judged(d, false)
	}
	byControl, others, total := count()
	for id, n := range byControl {
		if n > 3 {
			t.Errorf("%s has %d series", id, n)
		}
	}
	e.SetSnapshots(everySnapshot())
	_, with, _ := count()
	text := documentation(t)
	var most, sink int
	if m := regexp.MustCompile(`\| a node besides \| (\d+) at most without snapshots, and (\d+) more for each sink \|`).FindStringSubmatch(text); m != nil {
		fmt.Sscan(m[1], &most)
		fmt.Sscan(m[2], &sink)
	}
	// process_* has some series less where /proc is not whole: a figure that fits here fits there.
	if others > most || with-others > sink+4 {
		t.Errorf("%d series besides controls, %d for a snapshot's sink; docs/telemetry.md says %d and %d", others, with-others, most, sink)
	}
	t.Logf("%d controls: %d series on a good node, %d at most, %d of them of no control", len(d.Controls), plain, total, others)
}
