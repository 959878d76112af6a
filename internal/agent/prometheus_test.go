package agent

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"golang.org/x/crypto/bcrypt"

	"github.com/strongroom/strongroom/internal/check"
	"github.com/strongroom/strongroom/internal/control"
	"github.com/strongroom/strongroom/internal/node"
	"github.com/strongroom/strongroom/internal/node/nodetest"
	"github.com/strongroom/strongroom/internal/promtest"
	"github.com/strongroom/strongroom/internal/report"
	"github.com/strongroom/strongroom/internal/telemetry"
)

// prometheus is a real one, which scrapes an agent over TLS.
type prometheus struct {
	t    *testing.T
	addr string
}

// startPrometheus scrapes what scrape, an entry of scrape_configs, says.
func startPrometheus(t *testing.T, scrape string) *prometheus {
	t.Helper()
	url := promtest.Start(t, "global:\n  scrape_interval: 1s\nscrape_configs:\n"+scrape, filepath.Join(t.TempDir(), "data"))
	return &prometheus{t, strings.TrimPrefix(url, "http://")}
}

// value asks for an expression that has one value; false: it has none yet.
func (p *prometheus) value(expression string) (string, bool) {
	answer, err := http.Get("http://" + p.addr + "/api/v1/query?query=" + url.QueryEscape(expression))
	if err != nil {
		return "", false // it is still starting
	}
	defer answer.Body.Close()
	var out struct {
		Data struct {
			Result []struct {
				Value [2]any `json:"value"`
			} `json:"result"`
		} `json:"data"`
	}
	if err := json.NewDecoder(answer.Body).Decode(&out); err != nil || len(out.Data.Result) != 1 {
		return "", false
	}
	text, ok := out.Data.Result[0].Value[1].(string)
	return text, ok
}

// wants waits until expressions have values.
func (p *prometheus) wants(values map[string]string) {
	p.t.Helper()
	for expression, want := range values {
		for deadline := time.Now().Add(60 * time.Second); ; time.Sleep(100 * time.Millisecond) {
			got, ok := p.value(expression)
			if ok && got == want {
				break
			}
			if time.Now().After(deadline) {
				p.t.Errorf("Prometheus has %s = %q, want %s", expression, got, want)
				break
			}
		}
	}
}

