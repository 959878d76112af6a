package telemetry

import (
	"bytes"
	"cmp"
	"compress/gzip"
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"strings"
	"sync"
	"time"

	"github.com/coreos/go-systemd/v22/journal"
	common "go.opentelemetry.io/proto/otlp/common/v1"
	logs "go.opentelemetry.io/proto/otlp/logs/v1"
	metrics "go.opentelemetry.io/proto/otlp/metrics/v1"
	resource "go.opentelemetry.io/proto/otlp/resource/v1"
	"google.golang.org/protobuf/proto"
)

// OTLP says where metrics and journal entries are sent, by OTLP over HTTP.
type OTLP struct {
	Endpoint    string // URL without a path: "https://collector.example.net:4318"
	Authorities []byte // PEM: whom the collector's certificate must be of
	// Certificate is the node's own, which is shown to a collector that asks for one.
	Certificate func() (*tls.Certificate, error)
}

// The semantic conventions that the names of the resource's attributes are from.
const semanticConventions = "https://opentelemetry.io/schemas/1.37.0"

const (
	// otlpTime bounds one request.
	otlpTime = 10 * time.Second
	// maxRecords is how many journal entries wait for a collector that is away: the newest. The journal has all of them.
	maxRecords = 512
	// maxAnswer is more than a collector has to say.
	maxAnswer = 64 << 10
)

// records are the journal entries that have not been sent yet.
type records struct {
	mu      sync.Mutex
	waiting []*logs.LogRecord
	news    chan struct{}
}

func (r *records) add(message string, p journal.Priority, fields map[string]string) {
	now := uint64(time.Now().UnixNano())
	number, text := severity(p)
	record := &logs.LogRecord{TimeUnixNano: now, ObservedTimeUnixNano: now, SeverityNumber: number, SeverityText: text, Body: str(message)}
	for name, value := range fields {
		if key, ours := strings.CutPrefix(name, "STRONGROOM_"); ours {
			record.Attributes = append(record.Attributes, attribute("strongroom."+strings.ToLower(key), value))
		}
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	if len(r.waiting) == maxRecords {
		r.waiting = r.waiting[1:]
	}
	r.waiting = append(r.waiting, record)
	select {
	case r.news <- struct{}{}:
	default:
	}
}

// take gives what waits; put puts it back.
func (r *records) take() []*logs.LogRecord {
	r.mu.Lock()
	defer r.mu.Unlock()
	out := r.waiting
	r.waiting = nil
	return out
}

func (r *records) put(back []*logs.LogRecord) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.waiting = append(back, r.waiting...)
	if over := len(r.waiting) - maxRecords; over > 0 {
		r.waiting = r.waiting[over:]
	}
}

// severity gives the number that the OpenTelemetry log data model has for syslog's levels.
func severity(p journal.Priority) (logs.SeverityNumber, string) {
	switch {
	case p <= journal.PriCrit:
		return logs.SeverityNumber_SEVERITY_NUMBER_FATAL, "crit"
	case p == journal.PriErr:
		return logs.SeverityNumber_SEVERITY_NUMBER_ERROR, "err"
	case p == journal.PriWarning:
		return logs.SeverityNumber_SEVERITY_NUMBER_WARN, "warning"
	case p == journal.PriNotice:
		return logs.SeverityNumber_SEVERITY_NUMBER_INFO2, "notice"
	}
	return logs.SeverityNumber_SEVERITY_NUMBER_INFO, "info"
}

// PushOTLP sends the metrics every ten seconds and what the journal is told at once, until the context ends. The names are those of
// /metrics. A collector that is not there costs a line in the log; entries wait for it.
func (e *Exporter) PushOTLP(ctx context.Context, o OTLP, j *Journal, log *slog.Logger) {
	waiting := &records{news: make(chan struct{}, 1)}
	defer j.forward(waiting.add)()
	client := o.client()
	defer client.CloseIdleConnections()
	started := time.Now()
	tick := time.NewTicker(pushInterval)
	defer tick.Stop()
	trouble := ""
	for figures := true; ; {
		err := e.sendRecords(ctx, client, o, waiting)
		if figures {
			err = errors.Join(err, e.sendMetrics(ctx, client, o, started))
		}
		if ctx.Err() != nil {
			return
		}
		text := ""
		if err != nil {
			text = err.Error()
		}
		if text != trouble && text != "" {
			log.Warn("the collector gets nothing", "endpoint", o.Endpoint, "error", err)
		}
		trouble = text
		news := waiting.news
		if err != nil {
			news = nil // not at once again
		}
		select {
		case <-ctx.Done():
			return
		case <-news:
			figures = false
		case <-tick.C:
			figures = true
		}
	}
}

