package telemetry_test

import (
	"compress/gzip"
	"context"
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"io"
	"log/slog"
	"math"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	collectorlogs "go.opentelemetry.io/proto/otlp/collector/logs/v1"
	collectormetrics "go.opentelemetry.io/proto/otlp/collector/metrics/v1"
	common "go.opentelemetry.io/proto/otlp/common/v1"
	metrics "go.opentelemetry.io/proto/otlp/metrics/v1"
	"google.golang.org/protobuf/proto"

	"github.com/strongroom/strongroom/internal/node"
	"github.com/strongroom/strongroom/internal/node/nodetest"
	"github.com/strongroom/strongroom/internal/report"
	"github.com/strongroom/strongroom/internal/telemetry"
)

// collector is what a collector's receiver is to a client: it reads the requests with the types of the collector's own services.
type collector struct {
	t       *testing.T
	mu      sync.Mutex
	status  int
	metrics []*collectormetrics.ExportMetricsServiceRequest
	logs    []*collectorlogs.ExportLogsServiceRequest
	refused int
}

func (c *collector) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if r.Method != http.MethodPost || r.Header.Get("Content-Type") != "application/x-protobuf" || r.Header.Get("Content-Encoding") != "gzip" {
		c.t.Errorf("%s %v", r.Method, r.Header)
	}
	if len(r.TLS.PeerCertificates) == 0 {
		c.t.Error("the node shows no certificate")
	}
	unpacked, err := gzip.NewReader(r.Body)
	if err != nil {
		c.t.Error(err)
		return
	}
	body, err := io.ReadAll(unpacked)
	if err != nil {
		c.t.Error(err)
	}
	if c.status != 0 {
		c.refused++
		w.WriteHeader(c.status)
		return
	}
	switch r.URL.Path {
	case "/v1/metrics":
		request := &collectormetrics.ExportMetricsServiceRequest{}
		if err := strict.Unmarshal(body, request); err != nil {
			c.t.Error(err)
		}
		c.metrics = append(c.metrics, request)
	case "/v1/logs":
		request := &collectorlogs.ExportLogsServiceRequest{}
		if err := strict.Unmarshal(body, request); err != nil {
			c.t.Error(err)
		}
		c.logs = append(c.logs, request)
	default:
		c.t.Errorf("path %s", r.URL.Path)
	}
}

var strict = proto.UnmarshalOptions{}

func (c *collector) answers(status int) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.status = status
}

// bodies are the messages of all records that came.
func (c *collector) bodies() (out []string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, request := range c.logs {
		for _, r := range request.ResourceLogs {
			for _, s := range r.ScopeLogs {
				for _, record := range s.LogRecords {
					out = append(out, record.Body.GetStringValue())
				}
			}
		}
	}
	return out
}

// serveOTLP starts a collector that asks for certificates, and gives what a node needs for it.
func serveOTLP(t *testing.T) (*collector, telemetry.OTLP) {
	t.Helper()
	ca := nodetest.NewCA(t, nodetest.Today())
	theirs := pair(t, ca.Credentials("", "127.0.0.1"))
	pool := x509.NewCertPool()
	pool.AppendCertsFromPEM(ca.PEM)
	c := &collector{t: t}
	server := httptest.NewUnstartedServer(c)
	server.TLS = &tls.Config{Certificates: []tls.Certificate{theirs}, ClientAuth: tls.RequireAndVerifyClientCert, ClientCAs: pool}
	server.StartTLS()
	t.Cleanup(server.Close)
	o := shown(t, ca)
	o.Endpoint = server.URL
	return c, o
}

// shown is a node with a certificate of an authority.
func shown(t *testing.T, ca *nodetest.CA) telemetry.OTLP {
	own := pair(t, ca.Credentials("", "127.0.0.1"))
	return telemetry.OTLP{Authorities: ca.PEM, Certificate: func() (*tls.Certificate, error) { return &own, nil }}
}

func pair(t *testing.T, c node.Credentials) tls.Certificate {
	t.Helper()
	certificate, err := tls.X509KeyPair(c.Cert, c.Key.Reveal())
	if err != nil {
		t.Fatal(err)
	}
	return certificate
}

// pushes runs PushOTLP until the test ends.
func pushes(t *testing.T, e *telemetry.Exporter, o telemetry.OTLP, j *telemetry.Journal, log *slog.Logger) {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan struct{})
	go func() { defer close(done); e.PushOTLP(ctx, o, j, log) }()
	t.Cleanup(func() { cancel(); <-done })
}

func until(t *testing.T, what string, so func() bool) {
	t.Helper()
	for end := time.Now().Add(45 * time.Second); !so(); time.Sleep(5 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("not so: %s", what)
		}
	}
}

