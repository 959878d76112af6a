package agent

import (
	"context"
	"strings"
	"time"

	"github.com/strongroom/strongroom/internal/cluster"
	"github.com/strongroom/strongroom/internal/node"
	"github.com/strongroom/strongroom/internal/retire"
	"github.com/strongroom/strongroom/internal/telemetry"
)

// heldLongest is the longest that a cloud holds a machine: EC2 Auto Scaling, 48 hours.
const heldLongest = 48 * time.Hour

// heed begins, once, to listen to the cloud that a retire block of node.hcl names. It does so whatever is judged of the host: a node that fails has
// to leave as well.
func (a *Agent) heed(ctx context.Context, id node.Identity) {
	if a.heeds || a.Cloud == nil {
		return
	}
	for _, block := range id.Retire {
		cloud := a.Cloud(block)
		if cloud == nil {
			continue // the shutdown: hostcheck-leave.service
		}
		a.heeds = true
		o := JoinOptions(id, a.Server, a.ServerAddr, a.Credentials, a.Session, a.Log)
		o.StateDir = a.StateDir
		j := cluster.New(o)
		a.tasks.Go(func() {
			retire.Watch(ctx, retire.Options{
				Cloud: cloud, Leave: j.Leave, Log: a.Log, Report: a.retirementIs,
				Retire: func(ctx context.Context, waiting func(error)) error {
					return j.Retire(ctx, cluster.Retirement{
						Wait: heldLongest, Waiting: waiting,
						Done: func(did string) { a.Log.InfoContext(ctx, "retire", "did", did) },
					})
				},
			})
		})
		return
	}
}

// retirementIs shows how far it is. It is called by the goroutine that listens.
func (a *Agent) retirementIs(s retire.Status) {
	states := make([]string, len(retire.States))
	for i, state := range retire.States {
		states[i] = string(state)
	}
	r := telemetry.Retirement{State: string(s.State), States: states, Reason: strings.ReplaceAll(s.Reason, "\n  hint: ", "; ")}
	a.Exporter.SetRetirement(r)
	if err := a.Journal.Retirement(r); err != nil {
		a.Log.Warn("cannot write to the journal", "error", err)
	}
	args := []any{"state", r.State}
	if r.Reason != "" {
		args = append(args, "reason", r.Reason)
	}
	a.Log.Info("retire", args...)
}
