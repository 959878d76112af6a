package agent

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/strongroom/strongroom/internal/check"
	"github.com/strongroom/strongroom/internal/control"
	"github.com/strongroom/strongroom/internal/node"
	"github.com/strongroom/strongroom/internal/node/nodetest"
	"github.com/strongroom/strongroom/internal/report"
	"github.com/strongroom/strongroom/internal/telemetry"
)

// health is a Vault that knows only sys/health.
type health struct {
	mu    sync.Mutex
	state map[string]any
	asked int
}

func (h *health) set(state map[string]any) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.state = state
}

func (h *health) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.asked++
	if r.URL.Path != "/v1/sys/health" || r.Header.Get("X-Vault-Token") != "" {
		http.Error(w, "unexpected", http.StatusBadRequest)
		return
	}
	_ = json.NewEncoder(w).Encode(h.state)
}

// serve starts a Vault with a node's certificate and gives its address.
func serve(t *testing.T, h http.Handler, creds node.Credentials) string {
	t.Helper()
	cert, err := tls.X509KeyPair(creds.Cert, creds.Key.Reveal())
	if err != nil {
		t.Fatal(err)
	}
	server := httptest.NewUnstartedServer(h)
	server.TLS = &tls.Config{Certificates: []tls.Certificate{cert}}
	server.StartTLS()
	t.Cleanup(server.Close)
	return server.URL
}

func TestServerProbe(t *testing.T) {
	ca := nodetest.NewCA(t, nodetest.Today())
	creds := ca.Credentials("", "*.example.net") // loopback is not in the certificate
	vault := &health{}
	m := newMachine(t)
	probe := func(addr string, creds node.Credentials) *serverProbe {
		return newServerProbe(m.agent.Server, addr, readMaterial(nodetest.WriteCredentials(t, creds), m.agent.Log), m.agent.Log)
	}
	addr := serve(t, vault, creds)
	vault.set(map[string]any{"initialized": true, "sealed": false, "standby": true})
	p := probe(addr, creds)
	for range 5 {
		if h, err := p.check(context.Background()); err != nil || h != (telemetry.Health{Initialized: true, Standby: true}) {
			t.Error(h, err)
		}
	}
	if vault.asked != 1 {
		t.Errorf("Vault was asked %d times in a moment", vault.asked)
	}

	stranger := nodetest.NewCA(t, nodetest.Today()).Credentials("", "*.example.net")
	if _, err := probe(serve(t, vault, stranger), creds).check(context.Background()); err == nil || err.Error() != "Vault does not answer" {
		t.Errorf("a Vault with a stranger's certificate is believed: %v", err)
	}
	if _, err := probe(addr, node.Credentials{}).check(context.Background()); err == nil {
		t.Error("a Vault is believed without a CA")
	}
	if log := m.log.String(); !strings.Contains(log, "cannot ask Vault for its health") {
		t.Errorf("the reason is not in the log:\n%s", log)
	}
}

func TestDecodeHealth(t *testing.T) {
	for body, want := range map[string]telemetry.Health{
		`{"initialized":true,"sealed":false,"standby":false}`:                                                              {Initialized: true},
		`{"initialized":false,"sealed":true,"standby":true}`:                                                               {Sealed: true, Standby: true},
		`{"initialized":true,"sealed":false,"standby":true,"performance_standby":true}`:                                    {Initialized: true, Standby: true, PerformanceStandby: true},
		`{"initialized":true,"sealed":false,"standby":false,"replication_dr_mode":"secondary"}`:                            {Initialized: true, DRSecondary: true},
		`{"initialized":true,"sealed":false,"standby":false,"replication_dr_mode":"primary","removed_from_cluster":false}`: {Initialized: true},
		`{"initialized":true,"sealed":true,"standby":true,"removed_from_cluster":true}`:                                    {Initialized: true, Sealed: true, Standby: true, Removed: true},
		`{"initialized":true,"sealed":false,"standby":true,"removed_from_cluster":true}`:                                   {Initialized: true, Standby: true, Removed: true},
		`{"initialized":true,"sealed":false,"standby":true,"removed_from_cluster":true,"ha_connection_healthy":false}`:     {Initialized: true, Standby: true, Removed: true, Cut: true},
		// It serves: it was slow to replay the log that it joined with.
		`{"initialized":true,"sealed":false,"standby":true,"removed_from_cluster":true,"ha_connection_healthy":true}`: {Initialized: true, Standby: true},
		`{"initialized":true,"sealed":false,"standby":false,"removed_from_cluster":true}`:                             {Initialized: true},
		`{"initialized":true,"sealed":false,"standby":true,"ha_connection_healthy":false}`:                            {Initialized: true, Standby: true, Cut: true},
		`{"initialized":true,"sealed":false,"standby":true,"ha_connection_healthy":true}`:                             {Initialized: true, Standby: true},
	} {
		if got, err := decodeHealth([]byte(body)); err != nil || got != want {
			t.Errorf("%s: %+v, %v", body, got, err)
		}
	}
	for _, body := range []string{"", "ok", "null", "[]", "{}", `{"initialized":true,"sealed":false}`, `{"initialized":"true","sealed":false,"standby":false}`} {
		if got, err := decodeHealth([]byte(body)); err == nil {
			t.Errorf("%q is understood: %+v", body, got)
		}
	}
}

func FuzzDecodeHealth(f *testing.F) {
	f.Add([]byte(`{"initialized":true,"sealed":false,"standby":true,"ha_connection_healthy":false,"replication_dr_mode":"secondary"}`))
	f.Add([]byte(`{"initialized":true}`))
	f.Add([]byte("null"))
	f.Fuzz(func(t *testing.T, body []byte) {
		if h, err := decodeHealth(body); err != nil && h != (telemetry.Health{}) {
			t.Fatalf("an answer that is not understood says %+v", h)
		}
	})
}

