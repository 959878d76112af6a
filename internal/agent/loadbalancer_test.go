//go:build slow

package agent

import (
	"bytes"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"fmt"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/strongroom/strongroom/internal/check"
	"github.com/strongroom/strongroom/internal/control"
	"github.com/strongroom/strongroom/internal/node/nodetest"
	"github.com/strongroom/strongroom/internal/server"
	"github.com/strongroom/strongroom/internal/telemetry"
)

// balanced is a node behind a load balancer.
type balanced struct {
	*realServer
	name     string
	exporter *telemetry.Exporter
	port     string // of the agent
}

func (b *balanced) judged(v check.Verdict) {
	b.exporter.Show(verdict(control.StageRun, v))
}

// TestLoadBalancer has a real HAProxy ask real nodes, with the configuration of docs/load-balancer.md.
func TestLoadBalancer(t *testing.T) {
	haproxy, err := exec.LookPath("haproxy")
	if err != nil {
		if haproxy = "/usr/sbin/haproxy"; exec.Command(haproxy, "-v").Run() != nil {
			t.Skip("needs Debian's package haproxy (make deps)")
		}
	}
	ca := nodetest.NewCA(t, nodetest.Today())
	var nodes []*balanced
	for i := range 3 {
		ip, name := fmt.Sprintf("127.0.0.%d", i+1), fmt.Sprintf("vault-%d.example.net", i+1)
		creds := ca.Credentials("", name, "vault.example.net", ip)
		b := &balanced{realServer: startServer(t, "VAULT_BINARY", ip, name, creds), name: name, exporter: telemetry.NewExporter(telemetry.Build{})}
		log := newMachine(t).agent.Log
		material := readMaterialFrom("", nodetest.WriteCredentials(t, creds), log)
		probe := newServerProbe(server.Products[0], b.addr, material, log)
		endpoint := httptest.NewUnstartedServer(b.exporter.Handler(telemetry.Probes{Alive: func() error { return nil }, Server: probe.check}, nil, log))
		endpoint.Listener.Close()
		if endpoint.Listener, err = net.Listen("tcp", ip+":0"); err != nil {
			t.Fatal(err)
		}
		endpoint.TLS = &tls.Config{Certificates: []tls.Certificate{*material.cert}}
		endpoint.StartTLS()
		t.Cleanup(endpoint.Close)
		_, b.port, _ = net.SplitHostPort(endpoint.Listener.Addr().String())
		b.exporter.SetGate(true)
		b.judged(check.Fail)
		nodes = append(nodes, b)
	}
	all, active := balance(t, haproxy, ca, nodes)

	key := nodes[0].initialize()
	nodes[0].put("sys/unseal", map[string]string{"key": key}, nil)
	nodes[0].until("it leads", func() bool { return nodes[0].code("standbyok=false") == 200 })
	expect(t, ca, "nobody is verified", all)
	for _, n := range nodes {
		n.judged(check.Pass)
	}
	expect(t, ca, "two have no key", all, nodes[0].name)
	expect(t, ca, "two have no key", active, nodes[0].name)
	nodes[0].put("sys/storage/raft/autopilot/configuration", map[string]string{"server_stabilization_time": "1s"}, nil)
	for _, n := range nodes[1:] {
		n.put("sys/storage/raft/join", map[string]string{"leader_api_addr": nodes[0].addr, "leader_ca_cert": string(ca.PEM)}, nil)
		n.put("sys/unseal", map[string]string{"key": key}, nil)
	}
	expect(t, ca, "all are members", all, nodes[0].name, nodes[1].name, nodes[2].name)
	expect(t, ca, "one of them leads", active, nodes[0].name)

	nodes[2].judged(check.Fail)
	expect(t, ca, "one is no longer verified", all, nodes[0].name, nodes[1].name)
	nodes[2].judged(check.Pass)
	expect(t, ca, "it is again", all, nodes[0].name, nodes[1].name, nodes[2].name)

	nodes[0].until("all of them vote", func() bool { return nodes[0].voters() == 3 })
	nodes[0].put("sys/step-down", nil, nil)
	var next string
	nodes[1].until("another one leads", func() bool {
		for _, n := range nodes[1:] {
			if n.code("standbyok=false") == 200 {
				next = n.name
			}
		}
		return next != ""
	})
	expect(t, ca, "the lead has changed", active, next)
	expect(t, ca, "the lead has changed", all, nodes[0].name, nodes[1].name, nodes[2].name)
}

