package resource

import (
	"context"
	"fmt"
	"strings"

	"github.com/strongroom/strongroom/internal/control"
	"github.com/strongroom/strongroom/internal/host"
	"github.com/strongroom/strongroom/internal/overlay"
)

// RootTokens states that no living token has the policy root. There is one per baseline.
type RootTokens struct{}

// Key implements control.Resource.
func (*RootTokens) Key() control.Key { return control.Key{Kind: "root_tokens", Name: "none"} }

// Validate implements control.Resource.
func (*RootTokens) Validate() error { return nil }

// Render has nothing to add: tokens are the server's.
func (*RootTokens) Render(control.Profile) ([]overlay.Fragment, error) { return nil, nil }

// maxRootNames is how many names of root tokens a report shows.
const maxRootNames = 5

// Verify implements control.Resource.
func (r *RootTokens) Verify(ctx context.Context, h host.Host, stage control.Stage) []control.Observation {
	if stage < control.StageMember {
		return nil
	}
	o := effective(r.Key())
	const source, want = "/v1/auth/token/accessors", "no token with the policy root"
	tokens, err := h.Tokens(ctx)
	if err != nil {
		o.notYet(source, want, err)
		return o.out
	}
	got := fmt.Sprintf("none among %d tokens", tokens.Count)
	if n := len(tokens.Roots); n > 0 {
		got = fmt.Sprintf("%d among %d tokens: %s", n, tokens.Count, strings.Join(tokens.Roots[:min(n, maxRootNames)], ", "))
	}
	o.judge(source, want, got, len(tokens.Roots) == 0)
	return o.out
}
