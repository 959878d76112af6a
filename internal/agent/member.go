package agent

import (
	"context"
	"crypto/x509"
	"log/slog"
	"time"

	"github.com/strongroom/strongroom/internal/cluster"
	"github.com/strongroom/strongroom/internal/control"
	"github.com/strongroom/strongroom/internal/host"
)

// Member is what the agent can do with its token.
type Member interface {
	// HasToken reports whether there can be a token.
	HasToken() bool
	// Unsealed gives an error while the server cannot be asked.
	Unsealed(ctx context.Context) error
	// Keep sees to it that there is a token, and that it lives on.
	Keep(ctx context.Context) error
}

// member asks the local server.
type member struct {
	api     *host.API
	session *cluster.Session
	keeper  *cluster.Keeper
}

// NewMember makes the client that judges stage member, and the way to keep its token alive. The server is believed when it shows
// a certificate of the node's authorities.
func NewMember(credentials, addr string, session *cluster.Session, log *slog.Logger) (*host.API, Member) {
	m := readMaterial(credentials, log)
	cas := m.cas
	if cas == nil {
		cas = x509.NewCertPool()
	}
	keeper := session.Keeper(addr, m.name, cas)
	api := host.NewAPI(host.APIOptions{Address: addr, Authorities: cas, ServerName: m.name, Token: session})
	return api, &member{api, session, keeper}
}

func (m *member) HasToken() bool                     { return m.session.Possible() }
func (m *member) Unsealed(ctx context.Context) error { return m.api.Unsealed(ctx) }
func (m *member) Keep(ctx context.Context) error     { return m.keeper.Keep(ctx) }

// memberTimeout is for one question of the loop itself.
const memberTimeout = 5 * time.Second

// stage is how far the node has come, given that its server runs: member once it is unsealed and there is a
// token to ask it with. The token is kept alive on the way.
func (a *Agent) stage(ctx context.Context) control.Stage {
	if a.Member == nil || !a.Member.HasToken() {
		return control.StageRun
	}
	limited, cancel := context.WithTimeout(ctx, memberTimeout)
	defer cancel()
	if err := a.Member.Unsealed(limited); err != nil {
		return control.StageRun
	}
	if err := a.Member.Keep(limited); err != nil {
		if a.trouble.changed(err.Error()) {
			a.Log.WarnContext(ctx, "cannot keep the agent's token", "error", err)
		}
	} else {
		a.trouble.changed("")
	}
	return control.StageMember
}
