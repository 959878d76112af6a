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

// cluster is what an agent sees of its cluster.
type cluster struct {
	token    bool
	sealed   error
	life     time.Duration
	renewErr error
	renewed  int
}

func (c *cluster) HasToken() bool                 { return c.token }
func (c *cluster) Unsealed(context.Context) error { return c.sealed }
func (c *cluster) Renew(context.Context) (time.Duration, error) {
	c.renewed++
	return c.life, c.renewErr
}

// The agent judges as a member once the server is unsealed and it has a token.
func TestStageMember(t *testing.T) {
	for name, c := range map[string]struct {
		cluster *cluster
		want    control.Stage
	}{
		"no token":      {&cluster{}, control.StageRun},
		"sealed":        {&cluster{token: true, sealed: errors.New("sealed")}, control.StageRun},
		"unsealed":      {&cluster{token: true, life: time.Hour}, control.StageMember},
		"not renewable": {&cluster{token: true}, control.StageMember},
		"refused":       {&cluster{token: true, renewErr: errors.New("permission denied")}, control.StageMember},
	} {
		t.Run(name, func(t *testing.T) {
			m := newMachine(t)
			m.gateSays(check.Pass)
			m.vault.Active = "active"
			m.agent.Member = c.cluster
			m.tick()
			m.expect("stage "+c.want.String(), slices.Equal(m.judged, []control.Stage{c.want}))
			m.expect("one report of all stages", m.agent.Exporter.Report().Stage == c.want)
		})
	}
}

// A token is renewed when a third of its life has gone, and a refusal is told once.
func TestTokenIsKeptAlive(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := newMachine(t)
		m.vault.Active = "active"
		c := &cluster{token: true, life: time.Hour}
		m.agent.Member = c
		for range 122 { // a little more than an hour
			m.tick()
			time.Sleep(30 * time.Second)
		}
		m.expect("at the start and three times an hour", c.renewed == 4)
		c.renewErr = errors.New("permission denied")
		for range 60 {
			m.tick()
			time.Sleep(30 * time.Second)
		}
		told := strings.Count(m.log.String(), "cannot renew")
		m.expect("told once", told == 1)
	})
}

func TestTokenIsACredential(t *testing.T) {
	log := slog.New(slog.NewTextHandler(io.Discard, nil))
	dir := nodetest.WriteCredentials(t, nodetest.NewCA(t, nodetest.Today()).Credentials("", "vault-1.example.net"))
	if NewAPI(dir, "https://127.0.0.1:"+DefaultAPIPort, log).HasToken() || NewAPI("", "https://127.0.0.1:"+DefaultAPIPort, log).HasToken() {
		t.Error("there is a token, and nobody gave one")
	}
	if err := os.WriteFile(filepath.Join(dir, node.CredentialToken), []byte("hvs.x\n"), 0o400); err != nil {
		t.Fatal(err)
	}
	if !NewAPI(dir, "https://127.0.0.1:"+DefaultAPIPort, log).HasToken() {
		t.Error("the credential is not taken")
	}
}
