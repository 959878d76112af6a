package agent

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"sync/atomic"
	"time"

	"github.com/strongroom/strongroom/internal/check"
	"github.com/strongroom/strongroom/internal/cluster"
	"github.com/strongroom/strongroom/internal/node"
	"github.com/strongroom/strongroom/internal/report"
)

// With on_drift = "stop" the server does not run on when a must control fails. The cluster decides whether it can lose this node, so that
// one fault of all nodes at once stops one of them, or none.
const (
	// driftHolds is how long the verdict must have been fail: a fact that flaps stops nobody.
	driftHolds = 30 * time.Second
	// withdrawAgain is how long the agent waits after the cluster could not lose the node.
	withdrawAgain = time.Minute
	withdrawTime  = 90 * time.Second
)

// driftStop is what the agent knows of it.
type driftStop struct {
	wanted  bool        // by node.hcl
	failing time.Time   // since when the running node has failed; zero: it does not
	next    time.Time   // when to try again
	busy    atomic.Bool // a try is under way
	told    once
}

// driftMark is left while a server is stopped for drift, in a directory that is empty after a boot.
func (a *Agent) driftMark() string {
	return filepath.Join(filepath.Dir(a.ReportPath), "stopped-for-drift")
}

// stoppedForDrift reports whether the agent has stopped the server, in this life or in one before.
func (a *Agent) stoppedForDrift() bool {
	_, err := os.Stat(a.driftMark())
	return err == nil
}

// ran takes note of a judgement of the running node.
func (a *Agent) ran(ctx context.Context, d *report.Document) {
	switch {
	case d == nil || d.Verdict == check.Unknown:
		return
	case d.Verdict == check.Pass:
		a.driftStop.failing = time.Time{}
		if err := os.Remove(a.driftMark()); err != nil && !errors.Is(err, fs.ErrNotExist) {
			a.Log.ErrorContext(ctx, "cannot take back that the server was stopped", "error", err)
		}
		return
	case a.driftStop.failing.IsZero():
		a.driftStop.failing = time.Now()
	}
	if a.settling() || !a.driftStop.wanted || time.Since(a.driftStop.failing) < driftHolds || time.Now().Before(a.driftStop.next) || !a.driftStop.busy.CompareAndSwap(false, true) {
		return
	}
	a.driftStop.next = time.Now().Add(withdrawAgain)
	why := Passes(d)
	a.tasks.Go(func() {
		defer a.driftStop.busy.Store(false)
		ctx, cancel := context.WithTimeout(ctx, withdrawTime)
		defer cancel()
		a.withdraw(ctx, why)
	})
}

// withdraw stops the server if the cluster can lose it, and says what came of it.
func (a *Agent) withdraw(ctx context.Context, why error) {
	id, err := ReadIdentity(a.Identity)
	if err == nil {
		err = a.Withdraw(ctx, id, func(did string) { a.Log.InfoContext(ctx, did) }, func(ctx context.Context) error {
			// The mark first: a server that has stopped without it would be an operator's doing.
			if err := os.WriteFile(a.driftMark(), []byte(why.Error()+"\n"), 0o600); err != nil {
				return fmt.Errorf("cannot leave a mark: %w", err)
			}
			if err := a.Units.Stop(ctx, a.Server.Unit); err != nil {
				return errors.Join(err, os.Remove(a.driftMark()))
			}
			return nil
		})
	}
	switch {
	case err == nil:
		a.driftStop.told.changed("")
		a.Log.ErrorContext(ctx, "stopped "+a.Server.Name+": on_drift is stop; it stays down until this node starts anew", "reason", why)
	case a.driftStop.told.changed(err.Error()):
		a.Log.ErrorContext(ctx, a.Server.Name+" runs on although this node fails, and on_drift is stop", "reason", why, "error", err)
	}
}

// withdrawFromCluster asks the cluster.
func (a *Agent) withdrawFromCluster(ctx context.Context, id node.Identity, done func(string), stop func(context.Context) error) error {
	return cluster.New(JoinOptions(id, a.Server, a.ServerAddr, a.Credentials, a.Session, a.Log)).Withdraw(ctx, done, stop)
}
