package agent

import (
	"context"
	"os"
	"time"

	"github.com/strongroom/strongroom/internal/node"
	"github.com/strongroom/strongroom/internal/telemetry"
)

// named is what the agent has made of the node's identity.
type named struct {
	since time.Time // of the file
	stop  context.CancelFunc
}

// identify takes from the node's identity what concerns telemetry: its name, who may read the port, where figures are sent. It
// looks again after each change of the file, since configure may come late or be repeated. Without an identity, because
// configure has failed, the firewall alone decides who reads why.
func (a *Agent) identify(ctx context.Context) {
	info, err := os.Stat(a.Identity)
	if a.Identity == "" || err != nil || info.ModTime().Equal(a.named.since) {
		return
	}
	id, err := ReadIdentity(a.Identity)
	if err != nil {
		return // the joiner tells it
	}
	a.named.since = info.ModTime()
	a.Exporter.SetNode(telemetry.Node{ID: id.NodeID, Cluster: id.ClusterName, Seal: id.Seal})
	if err := a.access.Set(id.Telemetry.BasicAuth, id.Telemetry.ClientCA); err != nil {
		a.Log.ErrorContext(ctx, "not everybody who should can read metrics and report", "error", err)
	}
	a.push(ctx, id.Telemetry)
}

// push sends figures to where node.hcl says, in place of where it said before.
func (a *Agent) push(ctx context.Context, t node.Telemetry) {
	if a.named.stop != nil {
		a.named.stop()
		a.named.stop = nil
	}
	if t.StatsDAddress == "" && t.DogStatsDAddr == "" {
		return
	}
	ctx, a.named.stop = context.WithCancel(ctx)
	a.tasks.Go(func() {
		a.Exporter.Push(ctx, telemetry.StatsD{
			StatsDAddress: t.StatsDAddress, DogStatsDAddr: t.DogStatsDAddr, DogStatsDTags: t.DogStatsDTags,
			DisableHostname: t.DisableHostname, MetricsPrefix: t.MetricsPrefix,
		}, a.Log)
	})
}
