package telemetry_test

import (
	"time"

	"github.com/strongroom/strongroom/internal/check"
	"github.com/strongroom/strongroom/internal/control"
	"github.com/strongroom/strongroom/internal/report"
)

// document is a report of four controls; edit changes it.
func document(edit func(*report.Document)) *report.Document {
	fact := func(o control.Outcome) []report.Observation {
		return []report.Observation{
			{Resource: "swap:any", Layer: control.Effective, Outcome: control.Pass, Source: "/proc/meminfo", Want: "0", Got: "0"},
			{Resource: "swap:any", Layer: control.Effective, Outcome: o, Source: "/proc/swaps", Want: "none", Got: "/dev/vda5"},
		}
	}
	d := &report.Document{
		Schema: report.Schema, Baseline: "b00b5", Stage: control.StageBoot, Verdict: check.Fail,
		Host:    report.Host{ImageID: "strongroom", ImageVersion: "1.2", RootHash: "abc"},
		Started: time.UnixMilli(1_700_000_000_500), Seconds: 0.02,
		Summary: map[string]int{"pass": 1},
		Controls: []report.Control{
			{ID: "memory-swap-off", Severity: control.Must, Outcome: control.Fail, Observations: fact(control.Fail)},
			{ID: "time-chrony", Severity: control.Should, Outcome: control.Unknown, Observations: []report.Observation{
				{Layer: control.Effective, Outcome: control.Unknown, Source: "chrony.service", Error: "no answer"},
			}},
			{ID: "ssh-absent", Severity: control.Must, Outcome: control.Pass},
			{ID: "vault-mlock", Severity: control.Must, Outcome: control.Pending},
		},
	}
	if edit != nil {
		edit(d)
	}
	return d
}

func passing(d *report.Document) {
	d.Verdict = check.Pass
	for i := range d.Controls {
		d.Controls[i].Outcome = control.Pass
	}
}
