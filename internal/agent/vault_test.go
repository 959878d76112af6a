package agent

import (
	"bytes"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus/testutil/promlint"

	"github.com/strongroom/strongroom/internal/check"
	"github.com/strongroom/strongroom/internal/control"
	"github.com/strongroom/strongroom/internal/host"
	"github.com/strongroom/strongroom/internal/node"
	"github.com/strongroom/strongroom/internal/node/nodetest"
	"github.com/strongroom/strongroom/internal/report"
	"github.com/strongroom/strongroom/internal/server"
	"github.com/strongroom/strongroom/internal/telemetry"
)

// realServer is a Vault or OpenBao of the host's own, on loopback.
type realServer struct {
	t      *testing.T
	addr   string // "https://127.0.0.1:…"
	client *http.Client
	token  string
}

// startServer starts the program that the environment names. Its port and the next are free.
func startServer(t *testing.T, variable, ip, id string, creds node.Credentials) *realServer {
	t.Helper()
	program := os.Getenv(variable)
	if program == "" {
		t.Skipf("%s does not name a server's program", variable)
	}
	dir := t.TempDir()
	for name, content := range map[string][]byte{"crt": creds.Cert, "key": creds.Key.Reveal(), "ca": creds.CA} {
		if err := os.WriteFile(filepath.Join(dir, name), content, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	l, err := net.Listen("tcp", ip+":0")
	if err != nil {
		t.Fatal(err)
	}
	addr := l.Addr().String()
	l.Close()
	cluster, err := net.Listen("tcp", ip+":0")
	if err != nil {
		t.Fatal(err)
	}
	clusterAddr := cluster.Addr().String()
	cluster.Close()
	config := fmt.Sprintf(`
disable_mlock = true
api_addr = "https://%[1]s"
cluster_addr = "https://%[2]s"
storage "raft" {
  path = %[3]q
  node_id = %[4]q
}
listener "tcp" {
  address = %[1]q
  cluster_address = %[2]q
  tls_cert_file = "%[3]s/crt"
  tls_key_file = "%[3]s/key"
}
telemetry {
  prometheus_retention_time = "24h"
  disable_hostname = true
}
`, addr, clusterAddr, dir, id)
	if err := os.WriteFile(filepath.Join(dir, "server.hcl"), []byte(config), 0o600); err != nil {
		t.Fatal(err)
	}
	var log bytes.Buffer
	cmd := exec.Command(program, "server", "-config", filepath.Join(dir, "server.hcl"))
	cmd.Stdout, cmd.Stderr = &log, &log
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = cmd.Process.Kill()
		_ = cmd.Wait()
		if t.Failed() {
			t.Logf("%s:\n%s", id, log.String())
		}
	})
	roots := x509.NewCertPool()
	roots.AppendCertsFromPEM(creds.CA)
	s := &realServer{t: t, addr: "https://" + addr, client: &http.Client{
		Timeout: 30 * time.Second, Transport: &http.Transport{TLSClientConfig: &tls.Config{RootCAs: roots}},
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}}
	s.until("it answers", func() bool {
		answer, err := s.client.Get(s.addr + "/v1/sys/health")
		if err == nil {
			answer.Body.Close()
		}
		return err == nil
	})
	return s
}

func (s *realServer) until(what string, is func() bool) {
	s.t.Helper()
	for deadline := time.Now().Add(60 * time.Second); !is(); time.Sleep(50 * time.Millisecond) {
		if time.Now().After(deadline) {
			s.t.Fatalf("waited in vain until %s", what)
		}
	}
}

// put sends a request and fails the test when it is refused.
func (s *realServer) put(path string, body any, out any) {
	s.t.Helper()
	content, err := json.Marshal(body)
	if err != nil {
		s.t.Fatal(err)
	}
	request, err := http.NewRequest(http.MethodPut, s.addr+"/v1/"+path, bytes.NewReader(content))
	if err != nil {
		s.t.Fatal(err)
	}
	request.Header.Set("X-Vault-Token", s.token)
	answer, err := s.client.Do(request)
	if err != nil {
		s.t.Fatal(err)
	}
	defer answer.Body.Close()
	said, err := io.ReadAll(answer.Body)
	if err != nil || answer.StatusCode >= 300 {
		s.t.Fatalf("%s: %s: %s %v", path, answer.Status, said, err)
	}
	if out != nil {
		if err := json.Unmarshal(said, out); err != nil {
			s.t.Fatal(err)
		}
	}
}

