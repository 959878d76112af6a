package bootstrap

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net/http"
	"os"

	"github.com/strongroom/strongroom/internal/cluster"
)

// accessors is the answer of auth/token/accessors.
type accessors struct {
	Data struct {
		Keys []string `json:"keys"`
	} `json:"data"`
}

// revoke ends every token with the policy root, its own last, and proves it with the login of the agent, which cannot hide anything: it looks at
// every token that there is.
func (r *run) revoke(ctx context.Context) error {
	left, err := r.roots(ctx)
	if err != nil {
		return err
	}
	if len(left) > 0 {
		token, err := r.rootToken(ctx)
		if err != nil {
			return err
		}
		own, err := r.lookup(ctx, token)
		if err != nil {
			return fmt.Errorf("cannot tell which token is the own one: %s", cluster.Words(err))
		}
		for _, accessor := range left {
			if accessor == own.Data.Accessor {
				continue
			}
			if err := r.asRoot(ctx, http.MethodPost, "auth/token/revoke-accessor", map[string]string{"accessor": accessor}, nil); err != nil {
				return err
			}
		}
		if err := r.asRoot(ctx, http.MethodPost, "auth/token/revoke-self", map[string]string{}, nil); err != nil {
			return err
		}
		if err := r.reached("revoke: revoked"); err != nil {
			return err
		}
		if _, err := r.lookup(ctx, token); cluster.StatusOf(err) != http.StatusForbidden {
			return fmt.Errorf("the root token was revoked, and the server still answers to it: %v", err)
		}
		if left, err = r.roots(ctx); err != nil {
			return err
		}
		if len(left) > 0 {
			return fmt.Errorf("%d root tokens live on", len(left))
		}
	}
	r.state.Root = ""
	clear(r.root)
	r.root = nil
	if err := os.Remove(r.KeyPath); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("cannot remove the key in memory: %w", err)
	}
	return nil
}

// roots lists the accessors of all living tokens with the policy root, as the agent's login sees them.
func (r *run) roots(ctx context.Context) ([]string, error) {
	session := r.agentSession()
	if err := r.Server.Keep(ctx, session); err != nil {
		return nil, err
	}
	var all accessors
	if err := r.Server.Ask(ctx, "LIST", "auth/token/accessors/", nil, session.Reveal(), nil, &all); err != nil {
		return nil, fmt.Errorf("cannot list the tokens: %s", cluster.Words(err))
	}
	var out []string
	for _, accessor := range all.Data.Keys {
		var a about
		err := r.Server.Ask(ctx, http.MethodPost, "auth/token/lookup-accessor", nil, session.Reveal(), map[string]string{"accessor": accessor}, &a)
		switch status := cluster.StatusOf(err); {
		case err == nil && a.root():
			out = append(out, accessor)
		case status == http.StatusNotFound, status == http.StatusForbidden, status == http.StatusBadRequest: // it has ended since
		case err != nil:
			return nil, fmt.Errorf("cannot look at a token: %s", cluster.Words(err))
		}
	}
	return out, nil
}
