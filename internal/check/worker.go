package check

import (
	"context"
	"fmt"
	"runtime/debug"

	"github.com/strongroom/strongroom/internal/baseline"
	"github.com/strongroom/strongroom/internal/control"
	"github.com/strongroom/strongroom/internal/host"
)

// worker judges one control after the other in a goroutine of its own, so that a check which hangs in a system call
// costs its time-out and not the boot. It is one goroutine for many controls because each would grow its stack again,
// and what Go reads for that is most of the tables of the executable.
type worker struct {
	controls chan job
}

type job struct {
	ctx     context.Context
	control control.Control
	done    chan<- []control.Observation
}

func newWorker(b *baseline.Baseline, h host.Host, stage control.Stage) worker {
	w := worker{make(chan job)}
	go func() {
		for j := range w.controls {
			j.done <- observe(j.ctx, b, j.control, h, stage)
		}
	}()
	return w
}

// end lets the goroutine go, at once or when what it hangs in returns.
func (w worker) end() { close(w.controls) }

// judge says what the control's resources are. Where that takes too long it is not ok, and the worker has ended.
func (w worker) judge(ctx context.Context, c control.Control) (obs []control.Observation, ok bool) {
	done := make(chan []control.Observation, 1)
	w.controls <- job{ctx, c, done}
	select {
	case obs := <-done:
		return obs, true
	case <-ctx.Done():
		w.end()
		return []control.Observation{unknown(c, fmt.Errorf("gave up: %w", ctx.Err()))}, false
	}
}

// observe asks the resources of one control.
func observe(ctx context.Context, b *baseline.Baseline, c control.Control, h host.Host, stage control.Stage) (obs []control.Observation) {
	defer func() {
		if p := recover(); p != nil {
			obs = append(obs, unknown(c, fmt.Errorf("panic: %v\n%s", p, debug.Stack())))
		}
	}()
	obs = make([]control.Observation, 0, 2*len(c.Resources)) // a file, and what is in effect
	for _, res := range c.Resources {
		obs = append(obs, compareFragments(b, res, h)...)
		if stage < c.Stage {
			obs = append(obs, res.Verify(ctx, h, control.StageImage)...)
			obs = append(obs, pending(res, c.Stage))
			continue
		}
		obs = append(obs, res.Verify(ctx, h, stage)...)
	}
	return obs
}
