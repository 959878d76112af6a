package plugin

import (
	"bytes"
	"testing"
	"time"

	"github.com/strongroom/strongroom/internal/check"
	"github.com/strongroom/strongroom/internal/report"
)

// The report of a bake tells no clock, and all else that hostcheck said.
func TestUndated(t *testing.T) {
	epoch := time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)
	of := func(started time.Time, seconds float64) []byte {
		var text bytes.Buffer
		d := &report.Document{Schema: report.Schema, Baseline: "b", Verdict: check.Pass, Started: started, Seconds: seconds, Summary: map[string]int{"pass": 200}}
		if err := report.WriteJSON(&text, d); err != nil {
			t.Fatal(err)
		}
		return text.Bytes()
	}
	want, err := undated(of(epoch, 0), epoch)
	if err != nil || !bytes.Contains(want, []byte(`"started": "2026-01-01T00:00:00Z"`)) || !bytes.Contains(want, []byte(`"pass": 200`)) {
		t.Errorf("%v: %s", err, want)
	}
	for _, started := range []time.Time{epoch.AddDate(1, 2, 3), epoch.AddDate(5, 0, 0)} {
		if got, err := undated(of(started, 0.25), epoch.In(time.FixedZone("", 3600))); err != nil || !bytes.Equal(got, want) {
			t.Errorf("%v: %s, want %s", err, got, want)
		}
	}
	if _, err := undated([]byte("no report"), epoch); err == nil {
		t.Error("what is no report is taken")
	}
}