// code is the server's own answer for its health.
func (s *realServer) code(query string) int {
	s.t.Helper()
	answer, err := s.client.Get(s.addr + "/v1/sys/health?" + query)
	if err != nil {
		s.t.Fatal(err)
	}
	answer.Body.Close()
	return answer.StatusCode
}

// initialize gives the key of the seal.
func (s *realServer) initialize() string {
	s.t.Helper()
	var out struct {
		Keys  []string `json:"keys"`
		Token string   `json:"root_token"`
	}
	s.put("sys/init", map[string]int{"secret_shares": 1, "secret_threshold": 1}, &out)
	s.token = out.Token
	return out.Keys[0]
}

// TestHealthAsVault compares /healthz with what the server itself answers to the same query, in each state into which
// a server without an Enterprise licence can be brought.
func TestHealthAsVault(t *testing.T) {
	for name, variable := range map[string]string{"vault": "VAULT_BINARY", "openbao": "OPENBAO_BINARY"} {
		t.Run(name, func(t *testing.T) {
			creds := nodetest.NewCA(t, nodetest.Today()).Credentials("", "127.0.0.1", "127.0.0.2")
			first := startServer(t, variable, "127.0.0.1", "first", creds)
			m := newMachine(t)
			product, err := server.Find(name)
			if err != nil {
				t.Fatal(err)
			}
			ours := func(s *realServer, query string) int {
				e := m.agent.Exporter
				e.SetGate(true)
				e.Judged(&report.Document{Schema: report.Schema, Stage: control.StageRun, Verdict: check.Pass}, false)
				p := newServerProbe(product, s.addr, readMaterial(nodetest.WriteCredentials(t, creds), m.agent.Log), m.agent.Log)
				w := httptest.NewRecorder()
				e.Handler(telemetry.Probes{Alive: func() error { return nil }, Server: p.check}, nil, m.agent.Log).
					ServeHTTP(w, httptest.NewRequest(http.MethodGet, "/healthz?"+query, nil))
				return w.Code
			}
			compare := func(s *realServer, state string, code int) {
				t.Helper()
				if got := s.code("standbyok=false"); got != code {
					t.Fatalf("the server that should be %s answers %d", state, got)
				}
				for _, query := range []string{
					"standbyok=false", "standbyok=true", "standbyok=0", "standbyok=", "standbycode=205", "standbycode=503", "standbyok=true&standbycode=503",
					"standbyok=false&standbycode=503", "standbyok=true&activecode=204", "standbyok=false&activecode=503", "standbyok=false&sealedcode=403&uninitcode=404",
					"standbycode=301&activecode=302&sealedcode=303&uninitcode=304", "standbyok=true&perfstandbyok=true", "standbyok=maybe", "standbyok=1&activecode=x",
				} {
					if want, got := s.code(query), ours(s, query); got != want {
						t.Errorf("%s: ?%s: the server says %d, /healthz %d", state, query, want, got)
					}
				}
			}
			compare(first, "not initialized", 501)
			key := first.initialize()
			compare(first, "sealed", 503)
			first.put("sys/unseal", map[string]string{"key": key}, nil)
			first.until("it is active", func() bool { return first.code("standbyok=false") == 200 })
			compare(first, "active", 200)
			if got := ours(first, ""); got != 200 {
				t.Errorf("an active node is %d by default", got)
			}

			second := startServer(t, variable, "127.0.0.2", "second", creds)
			second.put("sys/storage/raft/join", map[string]string{"leader_api_addr": first.addr, "leader_ca_cert": string(creds.CA)}, nil)
			second.put("sys/unseal", map[string]string{"key": key}, nil)
			second.until("it is a standby", func() bool { return second.code("standbyok=false") == 429 && second.code("standbyok=true") == 200 })
			compare(second, "a standby", 429)
			if got := ours(second, ""); got != 200 {
				t.Errorf("a standby is %d by default", got)
			}

			if name == "openbao" {
				return // it does not tell whether it was removed
			}
			first.put("sys/storage/raft/remove-peer", map[string]string{"server_id": "second"}, nil)
			second.until("it knows that it was removed", func() bool { return second.code("") == 530 })
			if got := ours(second, "standbyok=true"); got != 530 {
				t.Errorf("a removed node is %d", got)
			}
		})
	}
}

