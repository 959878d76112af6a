package cluster

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"io"
	"net/http"

	"github.com/strongroom/strongroom/internal/node"
	"github.com/strongroom/strongroom/internal/serverapi"
)

// Source is this node's server, as the one that snapshots are taken of. It asks no other member: each node looks after its own lead.
type Source struct {
	server  *client
	stream  *http.Client
	session *Session
}

// NewSource makes a source. The address is a URL on loopback, and name one that its certificate has.
func NewSource(address, name, authorities string, certificate func() (*tls.Certificate, error), session *Session) *Source {
	pool := x509.NewCertPool()
	pool.AppendCertsFromPEM([]byte(authorities))
	t := trust{pool, name, certificate}
	stream := serverapi.NewClient(t.config(), changeTime, 1)
	stream.Timeout = 0 // a snapshot takes its time; the context ends it
	transport := stream.Transport.(*http.Transport)
	transport.ResponseHeaderTimeout = changeTime
	transport.DisableCompression = true // the archive is compressed, and is wanted as it is
	return &Source{newClient(address, t), stream, session}
}

// Standing is what a server says of itself.
type Standing struct {
	Unsealed    bool   // and initialized, and a member
	Active      bool   // it leads
	Since       string // what marks this lead off from an earlier one of the same server
	Version     string // empty: redacted
	ClusterID   string
	ClusterName string
	Seal        string // "shamir", "transit", …
}

// Standing asks the server.
func (s *Source) Standing(ctx context.Context) (Standing, error) {
	own, err := look(ctx, s.server)
	if err != nil {
		return Standing{}, fmt.Errorf("the local server does not answer: %w", err)
	}
	out := Standing{Unsealed: own.initialized && !own.sealed && !own.removed, Active: own.active, Since: own.activeTime,
		Version: own.version, ClusterID: own.clusterID, ClusterName: own.clusterName, Seal: own.seal}
	return out, nil
}

// Open begins a snapshot. Whether the archive is whole only its content tells: a server that fails half-way has sent its status long ago.
func (s *Source) Open(ctx context.Context) (io.ReadCloser, error) {
	const path = "sys/storage/raft/snapshot"
	const hint = "the policy of docs/snapshot.md: read on " + path
	if err := s.session.Keep(ctx, s.server); err != nil && !s.session.HasToken() {
		return nil, err
	}
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, s.server.address+"/v1/"+path, nil)
	if err != nil {
		return nil, err
	}
	request.Header.Set("X-Vault-Request", "true")
	request.Header.Set("X-Vault-Token", string(s.session.Reveal()))
	answer, err := s.stream.Do(request)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	if answer.StatusCode != http.StatusOK {
		defer answer.Body.Close()
		body, _ := io.ReadAll(io.LimitReader(answer.Body, maxAnswer))
		err := error(&answerError{path, answer.StatusCode, refusalWords(body)})
		if denied(err) {
			s.session.Forget()
			err = node.Hinted(err, hint)
		}
		return nil, err
	}
	return answer.Body, nil
}
