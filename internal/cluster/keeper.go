package cluster

import (
	"context"
	"crypto/x509"

	"github.com/hashicorp/vault/api"
)

// Keeper keeps a session's token alive with one server.
type Keeper struct {
	session *Session
	server  *api.Client
}

// Keeper makes one for the server at this URL, which shows a certificate that is good for name.
func (s *Session) Keeper(url, name string, authorities *x509.CertPool) (*Keeper, error) {
	server, err := newServer(url, trust{authorities, name, s.certificate})
	if err != nil {
		return nil, err
	}
	return &Keeper{s, server}, nil
}

// Keep sees to it that there is a token that lives on.
func (k *Keeper) Keep(ctx context.Context) error { return k.session.Keep(ctx, k.server) }