// TestPrometheusAndStatsD has a real Prometheus scrape an agent over TLS with basic authentication, and a StatsD
// receiver beside it. Both learn the same verdicts.
func TestPrometheusAndStatsD(t *testing.T) {
	ca := nodetest.NewCA(t, nodetest.Today())
	creds := ca.Credentials("", "node.example", "127.0.0.1")
	dir := t.TempDir()
	authority := filepath.Join(dir, "ca.pem")
	if err := os.WriteFile(authority, ca.PEM, 0o600); err != nil {
		t.Fatal(err)
	}
	hash, err := bcrypt.GenerateFromPassword([]byte("s3cret"), bcrypt.MinCost)
	if err != nil {
		t.Fatal(err)
	}
	udp, err := net.ListenPacket("udp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer udp.Close()
	var mu sync.Mutex
	figures := map[string]bool{}
	go func() {
		buf := make([]byte, 1<<16)
		for {
			n, _, err := udp.ReadFrom(buf)
			if err != nil {
				return
			}
			mu.Lock()
			for line := range strings.SplitSeq(string(buf[:n]), "\n") {
				figures[line] = true
			}
			mu.Unlock()
		}
	}()
	sent := func(line string) {
		t.Helper()
		for deadline := time.Now().Add(30 * time.Second); ; time.Sleep(20 * time.Millisecond) {
			mu.Lock()
			ok := figures[line]
			mu.Unlock()
			if ok {
				return
			}
			if time.Now().After(deadline) {
				t.Errorf("StatsD did not hear %s", line)
				return
			}
		}
	}

	m := newMachine(t)
	m.gateSays(check.Pass)
	m.vault.Active = "active"
	m.agent.Interval = 200 * time.Millisecond
	m.agent.Credentials = nodetest.WriteCredentials(t, creds)
	m.agent.ServerAddr = "https://127.0.0.1:1"
	m.agent.Identity = filepath.Join(dir, "node.json")
	content, err := json.Marshal(node.Identity{NodeID: "i-1", ClusterName: "prod", Seal: "transit", Telemetry: node.Telemetry{
		StatsDAddress: udp.LocalAddr().String(), DisableHostname: true, BasicAuth: map[string]string{"prometheus": string(hash)},
	}})
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(m.agent.Identity, content, 0o600); err != nil {
		t.Fatal(err)
	}
	m.agent.ServerMetrics = func(context.Context) (io.ReadCloser, error) {
		return io.NopCloser(strings.NewReader("# TYPE vault_core_active gauge\nvault_core_active 1\n")), nil
	}
	m.agent.Exporter.SetJoin(telemetry.Join{State: "prove", States: []string{"prove", "ready"}, Reason: "the leader's clock is an hour off"})
	var verdicts sync.Mutex
	judge := m.agent.Judge
	m.agent.Judge = func(ctx context.Context, s control.Stage) (*report.Document, error) {
		verdicts.Lock()
		defer verdicts.Unlock()
		return judge(ctx, s)
	}
	addr, _ := run(t, m)

	scrape := fmt.Sprintf(`
  - job_name: %%s
    metrics_path: %%s
    scheme: https
    tls_config: {ca_file: %s}
    basic_auth: {username: prometheus, password: %%s}
    static_configs: [{targets: [%q]}]
`, authority, addr)
	p := startPrometheus(t, fmt.Sprintf(scrape, "strongroom", "/metrics", "s3cret")+fmt.Sprintf(scrape, "server", "/metrics/server", "s3cret")+
		fmt.Sprintf(scrape, "stranger", "/metrics", "guess"))
	p.wants(map[string]string{
		`up{job="strongroom"}`: "1", `up{job="server"}`: "1", `up{job="stranger"}`: "0", `vault_core_active`: "1",
		`hostcheck_verdict{hostcheck_verdict="pass"}`: "1", `hostcheck_verdict{hostcheck_verdict="fail"}`: "0", `hostcheck_gate_open`: "1",
		`hostcheck_join_state{hostcheck_join_state="prove"}`: "1", `hostcheck_join_state{hostcheck_join_state="ready"}`: "0",
		`hostcheck_node_info{node_id="i-1",cluster="prod",seal="transit"}`: "1",
		`hostcheck_checks{severity="must",status="pass"}`:                  "1",
	})
	sent("hostcheck.verdict.pass:1|g")
	sent("hostcheck.gate_open:1|g")
	sent("hostcheck.join_state.prove:1|g")

	verdicts.Lock()
	m.host = check.Fail
	verdicts.Unlock()
	p.wants(map[string]string{
		`hostcheck_verdict{hostcheck_verdict="fail"}`: "1", `hostcheck_verdict{hostcheck_verdict="pass"}`: "0",
		`hostcheck_check_status{check="memory-swap-off",hostcheck_check_status="fail"}`: "1",
		`hostcheck_checks{severity="must",status="fail"}`:                               "1",
	})
	sent("hostcheck.verdict.fail:1|g")
	sent("hostcheck.checks.must.fail:1|g")
}

// TestPromtool has Prometheus' own linter read the page, in the format that it asks for.
func TestPromtool(t *testing.T) {
	promtool, err := exec.LookPath("promtool")
	if err != nil {
		t.Skip("needs Debian's package prometheus (make deps)")
	}
	lint := func(page []byte) (string, error) {
		cmd := exec.Command(promtool, "check", "metrics")
		cmd.Stdin = bytes.NewReader(page)
		out, err := cmd.CombinedOutput()
		return string(out), err
	}
	m := newMachine(t)
	e := m.agent.Exporter
	e.SetGate(true)
	e.SetNode(telemetry.Node{ID: "i-1", Cluster: "prod", Seal: "transit"})
	e.SetTLSExpiry("node", time.Now())
	e.SetJoin(telemetry.Join{State: "ready", States: []string{"ready"}})
	e.Judged(verdict(control.StageMember, check.Pass), false)
	d := verdict(control.StageMember, check.Fail) // drifted
	d.Controls[0].Waiver = &report.Waiver{Owner: "o", Expires: time.Now()}
	e.Judged(d, false)
	w := httptest.NewRecorder()
	e.Handler(telemetry.Probes{}, nil, m.agent.Log).ServeHTTP(w, httptest.NewRequest(http.MethodGet, "/metrics", nil))
	for _, family := range []string{"hostcheck_drift_total", "hostcheck_waiver_expiry_timestamp_seconds", "hostcheck_tls_expiry_timestamp_seconds", "hostcheck_join_state"} {
		if !strings.Contains(w.Body.String(), "# TYPE "+family+" ") {
			t.Errorf("%s is not on the page that is linted", family)
		}
	}
	if out, err := lint(w.Body.Bytes()); err != nil || strings.TrimSpace(out) != "" {
		t.Errorf("%v\n%s", err, out)
	}
	if _, err := lint([]byte("hostcheck_Bad_total 1\n")); err == nil {
		t.Error("promtool finds nothing to complain about")
	}
	var exit *exec.ExitError
	if _, err := lint([]byte("no metrics at all {")); !errors.As(err, &exit) {
		t.Errorf("%v", err)
	}
}
