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
)

const (
	// DefaultVaultAddr is Vault's API on this node.
	DefaultVaultAddr = "https://127.0.0.1:8200"

	vaultTimeout = 3 * time.Second
	// vaultMemory bounds what any number of health checkers can ask of Vault.
	vaultMemory = time.Second
)

// vaultProbe asks the local Vault whether it may take traffic.
type vaultProbe struct {
	client *api.Client
	log    *slog.Logger

	mu      sync.Mutex
	asked   time.Time
	said    error
	trouble once
}

func newVaultProbe(addr string, m material, log *slog.Logger) (*vaultProbe, error) {
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
		Timeout: vaultTimeout,
		// A standby answers for itself: its redirect to the leader would be about another node.
		DisableRedirects: true,
	})
	if err != nil {
		return nil, fmt.Errorf("cannot make a Vault client: %w", err)
	}
	client.ClearToken() // the client takes one from the environment, and health needs none
	return &vaultProbe{client: client, log: log}, nil
}

// check gives the reason why Vault may not take traffic. Answers are kept for a second.
func (p *vaultProbe) check(ctx context.Context) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	if time.Since(p.asked) < vaultMemory {
		return p.said
	}
	p.said = p.ask(ctx)
	if ctx.Err() == nil { // a caller that went away says nothing about Vault
		p.asked = time.Now()
	}
	return p.said
}

func (p *vaultProbe) ask(ctx context.Context) error {
	h, err := p.client.Sys().HealthWithContext(ctx)
	if err != nil {
		// The reason is for the journal and not for everyone who may ask.
		if ctx.Err() == nil && p.trouble.changed(err.Error()) {
			p.log.WarnContext(ctx, "cannot ask Vault for its health", "error", err)
		}
		return errors.New("vault does not answer")
	}
	p.trouble.changed("")
	switch {
	case !h.Initialized:
		return errors.New("vault is not initialized")
	case h.Sealed:
		return errors.New("vault is sealed")
	case h.RemovedFromCluster != nil && *h.RemovedFromCluster:
		return errors.New("vault was removed from the cluster")
	}
	return nil
}
