package retire

import (
	"context"
	"log/slog"
	"time"
)

// Cloud is the one that this machine runs in. Its methods are for one goroutine.
type Cloud interface {
	// Ask gives what is to come.
	Ask(ctx context.Context) (Notice, error)
	// Hold asks for more time. Where a cloud gives none, it does nothing.
	Hold(ctx context.Context, n Notice) error
	// Release says that the machine may go. Saying it twice does no harm.
	Release(ctx context.Context, n Notice) error
}

// Fate is what becomes of a machine.
type Fate int

// The fates.
const (
	Stays    Fate = iota
	Restarts      // it comes back with its data: the lead is handed over, and the node stays a member
	Goes          // for good
)

// Notice is a cloud's word.
type Notice struct {
	Fate Fate
	Why  string // "EC2 Auto Scaling terminates this instance"; empty: the machine stays
	ID   string // of the event, where there is one
}

// State is how far the retirement is.
type State string

// The states.
const (
	Watching State = "watching" // nothing is to come
	Blind    State = "blind"    // the cloud cannot be asked
	Leaving  State = "leaving"  // the machine is to go, and the node is being taken out, or waits for that
	Retired  State = "retired"  // it is out, and the cloud has not taken that in yet
	Done     State = "done"     // the machine may go
)

// States are all of them.
var States = []State{Watching, Blind, Leaving, Retired, Done}

// Status is what is known of it.
type Status struct {
	State  State
	Reason string // one sentence; empty when there is nothing to say
}

// Options of a watch.
type Options struct {
	Cloud Cloud
	// Leave hands over the lead and says what it did.
	Leave func(context.Context) (string, error)
	// Retire takes the node out, and returns when it is. Waiting is told why it is not yet.
	Retire func(ctx context.Context, waiting func(error)) error
	Report func(Status)
	Log    *slog.Logger
	Limits Limits // zero: DefaultLimits
}

// Limits are the paces.
type Limits struct {
	Ask  time.Duration // between two questions
	Hold time.Duration // between two requests for time; AWS gives thirty seconds at least
	Try  time.Duration // between two tries to leave
}

// DefaultLimits are those of a node.
var DefaultLimits = Limits{Ask: 5 * time.Second, Hold: 15 * time.Second, Try: 10 * time.Second}

// watch is one.
type watch struct {
	Options
	status  Status
	handled string // the notice of a restart that was answered
}

// Watch asks until the machine is to go and may, or the context ends.
func Watch(ctx context.Context, o Options) {
	if o.Limits == (Limits{}) {
		o.Limits = DefaultLimits
	}
	w := &watch{Options: o}
	for ctx.Err() == nil {
		n, err := o.Cloud.Ask(ctx)
		switch {
		case ctx.Err() != nil:
			return
		case err != nil:
			w.is(Blind, err.Error())
		case n.Fate == Goes:
			w.goes(ctx, n)
			return
		case n.Fate == Restarts && n.Why+n.ID != w.handled:
			w.is(Watching, n.Why)
			w.restarts(ctx, n)
		default:
			w.is(Watching, n.Why)
		}
		rest(ctx, o.Limits.Ask)
	}
}

// restarts hands over the lead, once for each notice.
func (w *watch) restarts(ctx context.Context, n Notice) {
	did, err := w.Leave(ctx)
	if err != nil {
		w.Log.WarnContext(ctx, "this machine restarts soon, and the lead was not handed over", "why", n.Why, "error", err)
		return // and again at the next question
	}
	w.handled = n.Why + n.ID
	w.Log.InfoContext(ctx, "this machine restarts soon", "why", n.Why, "did", did)
}

// goes takes the node out, holds the machine meanwhile, and lets it go.
func (w *watch) goes(ctx context.Context, n Notice) {
	w.is(Leaving, n.Why)
	waiting := make(chan error, 1)
	done := make(chan struct{})
	go func() {
		defer close(done)
		w.retire(ctx, waiting)
	}()
	hold := time.NewTicker(w.Limits.Hold)
	defer hold.Stop()
	trouble := ""
	for out := false; !out; {
		select {
		case <-done:
			out = true
		case why := <-waiting:
			w.is(Leaving, n.Why+"; waiting: "+why.Error())
		case <-hold.C:
			said := ""
			if err := w.Cloud.Hold(ctx, n); err != nil {
				said = err.Error()
			}
			if said != trouble && said != "" {
				w.Log.WarnContext(ctx, "cannot ask the cloud for more time", "error", said)
			}
			trouble = said
		}
	}
	for ctx.Err() == nil {
		err := w.Cloud.Release(ctx, n)
		if err == nil {
			w.is(Done, n.Why)
			return
		}
		w.is(Retired, "cannot tell the cloud that this machine may go: "+err.Error())
		rest(ctx, w.Limits.Ask)
	}
}

// retire tries until the node is out, or the context ends.
func (w *watch) retire(ctx context.Context, waiting chan error) {
	// The last reason is the one that counts.
	tell := func(why error) {
		select {
		case <-waiting:
		default:
		}
		waiting <- why
	}
	for ctx.Err() == nil {
		err := w.Retire(ctx, tell)
		if err == nil {
			return
		}
		tell(err)
		rest(ctx, w.Limits.Try)
	}
}

// is reports what has changed.
func (w *watch) is(state State, reason string) {
	now := Status{state, reason}
	if now == w.status {
		return
	}
	w.status = now
	w.Report(now)
}

func rest(ctx context.Context, d time.Duration) {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-ctx.Done():
	case <-t.C:
	}
}
