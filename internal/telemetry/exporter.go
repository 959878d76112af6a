package telemetry

import (
	"runtime"
	"slices"
	"sync/atomic"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"

	"github.com/strongroom/strongroom/internal/check"
	"github.com/strongroom/strongroom/internal/control"
	"github.com/strongroom/strongroom/internal/report"
)

// Build says which hostcheck this is.
type Build struct{ Version, Revision string }

// Exporter holds the latest report and shows it as metrics and over HTTP. One goroutine posts;
// any number may read.
type Exporter struct {
	registry  *prometheus.Registry
	report    atomic.Pointer[report.Document]
	gateOpen  atomic.Bool
	join      atomic.Pointer[Join]
	node      atomic.Pointer[Node]
	snapshots atomic.Pointer[Snapshots]
	retiring  atomic.Pointer[Retirement]
	audit     atomic.Pointer[AuditLog]
	roots     atomic.Pointer[RootTokens]
	shipping  atomic.Pointer[Shipping]
	duration  prometheus.Histogram
	drift     *drift
	watched   watched
	expiry    expiry
	runs      atomic.Uint64 // reports of the agent's own
	news      chan struct{} // wakes who pushes
	build     Build
}

// NewExporter gives an exporter that has no report yet.
func NewExporter(build Build) *Exporter {
	e := &Exporter{
		registry: prometheus.NewRegistry(),
		duration: prometheus.NewHistogram(prometheus.HistogramOpts{
			Name:    "hostcheck_run_duration_seconds",
			Help:    "Time that judging the host took.",
			Buckets: []float64{.005, .01, .025, .05, .1, .25, .5, 1, 2.5, 5, 10, 30},
		}),
		drift:   newDrift(),
		watched: newWatched(),
		news:    make(chan struct{}, 1),
		build:   build,
	}
	// The agent's own memory and CPU time are a promise too. Go's runtime metrics are left out:
	// thirty series that nobody alarms on.
	e.registry.MustRegister(e, e.duration, e.drift.total, e.watched.announcements, e.watched.listening, collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}))
	return e
}

// Judged shows a report from now on and counts its run. What does not pass while the host is settling, because its
// server has just been started, has not drifted yet.
func (e *Exporter) Judged(d *report.Document, settling bool) {
	e.duration.Observe(d.Seconds)
	e.drift.judged(d, settling)
	e.report.Store(d)
	e.runs.Add(1)
	e.wake()
}

// Show shows a report that another process made.
func (e *Exporter) Show(d *report.Document) {
	e.drift.judged(d, true)
	e.report.Store(d)
	e.wake()
}

// wake tells who pushes that there is something new. It never waits.
func (e *Exporter) wake() {
	select {
	case e.news <- struct{}{}:
	default:
	}
}

// SetGate says whether the gate is open.
func (e *Exporter) SetGate(open bool) {
	if e.gateOpen.Swap(open) != open {
		e.wake()
	}
}

// GateOpen reports what SetGate said last.
func (e *Exporter) GateOpen() bool { return e.gateOpen.Load() }

// Report gives the report that is shown, or nil.
func (e *Exporter) Report() *report.Document { return e.report.Load() }

// State sets follow OpenMetrics: one series for each state, with the value 1 for the one that
// holds; the label of the state has the family's name. Of a control only the outcome that holds is shown: there
// are two hundred controls and six outcomes, and every series costs each Prometheus of every fleet.
var (
	checkStatus  = desc("hostcheck_check_status", "Outcome of each control.", "check", "hostcheck_check_status")
	checks       = desc("hostcheck_checks", "Number of controls by severity and outcome.", "severity", "status")
	waiverExpiry = desc("hostcheck_waiver_expiry_timestamp_seconds", "When the waiver of a control ends, or has ended.", "check")
	verdict      = desc("hostcheck_verdict", "Verdict of the last run.", "hostcheck_verdict")
	lastRun      = desc("hostcheck_last_run_timestamp_seconds", "When the last run began.")
	stage        = desc("hostcheck_stage", "Stage that the last run judged.", "hostcheck_stage")
	gateOpen     = desc("hostcheck_gate_open", "Whether the gate lets Vault run.")
	baselineInfo = desc("hostcheck_baseline_info", "Baseline that the host is judged against.", "digest")
	imageInfo    = desc("hostcheck_image_info", "Image that the host booted.", "name", "version", "root_hash")
	hostInfo     = desc("hostcheck_host_info", "What the host is: the tier of the hardening guide (metal, vm, container), and systemd's word for it.", "platform", "virtualization", "kernel")
	buildInfo    = desc("hostcheck_build_info", "Build of hostcheck.", "version", "revision", "goversion")

	outcomes   = []control.Outcome{control.Pass, control.Fail, control.Unknown, control.Waived, control.Pending, control.NotApplicable}
	verdicts   = []check.Verdict{check.Pass, check.Fail, check.Unknown}
	stages     = []control.Stage{control.StageBoot, control.StageRun, control.StageMember}
	severities = []control.Severity{control.Must, control.Should}
)

