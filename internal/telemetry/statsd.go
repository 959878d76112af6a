package telemetry

import (
	"context"
	"fmt"
	"log/slog"
	"slices"
	"time"

	metrics "github.com/hashicorp/go-metrics"
	"github.com/hashicorp/go-metrics/datadog"
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
	p := &pusher{exporter: e, options: o, log: log}
	defer p.stop()
	tick := time.NewTicker(pushInterval)
	defer tick.Stop()
	for {
		p.send()
		select {
		case <-ctx.Done():
			return
		case <-e.news:
		case <-tick.C:
		}
	}
}

// pusher sends to the receivers that could be set up.
type pusher struct {
	exporter *Exporter
	options  StatsD
	log      *slog.Logger
	statsd   *metrics.Metrics
	dog      *metrics.Metrics
	trouble  string // with the receiver's name, as it was told
	sent     uint64 // runs whose duration has been sent
}

// connect sets up what is not set up yet. StatsD's sink resolves its name by itself and again and again; DogStatsD's
// does it once, and is made when that works.
func (p *pusher) connect() []*metrics.Metrics {
	config := metrics.DefaultConfig("hostcheck")
	if p.options.MetricsPrefix != "" {
		config.ServiceName = p.options.MetricsPrefix + ".hostcheck"
	}
	config.EnableHostname = !p.options.DisableHostname
	config.EnableRuntimeMetrics = false
	if p.statsd == nil && p.options.StatsDAddress != "" {
		sink, err := metrics.NewStatsdSinkWithLogger(p.options.StatsDAddress, &sinkLog{log: p.log})
		p.statsd = p.made(config, sink, err)
	}
	if p.dog == nil && p.options.DogStatsDAddr != "" {
		sink, err := datadog.NewDogStatsdSink(p.options.DogStatsDAddr, config.HostName)
		if err == nil {
			sink.SetTags(p.tags())
			if !p.options.DisableHostname {
				sink.EnableHostNamePropagation()
			}
		}
		p.dog = p.made(config, sink, err)
	}
	return slices.DeleteFunc([]*metrics.Metrics{p.statsd, p.dog}, func(m *metrics.Metrics) bool { return m == nil })
}

func (p *pusher) made(config *metrics.Config, sink metrics.MetricSink, err error) *metrics.Metrics {
	if err == nil {
		var m *metrics.Metrics
		if m, err = metrics.New(config, sink); err == nil {
			return m
		}
	}
	if text := err.Error(); text != p.trouble {
		p.trouble = text
		p.log.Warn("cannot send figures yet", "error", err)
	}
	return nil
}

// tags are the operator's, and what tells nodes apart: a verdict without its node is worth little.
func (p *pusher) tags() []string {
	tags := slices.Clone(p.options.DogStatsDTags)
	if n := p.exporter.node.Load(); n != nil {
		tags = append(tags, "cluster:"+n.Cluster, "node_id:"+n.ID)
	}
	return tags
}

func (p *pusher) stop() {
	for _, m := range []*metrics.Metrics{p.statsd, p.dog} {
		if m != nil {
			m.Shutdown()
		}
	}
}

// send gives the receivers counts, not one line for each control: StatsD has no labels, and its servers pay for each name.
func (p *pusher) send() {
	receivers := p.connect()
	if len(receivers) == 0 {
		return
	}
	gauge := func(name string, value float64, labels ...metrics.Label) {
		for _, m := range receivers {
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
		for _, m := range receivers {
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
		for _, m := range receivers {
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

// sinkLog tells a trouble once, and again after it has been another.
type sinkLog struct {
	log  *slog.Logger
	last string
}

func (l *sinkLog) Warn(msg string, args ...any)  { l.tell(msg, args) }
func (l *sinkLog) Error(msg string, args ...any) { l.tell(msg, args) }

func (l *sinkLog) tell(msg string, args []any) {
	text := fmt.Sprint(append([]any{msg}, args...)...)
	if text == l.last {
		return
	}
	l.last = text
	l.log.Warn("the StatsD receiver takes nothing", args...)
}
