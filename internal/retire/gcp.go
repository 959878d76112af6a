package retire

import (
	"context"

	"github.com/strongroom/strongroom/internal/node"
)

// gcp is Google Cloud. The wire: Compute Engine, "View and query VM metadata" (preempted, maintenance-event) and, for shutdown-details/stop-state, the
// watcher gracefulshutdown of Google's own guest agent. It has no hook: the machine goes when the period that was set for it is over.
type gcp struct{ instance Instance }

func (g *gcp) Ask(ctx context.Context) (Notice, error) {
	const instance = "/computeMetadata/v1/instance/"
	for _, c := range []struct {
		path, value string
		notice      Notice
	}{
		{"preempted", "TRUE", Notice{Fate: Goes, Why: "Compute Engine preempts this instance"}},
		{"shutdown-details/stop-state", "PENDING_STOP", Notice{Fate: Goes, Why: "Compute Engine stops or deletes this instance"}},
		// The machine is started again on another host, with its disks.
		{"maintenance-event", "TERMINATE_ON_HOST_MAINTENANCE", Notice{Fate: Restarts, Why: "Compute Engine restarts this instance for maintenance"}},
	} {
		said, err := about(ctx, g.instance, node.GCP, instance+c.path)
		if err != nil {
			return Notice{}, err
		}
		if said == c.value {
			return c.notice, nil
		}
	}
	return Notice{}, nil
}

func (g *gcp) Hold(context.Context, Notice) error    { return nil }
func (g *gcp) Release(context.Context, Notice) error { return nil }
