// Package check judges a host against a baseline: bounded concurrency, a time-out for each
// control, and a panic in one check is an unknown of that control, never a pass or a crash.
package check

import (
	"context"
	"sync"
	"time"

	"github.com/strongroom/strongroom/internal/baseline"
	"github.com/strongroom/strongroom/internal/control"
	"github.com/strongroom/strongroom/internal/host"
)

// Options of a run. The zero value is usable.
type Options struct {
	Parallel int           // controls at once; 0 means 4
	Timeout  time.Duration // for one control; 0 means 20 s, against a read that hangs and not against a slow machine
	Now      func() time.Time
}

// Verdict is the gate's answer.
type Verdict string

const (
	Pass    Verdict = "pass"    // every must control passes or is pending
	Fail    Verdict = "fail"    // a must control failed
	Unknown Verdict = "unknown" // no must control failed, but of one nothing could be said
)

// Report is the result of a run. internal/report writes it in the formats that people and
// programs read.
type Report struct {
	Baseline string // digest of the baseline's bytes
	Profile  control.Profile
	Stage    control.Stage
	Verdict  Verdict
	Identity Identity
	Started  time.Time
	Duration time.Duration
	Controls []ControlResult
	Guide    []GuideResult // in the guide's order

	GuideSource control.Guide // which document the items are of; its own list of items is empty
}

// GuideResult says how far one item of the hardening guide is proven.
type GuideResult struct {
	Item     control.GuideItem
	Outcome  control.Outcome // the worst of its controls; not applicable when no host can prove the item
	Controls []string        // ids of the controls that cite it
	Reason   string          // of an item that no host can prove
}

// Identity says which machine and image was judged. Fields that the host does not tell are empty.
type Identity struct {
	MachineID    string
	NodeID       string
	ImageID      string
	ImageVersion string
	RootHash     string
	Kernel       string
	// Platform is the tier of the hardening guide: "metal", "vm" or "container". Virtualization is systemd's word for
	// what the system runs in: "kvm", "amazon", "docker"; empty on metal.
	Platform       string
	Virtualization string
}

// ControlResult is what a run found out about one control.
type ControlResult struct {
	Control      control.Control
	Outcome      control.Outcome
	Observations []control.Observation
	Waiver       *control.Waiver // the waiver that names this control, expired or not
}

// Run judges a host. digest is that of the baseline's bytes as they were read. A cancelled
// context makes the rest unknown.
func Run(ctx context.Context, b *baseline.Baseline, digest string, h host.Host, stage control.Stage, opts Options) *Report {
	now := opts.Now
	if now == nil {
		now = time.Now
	}
	r := &Report{Baseline: digest, Profile: b.Profile, Stage: stage, Started: now().UTC(), Controls: make([]ControlResult, len(b.Controls))}
	h = &snapshot{Host: h}
	next := make(chan int)
	var wg sync.WaitGroup
	for range max(1, orDefault(opts.Parallel, 4)) {
		wg.Go(func() {
			w := newWorker(b, h, stage)
			defer func() { w.end() }()
			for i := range next {
				c := b.Controls[i]
				cctx, cancel := context.WithTimeout(ctx, orDefault(opts.Timeout, 20*time.Second))
				obs, ok := w.judge(cctx, c)
				if !ok {
					w = newWorker(b, h, stage)
				}
				cancel()
				waiver := b.Waiver(c.ID)
				waive(obs, waiver, r.Started)
				r.Controls[i] = ControlResult{Control: c, Outcome: control.Worst(obs), Observations: obs, Waiver: waiver}
			}
		})
	}
	for i := range b.Controls {
		next <- i
	}
	close(next)
	wg.Wait()
	r.Guide = coverage(b.Guide, r.Controls)
	r.GuideSource = control.Guide{Name: b.Guide.Name, Revision: b.Guide.Revision, URL: b.Guide.URL}
	r.Identity = identify(ctx, h, stage)
	r.Verdict = verdict(r.Controls)
	r.Duration = now().Sub(r.Started)
	return r
}

// One judges one control alone, and asks the host nothing that this control does not look at.
func One(ctx context.Context, b *baseline.Baseline, c control.Control, h host.Host, stage control.Stage) ControlResult {
	w := newWorker(b, &snapshot{Host: h}, stage)
	obs, ok := w.judge(ctx, c)
	if ok {
		w.end()
	}
	return ControlResult{Control: c, Outcome: control.Worst(obs), Observations: obs}
}

func orDefault[T int | time.Duration](v, d T) T {
	if v == 0 {
		return d
	}
	return v
}

func verdict(results []ControlResult) Verdict {
	v := Pass
	for _, c := range results {
		if c.Control.Severity != control.Must {
			continue
		}
		switch c.Outcome {
		case control.Fail:
			return Fail
		case control.Unknown:
			v = Unknown
		}
	}
	return v
}

func unknown(c control.Control, err error) control.Observation {
	return control.Observation{Resource: c.Resources[0].Key(), Layer: control.Effective, Outcome: control.Unknown, Source: "hostcheck", Err: err}
}

func pending(res control.Resource, stage control.Stage) control.Observation {
	return control.Observation{
		Resource: res.Key(), Layer: control.Effective, Outcome: control.Pending,
		Source: "stage " + stage.String(), Want: "judged at stage " + stage.String(),
	}
}
