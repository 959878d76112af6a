package telemetry_test

import (
	"context"
	"errors"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus/testutil/promlint"

	"github.com/strongroom/strongroom/internal/report"
	"github.com/strongroom/strongroom/internal/telemetry"
)

var quiet = slog.New(slog.DiscardHandler)

func yes() error { return nil }
func ready(context.Context) (telemetry.Health, error) {
	return telemetry.Health{Initialized: true}, nil
}
func get(h http.Handler, method, path string, header ...string) *httptest.ResponseRecorder {
	w := httptest.NewRecorder()
	r := httptest.NewRequest(method, path, nil)
	for i := 0; i+1 < len(header); i += 2 {
		r.Header.Set(header[i], header[i+1])
	}
	h.ServeHTTP(w, r)
	return w
}

func TestMetrics(t *testing.T) {
	e := telemetry.NewExporter(telemetry.Build{Version: "v1", Revision: "c0ffee"})
	h := e.Handler(telemetry.Probes{Alive: yes, Server: ready}, nil, quiet)

	before := get(h, "GET", "/metrics").Body.String()
	if !strings.Contains(before, "hostcheck_gate_open 0\n") || strings.Contains(before, "hostcheck_check_status") {
		t.Errorf("before any report:\n%s", before)
	}

	e.Judged(document(func(d *report.Document) {
		d.Controls[2].Waiver = &report.Waiver{Reason: "r", Owner: "o", Expires: time.Unix(1_800_000_000, 0).UTC()}
	}), false)
	e.SetGate(true)
	page := get(h, "GET", "/metrics").Body.String()
	for _, want := range []string{
		`hostcheck_check_status{check="memory-swap-off",hostcheck_check_status="fail"} 1`,
		`hostcheck_check_status{check="time-chrony",hostcheck_check_status="unknown"} 1`,
		`hostcheck_check_status{check="vault-mlock",hostcheck_check_status="pending"} 1`,
		`hostcheck_checks{severity="must",status="fail"} 1`,
		`hostcheck_checks{severity="should",status="fail"} 0`,
		`hostcheck_waiver_expiry_timestamp_seconds{check="ssh-absent"} 1.8e+09`,
		`hostcheck_verdict{hostcheck_verdict="fail"} 1`,
		`hostcheck_verdict{hostcheck_verdict="pass"} 0`,
		`hostcheck_stage{hostcheck_stage="boot"} 1`,
		`hostcheck_gate_open 1`,
		`hostcheck_last_run_timestamp_seconds 1.7000000005e+09`,
		`hostcheck_run_duration_seconds_bucket{le="0.025"} 1`,
		`hostcheck_run_duration_seconds_count 1`,
		`hostcheck_baseline_info{digest="b00b5"} 1`,
		`hostcheck_image_info{name="strongroom",root_hash="abc",version="1.2"} 1`,
		`process_resident_memory_bytes`,
	} {
		if !strings.Contains(page, want) {
			t.Errorf("the page lacks %s", want)
		}
	}
	if !strings.Contains(page, `hostcheck_build_info{goversion="go1`) || !strings.Contains(page, `revision="c0ffee",version="v1"} 1`) {
		t.Error("the build is missing")
	}
	problems, err := promlint.New(strings.NewReader(page)).Lint()
	if err != nil {
		t.Fatal(err)
	}
	for _, p := range problems {
		t.Errorf("promlint: %s: %s", p.Metric, p.Text)
	}

	// Of each state set exactly one series holds.
	sum := map[string]int{}
	for line := range strings.Lines(page) {
		if strings.HasPrefix(line, "hostcheck_check_status{") && strings.HasSuffix(line, " 1\n") {
			sum[line[:strings.Index(line, ",")]]++
		}
	}
	if len(sum) != 4 {
		t.Errorf("%d controls have a state, want 4", len(sum))
	}
	for control, n := range sum {
		if n != 1 {
			t.Errorf("%s has %d states", control, n)
		}
	}

	open := get(h, "GET", "/metrics", "Accept", "application/openmetrics-text; version=1.0.0")
	if !strings.HasPrefix(open.Header().Get("Content-Type"), "application/openmetrics-text") || !strings.HasSuffix(open.Body.String(), "# EOF\n") {
		t.Error("OpenMetrics is not spoken")
	}
}

