package agent

import (
	"context"
	"log/slog"
	"time"

	"github.com/strongroom/strongroom/internal/control"
	"github.com/strongroom/strongroom/internal/host"
	"github.com/strongroom/strongroom/internal/node"
)

// Member is what the agent can do with its token.
type Member interface {
	HasToken() bool
	// Unsealed gives an error while the server cannot be asked.
	Unsealed(ctx context.Context) error
	// Renew makes the token live on, and gives for how long it does; 0 when it cannot be renewed.
	Renew(ctx context.Context) (time.Duration, error)
}

// NewAPI makes the client that judges stage member: the token is a credential of the unit, and the server is
// believed when it shows a certificate of the node's authorities. It is nil when there is no token.
func NewAPI(credentials, addr string, log *slog.Logger) *host.API {
	token, err := node.ReadToken(credentials)
	if err != nil {
		log.Warn("facts of stage member stay pending", "error", err)
	}
	if len(token.Reveal()) == 0 {
		return nil
	}
	m := readMaterial(credentials, log)
	return host.NewAPI(host.APIOptions{Address: addr, Authorities: m.cas, ServerName: m.name, Token: token})
}

const (
	// renewAgain is when a renewal that failed is tried again.
	renewAgain = time.Minute
	// renewNever is when a token that cannot be renewed is asked again: somebody may have changed that.
	renewNever = 24 * time.Hour
	// memberTimeout is for one question of the loop itself.
	memberTimeout = 5 * time.Second
)

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
	a.renew(limited)
	return control.StageMember
}

// renew makes the token live on when a third of its life has gone.
func (a *Agent) renew(ctx context.Context) {
	if time.Now().Before(a.renewAt) {
		return
	}
	life, err := a.Member.Renew(ctx)
	switch {
	case err != nil:
		a.renewAt = time.Now().Add(renewAgain)
		if a.trouble.changed(err.Error()) {
			a.Log.WarnContext(ctx, "cannot renew the agent's token", "error", err)
		}
		return
	case life == 0:
		a.renewAt = time.Now().Add(renewNever)
		a.Log.InfoContext(ctx, "the agent's token cannot be renewed: it ends when its time is over")
	default:
		a.renewAt = time.Now().Add(life / 3)
	}
	a.trouble.changed("")
}