// voters counts those that can lead.
func (b *balanced) voters() (n int) {
	b.t.Helper()
	request, err := http.NewRequest(http.MethodGet, b.addr+"/v1/sys/storage/raft/configuration", nil)
	if err != nil {
		b.t.Fatal(err)
	}
	request.Header.Set("X-Vault-Token", b.token)
	answer, err := b.client.Do(request)
	if err != nil {
		b.t.Fatal(err)
	}
	defer answer.Body.Close()
	var out struct {
		Data struct {
			Config struct {
				Servers []struct{ Voter bool }
			}
		}
	}
	if err := json.NewDecoder(answer.Body).Decode(&out); err != nil {
		b.t.Fatal(err)
	}
	for _, s := range out.Data.Config.Servers {
		if s.Voter {
			n++
		}
	}
	return n
}

// balance starts HAProxy as the documentation has it; addresses and pace are the test's.
func balance(t *testing.T, haproxy string, ca *nodetest.CA, nodes []*balanced) (all, active string) {
	t.Helper()
	text, err := os.ReadFile("../../docs/load-balancer.md")
	if err != nil {
		t.Fatal(err)
	}
	_, config, found := strings.Cut(string(text), "```haproxy\n")
	config, _, _ = strings.Cut(config, "```")
	if !found {
		t.Fatal("docs/load-balancer.md has no configuration")
	}
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, "ca.pem"), ca.PEM, 0o600); err != nil {
		t.Fatal(err)
	}
	free := func() string {
		l, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		defer l.Close()
		return l.Addr().String()
	}
	all, active = free(), free()
	change := []string{"bind :8200", "bind " + all, "bind :8210", "bind " + active, "/etc/haproxy/vault-ca.pem", filepath.Join(dir, "ca.pem"), "inter 2s fall 2 rise 2", "inter 200ms fall 1 rise 1"}
	for _, n := range nodes {
		change = append(change, n.name+":8200 port 9810", strings.TrimPrefix(n.addr, "https://")+" port "+n.port)
	}
	path := filepath.Join(dir, "haproxy.cfg")
	if err := os.WriteFile(path, []byte(strings.NewReplacer(change...).Replace(config)), 0o600); err != nil {
		t.Fatal(err)
	}
	var log bytes.Buffer
	cmd := exec.Command(haproxy, "-db", "-f", path)
	cmd.Stdout, cmd.Stderr = &log, &log
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = cmd.Process.Kill()
		_ = cmd.Wait()
		if t.Failed() {
			t.Logf("haproxy:\n%s", log.String())
		}
	})
	return all, active
}

// expect waits until traffic to a frontend comes out at these nodes and at no other: in several rounds in a row.
func expect(t *testing.T, ca *nodetest.CA, when, frontend string, want ...string) {
	t.Helper()
	pool := x509.NewCertPool()
	pool.AppendCertsFromPEM(ca.PEM)
	var got []string
	for deadline, calm := time.Now().Add(90*time.Second), 0; calm < 3; {
		got = nil
		for range 6 {
			client := &http.Client{Timeout: 5 * time.Second, Transport: &http.Transport{DisableKeepAlives: true, TLSClientConfig: &tls.Config{RootCAs: pool, ServerName: "vault.example.net"}}}
			answer, err := client.Get("https://" + frontend + "/v1/sys/seal-status")
			if err != nil {
				continue // nobody is there
			}
			answer.Body.Close()
			got = append(got, answer.TLS.PeerCertificates[0].DNSNames[0])
		}
		slices.Sort(got)
		if got = slices.Compact(got); slices.Equal(got, want) {
			calm++
			continue
		}
		calm = 0
		if time.Now().After(deadline) {
			t.Fatalf("%s: traffic comes out at %v, want %v", when, got, want)
		}
		time.Sleep(100 * time.Millisecond)
	}
}
