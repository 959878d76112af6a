package cluster

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"time"

	"github.com/hashicorp/vault/api"
)

const (
	// askTime bounds one question to a server.
	askTime = 5 * time.Second
	// changeTime bounds one order: to join, to step down, to log in. A join waits for the leader, which writes to its disks
	// and asks a key management service.
	changeTime = 45 * time.Second
)

// trust says whom a connection believes and who it is.
type trust struct {
	authorities *x509.CertPool
	serverName  string                           // empty: the host of the address
	certificate func() (*tls.Certificate, error) // the node's own, for a login by certificate; nil: none
}

func (t trust) config() *tls.Config {
	c := &tls.Config{MinVersion: tls.VersionTLS12, RootCAs: t.authorities, ServerName: t.serverName}
	if c.RootCAs == nil {
		c.RootCAs = x509.NewCertPool() // nil would mean the authorities of the image
	}
	if t.certificate != nil {
		c.GetClientCertificate = func(*tls.CertificateRequestInfo) (*tls.Certificate, error) { return t.certificate() }
	}
	return c
}

// newServer makes a client of one server. It has no token, and takes nothing from the environment.
func newServer(address string, t trust) (*api.Client, error) {
	client, err := api.NewClient(&api.Config{
		Address: address,
		HttpClient: &http.Client{Transport: &http.Transport{
			TLSClientConfig:     t.config(),
			TLSHandshakeTimeout: askTime,
			MaxConnsPerHost:     2,
			IdleConnTimeout:     time.Minute,
		}},
		Timeout: changeTime,
		// Which server answers is what is being asked.
		DisableRedirects: true,
	})
	if err != nil {
		return nil, fmt.Errorf("cannot make a client for %s: %w", address, err)
	}
	client.ClearToken()
	client.ClearNamespace()
	return client, nil
}

// withToken is the same server, asked with a token.
func withToken(client *api.Client, token []byte) *api.Client {
	c := client.WithRequestCallbacks() // a shallow copy with headers of its own
	c.SetToken(strings.TrimSpace(string(token)))
	return c
}

// seen is what a server says of itself to everybody.
type seen struct {
	initialized, sealed, standby, removed bool
	seal                                  string        // "shamir", "transit", …; empty: not asked
	version                               string        // empty: redacted
	clusterName, clusterID                string        // empty: sealed or redacted
	clock                                 time.Duration // by how much its clock is ahead of this node's
	clockKnown                            bool
	active                                bool   // it is the active node
	leader                                string // URL of the active node's API
	leaderCluster                         string // URL of the active node's Raft port
	healthy                               bool   // it hears from the active node
}

// look asks a server what it says to everybody. The clock's difference is known to a second, and to the time that
// the answer took.
func look(ctx context.Context, client *api.Client) (seen, error) {
	ctx, cancel := context.WithTimeout(ctx, askTime)
	defer cancel()
	before := time.Now()
	health, err := client.Sys().HealthWithContext(ctx)
	if err != nil {
		return seen{}, err
	}
	middle := before.Add(time.Since(before) / 2)
	seal, err := client.Sys().SealStatusWithContext(ctx)
	if err != nil {
		return seen{}, err
	}
	s := seen{
		initialized: health.Initialized, sealed: health.Sealed, standby: health.Standby,
		removed: health.RemovedFromCluster != nil && *health.RemovedFromCluster || seal.RemovedFromCluster != nil && *seal.RemovedFromCluster,
		seal:    seal.Type, version: health.Version, clusterName: health.ClusterName, clusterID: health.ClusterID,
		healthy: health.HAConnectionHealthy == nil || *health.HAConnectionHealthy,
	}
	if health.ServerTimeUTC > 0 {
		s.clockKnown = true
		s.clock = time.Unix(health.ServerTimeUTC, 0).Add(time.Second / 2).Sub(middle)
	}
	if !s.initialized || s.sealed {
		return s, nil
	}
	leader, err := client.Sys().LeaderWithContext(ctx)
	if err != nil {
		return seen{}, err
	}
	s.active, s.leader, s.leaderCluster = leader.IsSelf, strings.TrimSuffix(leader.LeaderAddress, "/"), leader.LeaderClusterAddress
	return s, nil
}

// words are the server's own reasons, on one line.
func words(err error) string {
	var answer *api.ResponseError
	if errors.As(err, &answer) && len(answer.Errors) > 0 {
		return strings.Join(strings.Fields(strings.Join(answer.Errors, "; ")), " ")
	}
	if errors.As(err, &answer) {
		return fmt.Sprintf("HTTP status %d", answer.StatusCode)
	}
	return err.Error()
}

// denied reports whether the server knows no such token, or the token may not ask this.
func denied(err error) bool {
	var answer *api.ResponseError
	return errors.As(err, &answer) && answer.StatusCode == http.StatusForbidden
}
