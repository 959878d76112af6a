package agent

import (
	"context"
	"errors"
	"io"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/strongroom/strongroom/internal/check"
	"github.com/strongroom/strongroom/internal/control"
	"github.com/strongroom/strongroom/internal/node"
	"github.com/strongroom/strongroom/internal/node/nodetest"
)

// fakeMember is what an agent sees of its cluster.
type fakeMember struct {
	token   bool
	sealed  error
	keepErr error
	kept    int
}

func (c *fakeMember) HasToken() bool                 { return c.token }
func (c *fakeMember) Unsealed(context.Context) error { return c.sealed }
func (c *fakeMember) Keep(context.Context) error     { c.kept++; return c.keepErr }

// The agent judges as a member once the server is unsealed and it has a token.
func TestStageMember(t *testing.T) {
	for name, c := range map[string]struct {
		member *fakeMember
		want   control.Stage
	}{
		"no token": {&fakeMember{}, control.StageRun},
		"sealed":   {&fakeMember{token: true, sealed: errors.New("sealed")}, control.StageRun},
		"unsealed": {&fakeMember{token: true}, control.StageMember},
		"refused":  {&fakeMember{token: true, keepErr: errors.New("permission denied")}, control.StageMember},
	} {
		t.Run(name, func(t *testing.T) {
			m := newMachine(t)
			m.gateSays(check.Pass)
			m.vault.Active = "active"
			m.agent.Member = c.member
			m.tick()
			m.expect("stage "+c.want.String(), slices.Equal(m.judged, []control.Stage{c.want}))
			m.expect("one report of all stages", m.agent.Exporter.Report().Stage == c.want)
		})
	}
}

// The token is kept alive at each look, and a refusal is told once.
func TestTokenIsKeptAlive(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := newMachine(t)
		m.vault.Active = "active"
		c := &fakeMember{token: true, keepErr: errors.New("permission denied")}
		m.agent.Member = c
		for range 60 {
			m.tick()
			time.Sleep(30 * time.Second)
		}
		m.expect("at each look", c.kept == 60)
		m.expect("told once", strings.Count(m.log.String(), "permission denied") == 1)
	})
}

func TestTokenIsACredential(t *testing.T) {
	log := slog.New(slog.NewTextHandler(io.Discard, nil))
	dir := nodetest.WriteCredentials(t, nodetest.NewCA(t, nodetest.Today()).Credentials("", "vault-1.example.net"))
	none := filepath.Join(dir, "node.json")
	if NewSession(dir, none, log).Possible() || NewSession("", none, log).Possible() {
		t.Error("there is a token, and nobody gave one")
	}
	if err := os.WriteFile(filepath.Join(dir, node.CredentialToken), []byte("hvs.x\n"), 0o400); err != nil {
		t.Fatal(err)
	}
	if s := NewSession(dir, none, log); !s.HasToken() || s.LogsIn() {
		t.Error("the credential is not taken")
	}
	if err := os.WriteFile(none, []byte(`{"auth":{"method":"cert","mount":"cert","role":"strongroom-node"}}`), 0o400); err != nil {
		t.Fatal(err)
	}
	if s := NewSession(dir, none, log); s.HasToken() || !s.LogsIn() {
		t.Error("a node that logs in uses what it was given")
	}
}
