package cluster

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"sync"
	"time"

	"github.com/strongroom/strongroom/internal/node"
)

// ErrNoToken says that the node has neither a token nor a way to get one.
var ErrNoToken = errors.New("there is no agent token: neither the credential " + node.CredentialToken + " nor an auth block in node.hcl")

// Session is the agent's token: one that the node was given, or one that it logs in for with its own TLS certificate. It
// is renewed when a third of its life has gone, and replaced when that does not work any more. It is safe for concurrent use.
type Session struct {
	given       node.Secret
	auth        func() *node.Auth
	certificate func() (*tls.Certificate, error)

	mu    sync.Mutex
	token node.Secret
	renew time.Time // zero: never
	ends  time.Time // zero: unknown
	wait  time.Time // no login before
	last  error     // of the login that failed
}

const (
	// loginAgain is when a login that failed is tried again: each is in the audit log.
	loginAgain = 30 * time.Second
	// renewAgain is the same for a renewal.
	renewAgain = time.Minute
	// renewNever is when a token that cannot be renewed is asked again: somebody may have changed that.
	renewNever = 24 * time.Hour
)

// NewSession makes the session of a node. How it logs in and with what is asked at each login: node.hcl may not be understood
// yet when the agent starts, and the certificate may have been renewed since. A login that answers nil is none, and the token that
// was given is used.
func NewSession(given node.Secret, login func() *node.Auth, certificate func() (*tls.Certificate, error)) *Session {
	if login == nil {
		login = func() *node.Auth { return nil }
	}
	return &Session{given: given, auth: login, certificate: certificate}
}

// Possible reports whether there can be a token at all.
func (s *Session) Possible() bool {
	return s != nil && (s.auth() != nil || len(s.given.Reveal()) > 0)
}

// LogsIn reports whether the token comes from a login, so that a connection must show the certificate.
func (s *Session) LogsIn() bool { return s != nil && s.auth() != nil }

// HasToken reports whether there is one now.
func (s *Session) HasToken() bool { return len(s.Reveal()) > 0 }

// Reveal gives the token itself; empty while there is none.
func (s *Session) Reveal() []byte {
	if s == nil {
		return nil
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.current().Reveal()
}

// current is the token of the login, or the one that was given where there is no login.
func (s *Session) current() node.Secret {
	if s.auth() == nil {
		return s.given
	}
	return s.token
}

// Keep sees to it that there is a token that lives on. The server is the one that is asked: any unsealed member will do.
func (s *Session) Keep(ctx context.Context, client *client) error {
	if !s.Possible() {
		return ErrNoToken
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	now := time.Now()
	auth := s.auth()
	if auth != nil && (len(s.token.Reveal()) == 0 || !s.ends.IsZero() && now.After(s.ends)) {
		return s.login(ctx, client, *auth)
	}
	if now.Before(s.renew) {
		return nil
	}
	err := s.renewSelf(ctx, client)
	if err != nil && auth != nil && denied(err) { // it has ended before its time: revoked, or the cluster was restored
		return s.login(ctx, client, *auth)
	}
	return err
}

// Forget drops a token that the server does not know, so that the next Keep logs in. One that was given stays.
func (s *Session) Forget() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.token = node.Secret{}
}

func (s *Session) login(ctx context.Context, client *client, auth node.Auth) error {
	now := time.Now()
	if now.Before(s.wait) {
		return s.last
	}
	s.wait = now.Add(loginAgain)
	s.last = s.tryLogin(ctx, client, auth)
	if s.last == nil {
		s.wait = time.Time{}
	}
	return s.last
}

func (s *Session) tryLogin(ctx context.Context, client *client, auth node.Auth) error {
	mount := strings.Trim(auth.Mount, "/")
	var answer authAnswer
	err := client.ask(ctx, http.MethodPost, "auth/"+mount+"/login", nil, map[string]string{"name": auth.Role}, &answer)
	if err != nil {
		return node.Hinted(fmt.Errorf("cannot log in by certificate at auth/%s as %s: %s", mount, auth.Role, words(err)),
			"the role must exist, and name the authority and the names of this node's certificate: docs/join.md")
	}
	if answer.Auth.Token == "" {
		return fmt.Errorf("cannot log in by certificate at auth/%s: the answer has no token", mount)
	}
	s.token = node.NewSecret([]byte(answer.Auth.Token))
	s.live(answer)
	return nil
}

// authAnswer is that of a login and of a renewal.
type authAnswer struct {
	Auth struct {
		Token     string `json:"client_token"`
		Seconds   int64  `json:"lease_duration"`
		Renewable bool   `json:"renewable"`
	} `json:"auth"`
}

// live notes how long the token lives.
func (s *Session) live(a authAnswer) {
	life := time.Duration(a.Auth.Seconds) * time.Second
	now := time.Now()
	s.ends, s.renew = time.Time{}, now.Add(renewNever)
	if life > 0 {
		s.ends = now.Add(life)
		if a.Auth.Renewable {
			s.renew = now.Add(life / 3)
		}
	}
}

func (s *Session) renewSelf(ctx context.Context, client *client) error {
	var answer authAnswer
	if err := client.ask(ctx, http.MethodPost, "auth/token/renew-self", s.current().Reveal(), map[string]string{}, &answer); err != nil {
		s.renew = time.Now().Add(renewAgain)
		return fmt.Errorf("cannot renew the agent's token: %w", err)
	}
	s.live(answer)
	return nil
}
