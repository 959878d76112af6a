package telemetry

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"slices"
	"strings"
	"time"

	metrics "github.com/hashicorp/go-metrics"
)

// StatsD says where figures are sent by UDP, with the names of Vault's telemetry stanza.
type StatsD struct {
	StatsDAddress   string   // host:port
	DogStatsDAddr   string   // host:port
	DogStatsDTags   []string // "env:prod"
	DisableHostname bool
	MetricsPrefix   string // stands before "hostcheck"; empty: nothing
}

// pushInterval is how often figures are sent that have not changed: receivers forget a gauge, or take it for a dead
// sender's, when they hear nothing for a flush or two, and a flush is 10 s by default.
const pushInterval = 10 * time.Second

// Push sends the figures at each change and every ten seconds, until the context ends. A receiver that is not there
// costs nothing but a line in the log.
func (e *Exporter) Push(ctx context.Context, o StatsD, log *slog.Logger) {
	p := &pusher{exporter: e}
	for _, r := range []*receiver{newReceiver(o, false), newReceiver(o, true)} {
		if r != nil {
			p.receivers = append(p.receivers, r)
			defer r.sink.close()
		}
	}
	tick := time.NewTicker(pushInterval)
	defer tick.Stop()
	for {
		for _, r := range p.receivers {
			r.sink.tags = tags(o.DogStatsDTags, e.node.Load())
		}
		p.send()
		for _, r := range p.receivers {
			r.flush(ctx, log)
		}
		select {
		case <-ctx.Done():
			return
		case <-e.news:
		case <-tick.C:
		}
	}
}

// pusher sends to receivers.
type pusher struct {
	exporter  *Exporter
	receivers []*receiver
	sent      uint64 // runs whose duration has been sent
}

// receiver is one address that figures are sent to. go-metrics makes their names as it makes those of Vault's figures.
type receiver struct {
	*metrics.Metrics
	sink    *packets
	trouble string // as it was told
}

// newReceiver gives nil where there is no address.
func newReceiver(o StatsD, dog bool) *receiver {
	sink := &packets{address: o.StatsDAddress, dog: dog}
	if dog {
		sink.address = o.DogStatsDAddr
	}
	if sink.address == "" {
		return nil
	}
	config := metrics.DefaultConfig("hostcheck")
	if o.MetricsPrefix != "" {
		config.ServiceName = o.MetricsPrefix + ".hostcheck"
	}
	config.EnableHostname = !o.DisableHostname
	config.EnableHostnameLabel = dog && !o.DisableHostname
	config.EnableRuntimeMetrics = false
	m, _ := metrics.New(config, sink) // it has no error to give
	return &receiver{Metrics: m, sink: sink}
}

// flush tells a trouble once, and again after it has been another. A receiver that is away does not make each packet fail.
func (r *receiver) flush(ctx context.Context, log *slog.Logger) {
	err := r.sink.flush(ctx)
	if err == nil || ctx.Err() != nil {
		return
	}
	if op := (*net.OpError)(nil); errors.As(err, &op) {
		err = fmt.Errorf("%s: %w", op.Op, op.Err) // without the local port, which is another each time
	}
	if err.Error() != r.trouble {
		r.trouble = err.Error()
		log.Warn("figures cannot be sent", "receiver", r.sink.address, "error", err)
	}
}

// send gives the receivers counts, not one line for each control: StatsD has no labels, and its servers pay for each name.
func (p *pusher) send() {
	gauge := func(name string, value float64, labels ...metrics.Label) {
		for _, m := range p.receivers {
			// Of 64 bits: a time in 32 would be minutes off.
			m.SetPrecisionGaugeWithLabels([]string{name}, value, slices.Clone(labels))
		}
	}
	e := p.exporter
	gauge("gate_open", truth(e.GateOpen()))
	if j := e.Join(); j != nil {
		for _, s := range j.all() {
			gauge("join_state", truth(s == j.State), metrics.Label{Name: "state", Value: s})
		}
	}
	for check, n := range e.drift.take() {
		for _, m := range p.receivers {
			m.IncrCounterWithLabels([]string{"drift"}, float32(n), []metrics.Label{{Name: "check", Value: check}})
		}
	}
	for name, t := range e.expiry.all() {
		gauge("tls_days_left", days(time.Until(t)), metrics.Label{Name: "certificate", Value: name})
	}
	d := e.Report()
	if d == nil {
		return
	}
	for _, v := range verdicts {
		gauge("verdict", truth(d.Verdict == v), metrics.Label{Name: "verdict", Value: string(v)})
	}
	gauge("last_run_timestamp_seconds", seconds(d.Started))
	if runs := e.runs.Load(); runs != p.sent {
		p.sent = runs
		for _, m := range p.receivers {
			m.AddSample([]string{"run_duration"}, float32(d.Seconds*1000)) // StatsD's timers are in milliseconds
		}
	}
	counts := countControls(d)
	for _, s := range severities {
		for _, o := range outcomes {
			gauge("checks", float64(counts[group{s, o}]), metrics.Label{Name: "severity", Value: string(s)}, metrics.Label{Name: "status", Value: o.String()})
		}
	}
	for _, c := range d.Controls {
		if c.Waiver != nil {
			gauge("waiver_days_left", days(time.Until(c.Waiver.Expires)), metrics.Label{Name: "check", Value: c.ID})
		}
	}
}

func days(d time.Duration) float64 { return d.Hours() / 24 }

// tags are the operator's, and what tells nodes apart: a verdict without its node is worth little.
func tags(operator []string, n *Node) string {
	all := slices.Clone(operator)
	if n != nil {
		all = append(all, "cluster:"+clean(n.Cluster), "node_id:"+clean(n.ID))
	}
	return strings.Join(all, ",")
}
