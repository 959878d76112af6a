package agent

import (
	"context"
	"encoding/json"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/strongroom/strongroom/internal/check"
	"github.com/strongroom/strongroom/internal/node"
)

// drifting is a machine whose server has run and passed for a while.
func drifting(t *testing.T, wanted bool) *machine {
	m := newMachine(t)
	m.agent.Identity = filepath.Join(t.TempDir(), "identity.json")
	j, err := json.Marshal(node.Identity{NodeID: "i-1", StopOnDrift: wanted})
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(m.agent.Identity, j, 0o600); err != nil {
		t.Fatal(err)
	}
	m.agent.identify(t.Context())
	m.agent.joiner = nil
	m.gateSays(check.Pass)
	m.vault.Active = "active"
	m.tickFor(2 * settleTime)
	return m
}

// tickFor is the loop for some time.
func (m *machine) tickFor(d time.Duration) {
	for end := time.Now().Add(d); time.Now().Before(end); {
		time.Sleep(m.tick())
		synctest.Wait()
	}
}

func TestDriftStopsTheServer(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := drifting(t, true)
		asked := 0
		var cluster error
		m.agent.Withdraw = func(ctx context.Context, id node.Identity, _ func(string), stop func(context.Context) error) error {
			if asked++; id.NodeID != "i-1" {
				t.Error(id)
			}
			if cluster != nil {
				return cluster
			}
			return stop(ctx)
		}
		m.host = check.Fail
		m.tickFor(driftHolds / 2)
		m.host = check.Pass
		m.tickFor(driftHolds)
		m.expect("a fault that passes stops nobody", asked == 0)

		cluster = errors.New("the cluster can lose no voter now")
		m.host = check.Fail
		m.tickFor(5 * time.Minute)
		m.expect("the cluster is asked again, and not at each look", asked >= 3 && asked <= 6)
		m.expect("it is told once why the server runs on", strings.Count(m.log.String(), "the cluster can lose no voter now") == 1)
		m.expect("the server runs on", len(m.stopped) == 0 && m.agent.Exporter.GateOpen())

		cluster = nil
		m.tickFor(2 * withdrawAgain)
		m.expect("the server is stopped, once", len(m.stopped) == 1 && m.stopped[0] == "vault.service")
		m.expect("the reason is told", strings.Contains(m.log.String(), "memory-swap-off"))
		m.tickFor(time.Minute)
		m.expect("the gate counts as closed, so that the machine is replaced", !m.agent.Exporter.GateOpen())
		m.host = check.Pass
		m.tickFor(10 * time.Minute)
		m.expect("it is not started again, although the host passes", len(m.started) == 0 && m.vault.Active == "inactive")

		again := newMachine(t)
		again.agent.ReportPath, again.agent.gate = m.agent.ReportPath, m.agent.gate
		again.tickFor(time.Minute)
		again.expect("nor by an agent that was started anew", len(again.started) == 0 && !again.agent.Exporter.GateOpen())

		m.vault.Active = "active" // somebody has started it
		m.tickFor(time.Minute)
		m.expect("a server that somebody starts, and that passes, is as any other", m.agent.Exporter.GateOpen() && !m.agent.stoppedForDrift())
	})
}

func TestDriftIsOnlyReported(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := drifting(t, false)
		m.agent.Withdraw = func(context.Context, node.Identity, func(string), func(context.Context) error) error {
			t.Error("the cluster is asked")
			return nil
		}
		m.host = check.Fail
		m.tickFor(10 * time.Minute)
		m.expect("the server runs on", len(m.stopped) == 0 && m.agent.Exporter.GateOpen())
	})
}
