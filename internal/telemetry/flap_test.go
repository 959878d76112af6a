package telemetry_test

import (
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/strongroom/strongroom/internal/control"
	"github.com/strongroom/strongroom/internal/report"
)

// A fact that flaps is told some times, then that it flaps, and again when it has kept still.
func TestAFlappingControlDoesNotFillTheJournal(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		j, sent := recorder()
		tell := func(o control.Outcome) []entry {
			t.Helper()
			if err := j.Report(document(func(d *report.Document) { passing(d); d.Controls[0].Outcome = o })); err != nil {
				t.Fatal(err)
			}
			return sent()
		}
		ofControl := func(entries []entry) (out []entry) {
			for _, e := range entries {
				if e.fields["STRONGROOM_CONTROL"] != "" {
					out = append(out, e)
				}
			}
			return out
		}
		tell(control.Pass)
		var told []entry
		for i := range 1000 {
			time.Sleep(time.Second)
			told = append(told, ofControl(tell([]control.Outcome{control.Fail, control.Pass}[i%2]))...)
		}
		if len(told) < 4 || len(told) > 10 {
			t.Errorf("%d entries for a thousand changes", len(told))
		}
		if last := told[len(told)-1]; !strings.Contains(last.message, "it flaps") {
			t.Errorf("the last says %q", last.message)
		}
		tell(control.Fail)
		told = nil
		for range 20 {
			time.Sleep(time.Minute)
			told = append(told, ofControl(tell(control.Fail))...)
		}
		if len(told) != 1 || told[0].fields["STRONGROOM_OUTCOME"] != "fail" || !strings.Contains(told[0].message, "unchanged for 10m0s") {
			t.Errorf("after it has kept still: %+v", told)
		}
		if told = ofControl(tell(control.Pass)); len(told) != 1 || told[0].fields["STRONGROOM_WAS"] != "fail" {
			t.Errorf("and is told again: %+v", told)
		}
	})
}