func desc(name, help string, labels ...string) *prometheus.Desc {
	return prometheus.NewDesc(name, help, labels, nil)
}

// Describe is for the registry.
func (e *Exporter) Describe(ch chan<- *prometheus.Desc) {
	for _, d := range []*prometheus.Desc{checkStatus, checks, waiverExpiry, verdict, lastRun, stage, gateOpen, baselineInfo, imageInfo, hostInfo, buildInfo, joinState, joinSince, retireState, nodeInfo, tlsExpiry} {
		ch <- d
	}
	for _, d := range slices.Concat(snapshotDescs, logDescs) {
		ch <- d
	}
}

// Collect is for the registry. All series of one answer come from the same report.
func (e *Exporter) Collect(ch chan<- prometheus.Metric) {
	gauge := func(d *prometheus.Desc, v float64, labels ...string) {
		ch <- prometheus.MustNewConstMetric(d, prometheus.GaugeValue, v, labels...)
	}
	gauge(buildInfo, 1, e.build.Version, e.build.Revision, runtime.Version())
	gauge(gateOpen, truth(e.GateOpen()))
	if n := e.node.Load(); n != nil {
		gauge(nodeInfo, 1, n.ID, n.Cluster, n.Seal)
	}
	if j := e.Join(); j != nil {
		j.collect(ch)
	}
	if s := e.snapshots.Load(); s != nil {
		s.collect(ch)
	}
	if a := e.audit.Load(); a != nil {
		a.collect(ch)
	}
	if r := e.roots.Load(); r != nil {
		r.collect(ch)
	}
	if s := e.shipping.Load(); s != nil {
		s.collect(ch)
	}
	if r := e.retiring.Load(); r != nil {
		r.collect(ch)
	}
	for name, t := range e.expiry.all() {
		gauge(tlsExpiry, seconds(t), name)
	}
	d := e.Report()
	if d == nil {
		return
	}
	gauge(lastRun, seconds(d.Started))
	gauge(baselineInfo, 1, d.Baseline)
	gauge(imageInfo, 1, d.Host.ImageID, d.Host.ImageVersion, d.Host.RootHash)
	gauge(hostInfo, 1, d.Host.Platform, d.Host.Virtualization, d.Host.Kernel)
	for _, v := range verdicts {
		gauge(verdict, truth(d.Verdict == v), string(v))
	}
	for _, s := range stages {
		gauge(stage, truth(d.Stage == s), s.String())
	}
	for _, c := range d.Controls {
		if c.Waiver != nil {
			gauge(waiverExpiry, float64(c.Waiver.Expires.Unix()), c.ID)
		}
		gauge(checkStatus, 1, c.ID, c.Outcome.String())
	}
	count := countControls(d)
	for _, s := range severities {
		for _, o := range outcomes {
			gauge(checks, float64(count[group{s, o}]), string(s), o.String())
		}
	}
}

// group is what controls are counted by.
type group struct {
	severity control.Severity
	outcome  control.Outcome
}

func countControls(d *report.Document) map[group]int {
	count := map[group]int{}
	for _, c := range d.Controls {
		count[group{c.Severity, c.Outcome}]++
	}
	return count
}

func truth(b bool) float64 {
	if b {
		return 1
	}
	return 0
}