// TestServerMetrics passes the server's own metrics through the agent: those of an active node with the agent's token
// and nothing more than its policy, none of a standby, and a reason where there are none.
func TestServerMetrics(t *testing.T) {
	for name, variable := range map[string]string{"vault": "VAULT_BINARY", "openbao": "OPENBAO_BINARY"} {
		t.Run(name, func(t *testing.T) {
			creds := nodetest.NewCA(t, nodetest.Today()).Credentials("", "127.0.0.1", "127.0.0.2")
			first := startServer(t, variable, "127.0.0.1", "first", creds)
			m := newMachine(t)
			scrape := func(s *realServer, token string) (int, string) {
				material := readMaterial(nodetest.WriteCredentials(t, creds), m.agent.Log)
				api := host.NewAPI(host.APIOptions{Address: s.addr, Authorities: material.cas, ServerName: material.name, Token: node.NewSecret([]byte(token))})
				w := httptest.NewRecorder()
				m.agent.Exporter.Handler(telemetry.Probes{ServerMetrics: api.Metrics}, nil, m.agent.Log).
					ServeHTTP(w, httptest.NewRequest(http.MethodGet, "/metrics/server", nil))
				return w.Code, w.Body.String()
			}
			if code, page := scrape(first, ""); code != 503 || !strings.Contains(page, "no agent token") {
				t.Errorf("without a token: %d %q", code, page)
			}
			if code, page := scrape(first, "hvs.x"); code != 503 || !strings.Contains(page, "sys/metrics") {
				t.Errorf("a server without keys: %d %q", code, page)
			}
			key := first.initialize()
			if code, page := scrape(first, first.token); code != 503 || !strings.Contains(page, "sealed") {
				t.Errorf("sealed: %d %q", code, page)
			}
			first.put("sys/unseal", map[string]string{"key": key}, nil)
			first.until("it is active", func() bool { return first.code("standbyok=false") == 200 })
			if code, page := scrape(first, "hvs.stranger"); code != 503 || !strings.Contains(page, "permission denied") {
				t.Errorf("a stranger's token: %d %q", code, page)
			}

			first.put("sys/policies/acl/strongroom-agent", map[string]string{"policy": `path "sys/metrics" { capabilities = ["read"] }`}, nil)
			var made struct {
				Auth struct {
					Token string `json:"client_token"`
				} `json:"auth"`
			}
			first.put("auth/token/create", map[string]any{"policies": []string{"strongroom-agent"}, "no_default_policy": true, "no_parent": true}, &made)
			code, page := scrape(first, made.Auth.Token)
			if code != 200 || !strings.Contains(page, "# TYPE vault_core_") {
				t.Errorf("active: %d %.300q", code, page)
			}
			if _, err := promlint.New(strings.NewReader(page)).Lint(); err != nil {
				t.Errorf("Prometheus cannot read it: %v", err)
			}

			second := startServer(t, variable, "127.0.0.2", "second", creds)
			second.put("sys/storage/raft/join", map[string]string{"leader_api_addr": first.addr, "leader_ca_cert": string(creds.CA)}, nil)
			second.put("sys/unseal", map[string]string{"key": key}, nil)
			second.until("it is a standby", func() bool { return second.code("standbyok=true") == 200 })
			// OpenBao's standbys have metrics of their own behind the token, Vault's have not.
			want := map[string]string{"vault": "# This node is a standby.", "openbao": "\nvault_raft_state_follower "}[name]
			if code, page := scrape(second, made.Auth.Token); code != 200 || !strings.Contains(page, want) || strings.Contains(page, "vault_raft_state_leader") {
				t.Errorf("standby: %d %.300q", code, page)
			}
		})
	}
}