func TestReport(t *testing.T) {
	e := telemetry.NewExporter(telemetry.Build{})
	h := e.Handler(telemetry.Probes{Alive: yes, Server: ready}, nil, quiet)
	if w := get(h, "GET", "/report"); w.Code != http.StatusServiceUnavailable {
		t.Errorf("before any report: %d", w.Code)
	}
	e.Show(document(nil))
	w := get(h, "GET", "/report")
	d, err := report.ReadJSON(w.Body)
	if err != nil || w.Code != http.StatusOK || d.Baseline != "b00b5" || len(d.Controls) != 4 {
		t.Errorf("status %d, error %v, document %+v", w.Code, err, d)
	}
	if strings.Contains(get(h, "GET", "/metrics").Body.String(), "hostcheck_run_duration_seconds_count 1") {
		t.Error("a report of another process was counted as a run")
	}
}

func TestProbes(t *testing.T) {
	no := errors.New("no")
	cases := map[string]struct {
		alive, vault  error
		gate, verdict bool
		livez, health int
	}{
		"all well":     {gate: true, verdict: true, livez: 200, health: 200},
		"gate closed":  {verdict: true, livez: 503, health: 503},
		"loop stands":  {alive: no, gate: true, verdict: true, livez: 503, health: 503},
		"no answer":    {vault: no, gate: true, verdict: true, livez: 200, health: 503},
		"host drifted": {gate: true, livez: 200, health: 503},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			e := telemetry.NewExporter(telemetry.Build{})
			e.SetGate(c.gate)
			if c.verdict {
				e.Judged(document(passing), false)
			} else {
				e.Judged(document(nil), false)
			}
			h := e.Handler(telemetry.Probes{
				Alive: func() error { return c.alive },
				Server: func(context.Context) (telemetry.Health, error) {
					return telemetry.Health{Initialized: true}, c.vault
				},
			}, nil, quiet)
			if w := get(h, "GET", "/livez"); w.Code != c.livez {
				t.Errorf("/livez says %d %q, want %d", w.Code, w.Body, c.livez)
			}
			if w := get(h, "GET", "/healthz"); w.Code != c.health {
				t.Errorf("/healthz says %d %q, want %d", w.Code, w.Body, c.health)
			}
		})
	}

	e := telemetry.NewExporter(telemetry.Build{})
	e.SetGate(true)
	if w := get(e.Handler(telemetry.Probes{Alive: yes, Server: ready}, nil, quiet), "GET", "/healthz"); w.Code != 503 {
		t.Errorf("a host that was never judged is healthy: %d", w.Code)
	}
}

func TestNothingElseIsServed(t *testing.T) {
	e := telemetry.NewExporter(telemetry.Build{})
	e.Show(document(nil))
	h := e.Handler(telemetry.Probes{Alive: yes, Server: ready}, nil, quiet)
	for _, path := range []string{"/metrics", "/report", "/livez", "/healthz"} {
		for _, method := range []string{"POST", "PUT", "DELETE", "PATCH", "OPTIONS", "TRACE", "CONNECT"} {
			if w := get(h, method, path); w.Code != http.StatusMethodNotAllowed {
				t.Errorf("%s %s: %d", method, path, w.Code)
			}
		}
		if w := get(h, "HEAD", path); w.Code == http.StatusMethodNotAllowed {
			t.Errorf("HEAD %s: %d", path, w.Code)
		}
	}
	for _, path := range []string{"/", "/report/", "/reports", "/debug/pprof/"} {
		if w := get(h, "GET", path); w.Code != http.StatusNotFound {
			t.Errorf("GET %s: %d", path, w.Code)
		}
	}
}

func TestSecurityHeaders(t *testing.T) {
	e := telemetry.NewExporter(telemetry.Build{})
	server := httptest.NewUnstartedServer(nil)
	server.Config = telemetry.NewServer(e.Handler(telemetry.Probes{Alive: yes, Server: ready}, nil, quiet), quiet)
	server.StartTLS()
	defer server.Close()
	resp, err := server.Client().Get(server.URL + "/livez")
	if err != nil {
		t.Fatal(err)
	}
	_, _ = io.Copy(io.Discard, resp.Body)
	resp.Body.Close()
	for name, want := range map[string]string{
		"Strict-Transport-Security": "max-age=31536000", "X-Content-Type-Options": "nosniff",
		"Cache-Control": "no-store", "Content-Security-Policy": "default-src 'none'; frame-ancestors 'none'",
	} {
		if got := resp.Header.Get(name); got != want {
			t.Errorf("%s is %q, want %q", name, got, want)
		}
	}
	if resp.ProtoMajor != 1 {
		t.Errorf("protocol %s", resp.Proto)
	}
	if get(e.Handler(telemetry.Probes{Alive: yes, Server: ready}, nil, quiet), "GET", "/livez").Header().Get("Strict-Transport-Security") != "" {
		t.Error("a promise of TLS was made over plain HTTP")
	}
}