func (o OTLP) client() *http.Client {
	pool := x509.NewCertPool()
	pool.AppendCertsFromPEM(o.Authorities)
	config := &tls.Config{RootCAs: pool, MinVersion: tls.VersionTLS12}
	if o.Certificate != nil {
		config.GetClientCertificate = func(*tls.CertificateRequestInfo) (*tls.Certificate, error) { return o.Certificate() }
	}
	return &http.Client{Timeout: otlpTime, Transport: &http.Transport{TLSClientConfig: config, MaxIdleConns: 1, IdleConnTimeout: time.Minute},
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}
}

// describe is what OpenTelemetry calls the resource: this agent on this node.
func (e *Exporter) describe() *resource.Resource {
	r := &resource.Resource{Attributes: []*common.KeyValue{attribute("service.name", "hostcheck"), attribute("service.version", cmp.Or(e.build.Version, "unknown"))}}
	if n := e.node.Load(); n != nil {
		r.Attributes = append(r.Attributes, attribute("service.instance.id", n.ID), attribute("service.namespace", n.Cluster))
	}
	return r
}

func (e *Exporter) sendRecords(ctx context.Context, client *http.Client, o OTLP, waiting *records) error {
	batch := waiting.take()
	if len(batch) == 0 {
		return nil
	}
	err := post(ctx, client, o.Endpoint+"/v1/logs", &logs.LogsData{ResourceLogs: []*logs.ResourceLogs{{
		Resource: e.describe(), SchemaUrl: semanticConventions,
		ScopeLogs: []*logs.ScopeLogs{{Scope: e.scope(), LogRecords: batch}},
	}}})
	if again := (*unavailable)(nil); errors.As(err, &again) {
		waiting.put(batch)
	}
	return err
}

func (e *Exporter) sendMetrics(ctx context.Context, client *http.Client, o OTLP, started time.Time) error {
	families, err := e.registry.Gather()
	if err != nil {
		return err
	}
	return post(ctx, client, o.Endpoint+"/v1/metrics", &metrics.MetricsData{ResourceMetrics: []*metrics.ResourceMetrics{{
		Resource: e.describe(), SchemaUrl: semanticConventions,
		ScopeMetrics: []*metrics.ScopeMetrics{{Scope: e.scope(), Metrics: toOTLP(families, started, time.Now())}},
	}}})
}

func (e *Exporter) scope() *common.InstrumentationScope {
	return &common.InstrumentationScope{Name: "github.com/strongroom/strongroom", Version: e.build.Version}
}

// unavailable is an error that may pass: the specification has the client try again.
type unavailable struct{ error }

func (u *unavailable) Unwrap() error { return u.error }

// post sends one request. MetricsData and LogsData have the same bytes as the requests of the collector's services, whose Go types would
// bring gRPC with them.
func post(ctx context.Context, client *http.Client, url string, m proto.Message) error {
	content, err := proto.Marshal(m)
	if err != nil {
		return err
	}
	var body bytes.Buffer
	packer := gzip.NewWriter(&body)
	if _, err = packer.Write(content); err == nil {
		err = packer.Close()
	}
	if err != nil {
		return err
	}
	request, err := http.NewRequestWithContext(ctx, http.MethodPost, url, &body)
	if err != nil {
		return err
	}
	request.Header.Set("Content-Type", "application/x-protobuf")
	request.Header.Set("Content-Encoding", "gzip")
	request.Header.Set("User-Agent", "hostcheck")
	answer, err := client.Do(request)
	if err != nil {
		return &unavailable{err}
	}
	defer answer.Body.Close()
	_, _ = io.Copy(io.Discard, io.LimitReader(answer.Body, maxAnswer))
	switch answer.StatusCode {
	case http.StatusOK:
		return nil
	case http.StatusTooManyRequests, http.StatusBadGateway, http.StatusServiceUnavailable, http.StatusGatewayTimeout:
		return &unavailable{fmt.Errorf("POST %s: %s", url, answer.Status)}
	}
	return fmt.Errorf("POST %s: %s", url, answer.Status)
}

func attribute(key, value string) *common.KeyValue {
	return &common.KeyValue{Key: key, Value: str(value)}
}

func str(s string) *common.AnyValue {
	return &common.AnyValue{Value: &common.AnyValue_StringValue{StringValue: strings.ToValidUTF8(s, "?")}}
}
