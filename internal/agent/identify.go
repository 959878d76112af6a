package agent

import (
	"cmp"
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
	a.driftStop.wanted = id.StopOnDrift
	a.Exporter.SetNode(telemetry.Node{ID: id.NodeID, Cluster: id.ClusterName, Seal: id.Seal})
	if err := a.access.Set(id.Telemetry.BasicAuth, id.Telemetry.ClientCA); err != nil {
		a.Log.ErrorContext(ctx, "not everybody who should can read metrics and report", "error", err)
	}
	a.push(ctx, id)
	a.heed(ctx, id)
}

// push sends figures to where node.hcl says, in place of where it said before.
func (a *Agent) push(ctx context.Context, id node.Identity) {
	t := id.Telemetry
	if a.named.stop != nil {
		a.named.stop()
		a.named.stop = nil
	}
	ctx, a.named.stop = context.WithCancel(ctx)
	if t.OTLPEndpoint != "" {
		a.tasks.Go(func() {
			a.Exporter.PushOTLP(ctx, telemetry.OTLP{
				Endpoint: t.OTLPEndpoint, Authorities: []byte(cmp.Or(t.OTLPCA, id.CA)), Certificate: certificateOf(a.Credentials),
			}, a.Journal, a.Log)
		})
	}
	if t.StatsDAddress == "" && t.DogStatsDAddr == "" {
		return
	}
	a.tasks.Go(func() {
		a.Exporter.Push(ctx, telemetry.StatsD{
			StatsDAddress: t.StatsDAddress, DogStatsDAddr: t.DogStatsDAddr, DogStatsDTags: t.DogStatsDTags,
			DisableHostname: t.DisableHostname, MetricsPrefix: t.MetricsPrefix,
		}, a.Log)
	})
}
