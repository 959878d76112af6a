package cluster

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net"
	"net/http"
	"strings"

	"github.com/strongroom/strongroom/internal/node"
)

// Server is one server, for those who ask it more than a joiner does.
type Server struct{ client *client }

// NewServer makes one. The address is a URL, and name one that its certificate has; empty: the host of the address. The authorities are PEM.
func NewServer(address, name, authorities string, certificate func() (*tls.Certificate, error)) *Server {
	pool := x509.NewCertPool()
	pool.AppendCertsFromPEM([]byte(authorities))
	return &Server{newClient(address, trust{pool, name, certificate})}
}

// Ask sends one request and decodes the answer. The headers, the token, in and out may be nil.
func (s *Server) Ask(ctx context.Context, method, path string, headers http.Header, token []byte, in, out any) error {
	ctx, cancel := context.WithTimeout(ctx, changeTime)
	defer cancel()
	return s.client.askWith(ctx, method, path, headers, token, in, out)
}

// Says is what a server tells everybody of itself.
type Says struct {
	Initialized, Sealed, Active bool
	Seal                        string // "shamir", "transit", …
	Version, ClusterID          string // empty: redacted
}

// Look asks for it.
func (s *Server) Look(ctx context.Context) (Says, error) {
	own, err := look(ctx, s.client)
	return Says{own.initialized, own.sealed, own.active, own.seal, own.version, own.clusterID}, err
}

// Keep has a session keep its token with this server.
func (s *Server) Keep(ctx context.Context, session *Session) error {
	return session.Keep(ctx, s.client)
}

// Members asks for the Raft configuration.
func (s *Server) Members(ctx context.Context, session *Session) ([]Member, error) {
	ctx, cancel := context.WithTimeout(ctx, changeTime)
	defer cancel()
	return configuration(ctx, s.client, session)
}

// StatusOf is the HTTP status of a server's refusal; 0: the error is another one.
func StatusOf(err error) int {
	var answer *answerError
	if errors.As(err, &answer) {
		return answer.status
	}
	return 0
}

// Words are a server's own reasons without the path, or the error itself.
func Words(err error) string { return words(err) }

// Lock locks the joining of this node, which must not happen at the same time as its first start.
func Lock(path string) (unlock func(), err error) { return lock(path) }

// Others asks every member that node.hcl leads to, this node apart. It gives the addresses of those that belong to a cluster already, and an error
// when one of them could not be asked: it may be the cluster.
func Others(ctx context.Context, id node.Identity, resolver Resolver, discover Discover) (initialized []string, err error) {
	if !Wanted(id) {
		return nil, nil
	}
	if resolver == nil {
		resolver = net.DefaultResolver
	}
	if discover == nil {
		discover = noDiscovery
	}
	candidates, err := find(ctx, id, resolver, discover)
	errs := []error{err}
	for _, c := range candidates {
		if c.address == strings.TrimSuffix(id.APIAddr, "/") {
			continue
		}
		// Whatever else is wrong with it, a member that says it is initialised is believed.
		p := prove(ctx, c, local{})
		switch {
		case p.says.initialized:
			initialized = append(initialized, c.address)
		case p.client != nil && p.says.seal != "":
			// It is empty, as this one is.
		default:
			errs = append(errs, node.Hinted(fmt.Errorf("%s %s", c.address, p.problem.what), p.problem.hint))
		}
	}
	return initialized, errors.Join(errs...)
}
