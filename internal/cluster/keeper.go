package cluster

import (
	"context"
	"crypto/x509"
)

// Keeper keeps a session's token alive with one server.
type Keeper struct {
	session *Session
	server  *client
}

// Keeper makes one for the server at this URL, which shows a certificate that is good for name.
func (s *Session) Keeper(url, name string, authorities *x509.CertPool) *Keeper {
	return &Keeper{s, newClient(url, trust{authorities, name, s.certificate})}
}

// Keep sees to it that there is a token that lives on.
func (k *Keeper) Keep(ctx context.Context) error { return k.session.Keep(ctx, k.server) }