// run starts an agent as `hostcheck run` does, and gives its address.
func run(t *testing.T, m *machine) (addr string, stop func() error) {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	addr = l.Addr().String()
	l.Close()
	o := m.agent.Options
	o.Listen = addr
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- Run(ctx, o) }()
	stop = sync.OnceValue(func() error {
		cancel()
		select {
		case err := <-done:
			return err
		case <-time.After(10 * time.Second):
			t.Error("the agent does not stop")
			return nil
		}
	})
	t.Cleanup(func() { _ = stop() })
	return addr, stop
}

// fetch asks until something answers.
func fetch(t *testing.T, client *http.Client, url string) (*http.Response, string) {
	t.Helper()
	for deadline := time.Now().Add(10 * time.Second); ; time.Sleep(20 * time.Millisecond) {
		resp, err := client.Get(url)
		if err == nil && resp.StatusCode == http.StatusServiceUnavailable && strings.HasSuffix(url, "/report") && time.Now().Before(deadline) {
			resp.Body.Close() // not judged yet
			continue
		}
		if err == nil {
			defer resp.Body.Close()
			body, err := io.ReadAll(resp.Body)
			if err != nil {
				t.Fatal(err)
			}
			return resp, string(body)
		}
		if time.Now().After(deadline) {
			t.Fatal(err)
		}
	}
}

// The reason leaves a node whose Vault is kept down, over TLS.
func TestRunServesTheReason(t *testing.T) {
	ca := nodetest.NewCA(t, nodetest.Today())
	creds := ca.Credentials("", "node.example", "127.0.0.1")
	m := newMachine(t)
	m.host = check.Fail
	m.agent.Credentials = nodetest.WriteCredentials(t, creds)
	m.agent.ServerAddr = "https://127.0.0.1:1"
	m.agent.Watchdog = 60 * time.Millisecond
	var mu sync.Mutex
	var states []string
	m.agent.Notify = func(s string) error {
		mu.Lock()
		defer mu.Unlock()
		states = append(states, s)
		return nil
	}
	addr, stop := run(t, m)

	roots := x509.NewCertPool()
	roots.AppendCertsFromPEM(ca.PEM)
	client := &http.Client{Transport: &http.Transport{TLSClientConfig: &tls.Config{RootCAs: roots}}}
	resp, body := fetch(t, client, "https://"+addr+"/report")
	d, err := report.ReadJSON(strings.NewReader(body))
	if err != nil || d.Verdict != check.Fail || d.Stage != control.StageBoot {
		t.Errorf("%s: %v, %s", resp.Status, err, body)
	}
	if resp, body := fetch(t, client, "https://"+addr+"/livez"); resp.StatusCode != 503 || !strings.Contains(body, "gate is closed") {
		t.Errorf("/livez: %s %q", resp.Status, body)
	}
	time.Sleep(100 * time.Millisecond)
	if err := stop(); err != nil {
		t.Errorf("stopping: %v", err)
	}
	mu.Lock()
	defer mu.Unlock()
	if len(states) < 4 || states[0] != "READY=1" || states[len(states)-1] != "STOPPING=1" ||
		!slices.Contains(states, "WATCHDOG=1") || !slices.Contains(states, "WATCHDOG=1\nSTATUS=gate closed; stage boot: fail, 0 of 1 controls pass") {
		t.Errorf("systemd was told %q", states)
	}
	if old, err := tls.Dial("tcp", addr, &tls.Config{RootCAs: roots}); err == nil {
		old.Close()
		t.Error("the port is still open")
	}
}

func TestRunWithoutCertificate(t *testing.T) {
	ca := nodetest.NewCA(t, nodetest.Today())
	good, other := ca.Credentials("", "a.example"), ca.Credentials("", "a.example")
	mixed := good
	mixed.Key = other.Key
	for name, creds := range map[string]node.Credentials{"nothing": {}, "key of another": mixed} {
		t.Run(name, func(t *testing.T) {
			m := newMachine(t)
			m.agent.Credentials = nodetest.WriteCredentials(t, creds)
			m.agent.ServerAddr = "https://127.0.0.1:1"
			addr, stop := run(t, m)
			resp, body := fetch(t, http.DefaultClient, "http://"+addr+"/report")
			if resp.StatusCode != http.StatusOK || !strings.Contains(body, report.Schema) {
				t.Errorf("%s: %s", resp.Status, body)
			}
			if err := stop(); err != nil {
				t.Error(err)
			}
			if log := m.log.String(); !strings.Contains(log, "serving plain HTTP") || strings.Contains(log, "PRIVATE KEY") {
				t.Errorf("log:\n%s", log)
			}
		})
	}
}

func TestRunNeedsItsPort(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	m := newMachine(t)
	o := m.agent.Options
	o.Listen = l.Addr().String()
	if err := Run(context.Background(), o); err == nil || !strings.Contains(err.Error(), "cannot serve telemetry") {
		t.Errorf("got %v", err)
	}
}

// /livez must say no when the loop hangs, even though the server answers.
func TestAlive(t *testing.T) {
	m := newMachine(t)
	m.agent.lastTick.Store(time.Now().UnixNano())
	if err := m.agent.alive(); err != nil {
		t.Error(err)
	}
	m.agent.lastTick.Store(time.Now().Add(-time.Hour).UnixNano())
	if err := m.agent.alive(); err == nil {
		t.Error("an hour of silence is life")
	}
}
