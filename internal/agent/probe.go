package agent

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"sync"
	"time"

	"github.com/hashicorp/vault/api"

	"github.com/strongroom/strongroom/internal/server"
)

const (
	probeTimeout = 3 * time.Second
	// probeMemory bounds what any number of health checkers can ask of the server.
	probeMemory = time.Second
)

// serverProbe asks the local server whether it may take traffic. Vault and OpenBao answer alike.
type serverProbe struct {
	name   string // as people write it
	client *api.Client
	log    *slog.Logger

	mu      sync.Mutex
	asked   time.Time
	said    error
	trouble once
}

func newServerProbe(product server.Product, addr string, m material, log *slog.Logger) (*serverProbe, error) {
	cas := m.cas
	if cas == nil {
		cas = x509.NewCertPool() // nil would mean the CAs of the image
	}
	client, err := api.NewClient(&api.Config{
		Address: addr,
		HttpClient: &http.Client{Transport: &http.Transport{
			TLSClientConfig: &tls.Config{MinVersion: tls.VersionTLS12, RootCAs: cas, ServerName: m.name},
			MaxConnsPerHost: 1,
			IdleConnTimeout: time.Minute,
		}},
		Timeout: probeTimeout,
		// A standby answers for itself: its redirect to the leader would be about another node.
		DisableRedirects: true,
	})
	if err != nil {
		return nil, fmt.Errorf("cannot make a Vault client: %w", err)
	}
	client.ClearToken() // the client takes one from the environment, and health needs none
	return &serverProbe{name: product.Name, client: client, log: log}, nil
}

// check gives the reason why the server may not take traffic. Answers are kept for a second.
func (p *serverProbe) check(ctx context.Context) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	if time.Since(p.asked) < probeMemory {
		return p.said
	}
	p.said = p.ask(ctx)
	if ctx.Err() == nil { // a caller that went away says nothing about the server
		p.asked = time.Now()
	}
	return p.said
}

func (p *serverProbe) ask(ctx context.Context) error {
	h, err := p.client.Sys().HealthWithContext(ctx)
	if err != nil {
		// The reason is for the journal and not for everyone who may ask.
		if ctx.Err() == nil && p.trouble.changed(err.Error()) {
			p.log.WarnContext(ctx, "cannot ask "+p.name+" for its health", "error", err)
		}
		return errors.New(p.name + " does not answer")
	}
	p.trouble.changed("")
	switch {
	case !h.Initialized:
		return errors.New(p.name + " is not initialized")
	case h.Sealed:
		return errors.New(p.name + " is sealed")
	case h.RemovedFromCluster != nil && *h.RemovedFromCluster:
		return errors.New(p.name + " was removed from the cluster")
	}
	return nil
}
