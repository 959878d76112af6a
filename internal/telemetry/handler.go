package telemetry

import (
	"context"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"time"

	"github.com/prometheus/client_golang/prometheus/promhttp"

	"github.com/strongroom/strongroom/internal/attest"
	"github.com/strongroom/strongroom/internal/check"
	"github.com/strongroom/strongroom/internal/report"
)

// Probes are the questions that only the agent can answer. An error is the reason for a no.
type Probes struct {
	Alive  func() error                          // the agent's loop turns
	Server func(context.Context) (Health, error) // what the local server says about itself
	// ServerMetrics gives the local server's own metrics in Prometheus' text format, of bounded size; the reader closes
	// them. Nil: the agent has no way to ask.
	ServerMetrics func(context.Context) (io.ReadCloser, error)
	// Attest has the TPM vouch for a report, for somebody who has sent a nonce. Nil: nobody answers.
	Attest func(ctx context.Context, nonce attest.Hex, report []byte) ([]byte, error)
}

// Handler serves what the exporter shows:
//
//	/metrics         for Prometheus
//	/metrics/server  the local server's own metrics, for Prometheus
//	/report          the report as JSON
//	/attest          the same report with the TPM's quote over it and over ?nonce=
//	/livez           200 while the agent works and the gate is open (autoscaling health)
//	/healthz         200 while this node may take traffic (load balancers), with the parameters of Vault's sys/health
//
// Access decides about the first four.
// Nothing here is secret, and nothing can be changed: GET and HEAD only, no body.
func (e *Exporter) Handler(probes Probes, access *Access, log *slog.Logger) http.Handler {
	mux := http.NewServeMux()
	mux.Handle("GET /metrics", access.guard(promhttp.HandlerFor(e.registry, promhttp.HandlerOpts{
		ErrorLog:            slog.NewLogLogger(log.Handler(), slog.LevelError),
		EnableOpenMetrics:   true,
		MaxRequestsInFlight: 4,
		Timeout:             5 * time.Second,
		// A page has a few KiB; a zstd encoder keeps megabytes.
		DisableCompression: true,
	})))
	mux.Handle("GET /metrics/server", access.guard(serverMetrics(probes.ServerMetrics, log)))
	mux.Handle("GET /report", access.guard(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		d := e.Report()
		if d == nil {
			http.Error(w, "the host has not been judged yet", http.StatusServiceUnavailable)
			return
		}
		w.Header().Set("Content-Type", "application/json")
		if err := report.WriteJSON(w, e.withJoin(d)); err != nil {
			log.Debug("cannot send report", "error", err) // the reader went away
		}
	})))
	mux.Handle("GET /attest", access.guard(e.attestations(probes.Attest, log)))
	mux.HandleFunc("GET /livez", func(w http.ResponseWriter, _ *http.Request) {
		if err := e.live(probes); err != nil {
			http.Error(w, err.Error(), http.StatusServiceUnavailable)
			return
		}
		answer(w, http.StatusOK, "ok")
	})
	mux.HandleFunc("GET /healthz", func(w http.ResponseWriter, r *http.Request) { e.serveHealth(w, r, probes) })
	return http.MaxBytesHandler(secured(mux), 0)
}

func (e *Exporter) live(probes Probes) error {
	if err := probes.Alive(); err != nil {
		return err
	}
	if !e.GateOpen() {
		return fmt.Errorf("the gate is closed")
	}
	return nil
}

// serveHealth answers with the code that the query asks for in the server's state, but never with a success for a node
// that is not verified or not a member.
func (e *Exporter) serveHealth(w http.ResponseWriter, r *http.Request, probes Probes) {
	query, err := parseHealthQuery(r.URL.RawQuery)
	if err != nil {
		http.Error(w, err.Error(), http.StatusBadRequest)
		return
	}
	if err := e.verified(probes); err != nil {
		http.Error(w, err.Error(), http.StatusServiceUnavailable)
		return
	}
	health, err := probes.Server(r.Context())
	if err != nil {
		http.Error(w, err.Error(), http.StatusServiceUnavailable)
		return
	}
	state := health.state()
	err = e.joined()
	switch {
	case err == nil:
		answer(w, query.code(state), state.name)
	case state.servable:
		http.Error(w, err.Error(), http.StatusServiceUnavailable)
	default:
		// The reason of a refusal has hardly another way off the node: nobody can log in.
		answer(w, query.code(state), state.name+"; "+err.Error())
	}
}

func (e *Exporter) verified(probes Probes) error {
	if err := e.live(probes); err != nil {
		return err
	}
	if d := e.Report(); d == nil || d.Verdict != check.Pass {
		return fmt.Errorf("the host does not pass")
	}
	return nil
}

// withJoin is the report with where the join is now: it goes its way beside the judgements.
func (e *Exporter) withJoin(d *report.Document) *report.Document {
	j := e.Join()
	if j == nil {
		return d
	}
	shown := *d
	shown.Join = &report.Join{State: j.State, Since: j.Since.UTC(), Reason: j.Reason, Hint: j.Hint}
	return &shown
}

// joined gives the reason why this node is not a member. Where nobody looks after the join, the server's word is enough.
func (e *Exporter) joined() error {
	j := e.Join()
	switch {
	case j == nil || j.State == JoinReady:
		return nil
	case j.Reason != "":
		return fmt.Errorf("the node is not ready: %s: %s", j.State, j.Reason)
	}
	return fmt.Errorf("the node is not ready: %s", j.State)
}

func answer(w http.ResponseWriter, code int, text string) {
	w.Header().Set("Content-Type", "text/plain; charset=utf-8")
	w.WriteHeader(code)
	_, _ = io.WriteString(w, text+"\n")
}

// secured adds the headers that keep a browser from making anything of an answer.
func secured(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		h := w.Header()
		h.Set("Cache-Control", "no-store")
		h.Set("Content-Security-Policy", "default-src 'none'; frame-ancestors 'none'")
		h.Set("Referrer-Policy", "no-referrer")
		h.Set("X-Content-Type-Options", "nosniff")
		if r.TLS != nil {
			h.Set("Strict-Transport-Security", "max-age=31536000")
		}
		next.ServeHTTP(w, r)
	})
}
