package agent

import (
	"context"
	"slices"
	"time"

	"github.com/strongroom/strongroom/internal/check"
	"github.com/strongroom/strongroom/internal/control"
	"github.com/strongroom/strongroom/internal/report"
)

// gateUnit is the unit of the gate.
const gateUnit = "hostcheck-gate.service"

// tick looks at the node once, does what follows, and says when to look again.
//
// The gate is open when its unit can run, its last run did not fail, and the report that
// it left says pass. The agent's own opinion never opens it: it only gives systemd a reason to
// run the gate again.
func (a *Agent) tick(ctx context.Context) time.Duration {
	gate, gateErr := a.Units.State(ctx, gateUnit)
	server, serverErr := a.Units.State(ctx, a.Server.Unit)
	for _, err := range []error{gateErr, serverErr} {
		if err != nil {
			a.Log.ErrorContext(ctx, "cannot ask systemd", "error", err)
		}
	}
	said, fresh, err := a.gate.read()
	if err != nil {
		a.Log.ErrorContext(ctx, "cannot read the gate's report", "error", err)
	}
	open := gateErr == nil && gate.runnable() && gate.Active != "failed" && said != nil && said.Verdict == check.Pass
	stopped := a.stoppedForDrift() && !(serverErr == nil && server.running())
	open = open && !stopped
	a.Exporter.SetGate(open)
	if fresh && said != nil {
		a.Exporter.Show(said)
		a.Journal.Know(said) // the gate has told the journal itself
	}

	switch {
	case serverErr == nil && server.running():
		a.enter(running)
		d := a.judge(ctx, a.stage(ctx))
		a.ran(ctx, d)
		passes := d != nil && d.Verdict == check.Pass
		if passes && open {
			a.startJoining(ctx)
		}
		if passes && !a.passed && a.joiner != nil {
			a.joiner.Wake()
		}
		a.passed = passes
		if (d == nil || d.Verdict != check.Pass) && a.settling() {
			return settleInterval // memory is not locked yet, a port is not open yet
		}
		return a.Interval
	case stopped:
		a.enter(closed)
		a.judge(ctx, control.StageBoot)
		return a.Interval // until this node starts anew
	case open:
		a.enter(opened)
		if a.settling() {
			return settleInterval // the server is on its way
		}
		a.judge(ctx, control.StageBoot)
		return a.Interval // somebody stopped the server, or it does not stay up: systemd's concern
	}
	a.enter(closed)
	if fresh && said != nil {
		return a.Interval // the gate has judged a moment ago
	}
	if d := a.judge(ctx, control.StageBoot); d == nil || d.Verdict != check.Pass {
		return a.Interval
	}
	return a.open(ctx, gate, server)
}

// phase is what the agent is waiting for.
type phase int

const (
	closed  phase = iota + 1 // the gate keeps the server down
	opened                   // the gate is open, the server does not run
	running                  // the server runs
)

func (a *Agent) enter(p phase) {
	if a.phase != p {
		a.phase, a.since = p, time.Now()
	}
}

// settling reports whether the phase is so young that things are still about to change.
func (a *Agent) settling() bool { return time.Since(a.since) < settleTime }

// open has systemd start the server. Its unit requires the gate, so systemd runs the gate first
// and it judges for itself. Where that would not happen, the server is not started.
func (a *Agent) open(ctx context.Context, gate, server Unit) time.Duration {
	var reason string
	switch {
	case !gate.runnable():
		reason = gateUnit + " cannot run (" + gate.Load + ")"
	case !server.runnable():
		reason = a.Server.Unit + " cannot run (" + server.Load + ")"
	case !slices.Contains(server.Requires, gateUnit) || !slices.Contains(server.After, gateUnit):
		reason = a.Server.Unit + " does not require " + gateUnit
	}
	if reason != "" {
		if a.complain.changed(reason) {
			a.Log.ErrorContext(ctx, "the host passes, but "+a.Server.Name+" is kept down", "reason", reason)
		}
		return a.Interval
	}
	a.complain.changed("")
	a.Log.InfoContext(ctx, "the host passes again: starting "+a.Server.Name+" through the gate")
	if err := a.Units.Start(ctx, a.Server.Unit); err != nil {
		a.Log.ErrorContext(ctx, "cannot start "+a.Server.Name, "error", err)
		return a.Interval
	}
	return settleInterval
}

func (a *Agent) judge(ctx context.Context, stage control.Stage) *report.Document {
	limited, cancel := context.WithTimeout(ctx, judgeTimeout)
	defer cancel()
	d, err := a.Judge(limited, stage)
	a.overhear()
	if err != nil {
		a.Log.ErrorContext(ctx, "cannot judge the host", "stage", stage.String(), "error", err)
		return nil
	}
	if ctx.Err() != nil {
		return nil // cut short by the shutdown: its unknowns say nothing about the host
	}
	a.Exporter.Judged(d, a.settling())
	if err := a.Journal.Report(d, a.by...); err != nil {
		a.Log.WarnContext(ctx, "cannot write to the journal", "error", err)
	}
	return d
}

// once remembers a complaint, so that it is made when it changes and not at every look.
type once struct{ last string }

func (o *once) changed(now string) bool {
	was := o.last
	o.last = now
	return was != now
}