// Each series of /metrics comes, with its value and labels, and says which node it is of.
func TestOTLPHasWhatMetricsHas(t *testing.T) {
	c, o := serveOTLP(t)
	e := verifiedNode()
	e.SetNode(telemetry.Node{ID: "i-1", Cluster: "prod"})
	e.Judged(document(nil), false)
	j, _ := recorder()
	pushes(t, e, o, j, quiet)
	until(t, "metrics have come", func() bool { c.mu.Lock(); defer c.mu.Unlock(); return len(c.metrics) > 0 })
	c.mu.Lock()
	r := c.metrics[0].ResourceMetrics[0]
	c.mu.Unlock()
	if got := attributes(r.Resource.Attributes); got["service.name"] != "hostcheck" || got["service.instance.id"] != "i-1" || got["service.namespace"] != "prod" || !strings.Contains(r.SchemaUrl, "opentelemetry.io/schemas/") {
		t.Errorf("resource %v, schema %s", got, r.SchemaUrl)
	}
	var sent []string
	for _, m := range r.ScopeMetrics[0].Metrics {
		switch data := m.Data.(type) {
		case *metrics.Metric_Gauge:
			for _, p := range data.Gauge.DataPoints {
				sent = append(sent, series(m.Name, p))
			}
		case *metrics.Metric_Sum:
			if !data.Sum.IsMonotonic || data.Sum.AggregationTemporality != metrics.AggregationTemporality_AGGREGATION_TEMPORALITY_CUMULATIVE {
				t.Errorf("%s is no counter: %v", m.Name, data.Sum)
			}
			for _, p := range data.Sum.DataPoints {
				if p.StartTimeUnixNano == 0 {
					t.Errorf("%s has no start", m.Name)
				}
				sent = append(sent, series(m.Name, p))
			}
		case *metrics.Metric_Histogram:
			p := data.Histogram.DataPoints[0]
			total := uint64(0)
			for _, n := range p.BucketCounts {
				total += n
			}
			if len(p.BucketCounts) != len(p.ExplicitBounds)+1 || total != p.Count || p.Count == 0 {
				t.Errorf("%s: %v", m.Name, p)
			}
		}
	}
	scraped := 0
	for line := range strings.Lines(get(e.Handler(says(anActive), nil, quiet), "GET", "/metrics").Body.String()) {
		name, _, _ := strings.Cut(line, "{")
		if strings.HasPrefix(line, "#") || strings.Contains(name, "process_") || strings.Contains(name, "_duration_seconds") {
			continue
		}
		scraped++
		if !slices.Contains(sent, strings.TrimSpace(line)) {
			t.Errorf("%s has not come", line)
		}
	}
	if scraped < 20 {
		t.Errorf("only %d series were compared", scraped)
	}
}

// series writes a point as Prometheus does.
func series(name string, p *metrics.NumberDataPoint) string {
	var labels []string
	for _, a := range p.Attributes {
		labels = append(labels, fmt.Sprintf("%s=%q", a.Key, a.Value.GetStringValue()))
	}
	value := fmt.Sprint(p.GetAsDouble())
	if v := p.GetAsDouble(); v == math.Trunc(v) && math.Abs(v) < 1e6 {
		value = fmt.Sprintf("%.0f", v)
	}
	if len(labels) == 0 {
		return name + " " + value
	}
	return fmt.Sprintf("%s{%s} %s", name, strings.Join(labels, ","), value)
}

func attributes(list []*common.KeyValue) map[string]string {
	out := map[string]string{}
	for _, a := range list {
		out[a.Key] = a.Value.GetStringValue()
	}
	return out
}

// What the journal is told comes at once, with its fields; a collector that is away gets it when it is back, and one that refuses
// the request does not get it again and again.
func TestOTLPHasWhatTheJournalHas(t *testing.T) {
	c, o := serveOTLP(t)
	log := &nodetest.Log{}
	e := verifiedNode()
	j, _ := recorder()
	pushes(t, e, o, j, slog.New(slog.NewTextHandler(log, nil)))
	until(t, "it listens", func() bool { c.mu.Lock(); defer c.mu.Unlock(); return len(c.metrics) > 0 })
	if err := j.Report(document(nil)); err != nil {
		t.Fatal(err)
	}
	until(t, "the entries have come", func() bool { return len(c.bodies()) == 3 })
	c.mu.Lock()
	record := c.logs[0].ResourceLogs[0].ScopeLogs[0].LogRecords[0]
	c.mu.Unlock()
	if got := attributes(record.Attributes); got["strongroom.control"] != "memory-swap-off" || got["strongroom.outcome"] != "fail" || record.SeverityText != "crit" || record.SeverityNumber < 17 || record.TimeUnixNano == 0 {
		t.Errorf("%v", record)
	}

	c.answers(http.StatusServiceUnavailable)
	if err := j.Report(document(passing)); err != nil {
		t.Fatal(err)
	}
	until(t, "it was refused", func() bool { return strings.Contains(log.String(), "the collector gets nothing") })
	c.answers(0)
	until(t, "they come when the collector is back", func() bool { return len(c.bodies()) == 6 })

	c.answers(http.StatusBadRequest)
	if err := j.Report(document(func(d *report.Document) { passing(d); d.Controls[3].Outcome = 2; d.Verdict = "fail" })); err != nil {
		t.Fatal(err)
	}
	until(t, "the refusal is told", func() bool { return strings.Contains(log.String(), "400") })
}
