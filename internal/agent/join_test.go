package agent

import (
	"context"
	"encoding/json"
	"errors"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/strongroom/strongroom/internal/check"
	"github.com/strongroom/strongroom/internal/cluster"
	"github.com/strongroom/strongroom/internal/node"
	"github.com/strongroom/strongroom/internal/node/nodetest"
)

// joined answers as a server that has joined long ago.
func joined(w http.ResponseWriter, r *http.Request) {
	answer := map[string]any{"initialized": true, "standby": true, "type": "transit", "ha_enabled": true, "leader_address": "https://vault-2.example.net:8200"}
	if r.URL.Path == "/v1/sys/health" {
		answer["server_time_utc"] = time.Now().Unix()
	}
	_ = json.NewEncoder(w).Encode(answer)
}

// identityFile is what configure leaves of a node.hcl with this join block.
func identityFile(t *testing.T, ca *nodetest.CA, join node.Join) string {
	t.Helper()
	content, err := json.Marshal(node.Identity{NodeID: "node-1", ClusterName: "prod", CA: string(ca.PEM), Join: join})
	if err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(t.TempDir(), "node.json")
	if err := os.WriteFile(path, content, 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

// The agent joins once the running host has passed, behind an open gate, and shows where it stands.
func TestAgentJoins(t *testing.T) {
	ca := nodetest.NewCA(t, nodetest.Today())
	creds := ca.Credentials("", "vault-1.example.net")
	leaders := node.Join{Leaders: []node.Leader{{Address: "https://vault-2.example.net:8200"}}}
	for name, c := range map[string]struct {
		join  node.Join
		edit  func(*machine)
		state string // empty: there is no join
	}{
		"a member":        {leaders, func(*machine) {}, string(cluster.Ready)},
		"the host fails":  {leaders, func(m *machine) { m.host = check.Fail }, ""},
		"the gate closed": {leaders, func(m *machine) { m.gateSays(check.Fail) }, ""},
		"no join block":   {node.Join{}, func(*machine) {}, ""},
	} {
		t.Run(name, func(t *testing.T) {
			m := newMachine(t)
			m.gateSays(check.Pass)
			m.vault.Active = "active"
			m.agent.ServerAddr = serve(t, http.HandlerFunc(joined), creds)
			m.agent.Credentials = nodetest.WriteCredentials(t, creds)
			m.agent.Identity = identityFile(t, ca, c.join)
			m.agent.StateDir = t.TempDir()
			c.edit(m)
			_, stop := run(t, m)
			deadline := time.Now().Add(5 * time.Second)
			if c.state == "" {
				deadline = time.Now().Add(300 * time.Millisecond)
			}
			state := ""
			for state != string(cluster.Ready) && time.Now().Before(deadline) {
				if j := m.agent.Exporter.Join(); j != nil {
					state = j.State
				}
				time.Sleep(10 * time.Millisecond)
			}
			if err := stop(); err != nil {
				t.Error(err)
			}
			m.expect("state "+c.state+", not "+state, state == c.state)
			if c.state != "" {
				m.expect("the status line says it", strings.HasSuffix(m.agent.status(), "; join: ready"))
			}
		})
	}
}

// With auto_join in node.hcl the agent's joiner asks the cloud.
func TestAgentAsksTheCloud(t *testing.T) {
	ca := nodetest.NewCA(t, nodetest.Today())
	creds := ca.Credentials("", "vault-1.example.net")
	m := newMachine(t)
	m.gateSays(check.Pass)
	m.agent.ServerAddr = serve(t, http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		_ = json.NewEncoder(w).Encode(map[string]any{"initialized": false, "sealed": true, "type": "transit", "server_time_utc": time.Now().Unix()})
	}), creds)
	m.agent.Credentials = nodetest.WriteCredentials(t, creds)
	m.vault.Active = "active"
	const config = "provider=gce tag_value=vault"
	m.agent.Identity = identityFile(t, ca, node.Join{AutoJoin: config})
	m.agent.StateDir = t.TempDir()
	asked := make(chan string, 1)
	m.agent.Discover = func(_ context.Context, config string) ([]string, error) {
		select {
		case asked <- config:
		default:
		}
		return nil, errors.New("nobody")
	}
	_, stop := run(t, m)
	select {
	case got := <-asked:
		m.expect("asked with "+got, got == config)
	case <-time.After(time.Minute):
		t.Error("nobody was asked")
	}
	if err := stop(); err != nil {
		t.Error(err)
	}
}

// The joiner asks the loop to judge, and hears what does not pass.
func TestJoinerHearsTheVerdict(t *testing.T) {
	d := verdict(0, check.Fail)
	if err := Passes(d); err == nil || !strings.Contains(err.Error(), "memory-swap-off") {
		t.Errorf("got %v", err)
	}
	if err := Passes(nil); err == nil {
		t.Error("no verdict passes")
	}
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	m := newMachine(t)
	if err := m.agent.runPasses(ctx); err == nil {
		t.Error("a verdict that does not come passes")
	}
}

func TestAwaitIdentity(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		path, waited := filepath.Join(t.TempDir(), "node.json"), 0
		time.AfterFunc(time.Minute-time.Second, func() { // not when it looks
			if err := os.WriteFile(path, []byte(`{"node_id":"i-1"}`), 0o600); err != nil {
				t.Error(err)
			}
		})
		began := time.Now()
		id, err := AwaitIdentity(t.Context(), path, func() { waited++ })
		if err != nil || id.NodeID != "i-1" || waited != 1 || time.Since(began) < time.Minute-time.Second {
			t.Errorf("%+v, %v; said %d times that it waits, for %s", id, err, waited, time.Since(began))
		}
		if err := os.WriteFile(path, []byte("{"), 0o600); err != nil {
			t.Fatal(err)
		}
		if _, err := AwaitIdentity(t.Context(), path, func() {}); err == nil {
			t.Error("what is not understood is waited for")
		}
	})
}
