// Package serverapi makes the HTTP clients with which hostcheck asks a server, its own node's or another member's. They believe the
// authorities that they are given and nobody else, and go where they are told and no further.
package serverapi

import (
	"crypto/tls"
	"crypto/x509"
	"net/http"
	"time"
)

// Health is sys/health with status 200 for every state, so that other codes are faults; the state is in the body.
const Health = "sys/health?activecode=200&standbycode=200&drsecondarycode=200&performancestandbycode=200&sealedcode=200&uninitcode=200&removedcode=200&haunhealthycode=200"

// BelieveRemoved reports whether a server that says of itself that it was removed from its cluster (removed_from_cluster) was. A server of
// Vault 1.21 says so for ever after it was slow to replay the log that it joined with: it misses itself in the configurations from before
// its time (hashicorp/vault#32099). It seals itself, is unsealed, and serves as any other. One that was removed stays sealed, or is a standby
// that the active node does not answer. connected is ha_connection_healthy; nil: it does not say.
func BelieveRemoved(sealed, active bool, connected *bool) bool {
	return sealed || !active && (connected == nil || !*connected)
}

// maxHandshake bounds the TLS handshake of clients that wait longer for an answer.
const maxHandshake = 5 * time.Second

// TLS believes the authorities; nil is none of them. The certificate has to be good for name; empty: for the host of the address.
func TLS(authorities *x509.CertPool, name string) *tls.Config {
	if authorities == nil {
		authorities = x509.NewCertPool() // nil would mean the authorities of the image
	}
	return &tls.Config{MinVersion: tls.VersionTLS12, RootCAs: authorities, ServerName: name}
}

// NewClient follows no redirect: which server answers is what is being asked, and a token goes to nobody else. No proxy of
// the environment is used.
func NewClient(config *tls.Config, timeout time.Duration, connections int) *http.Client {
	return &http.Client{
		Timeout: timeout,
		Transport: &http.Transport{
			TLSClientConfig:     config,
			TLSHandshakeTimeout: min(timeout, maxHandshake),
			MaxConnsPerHost:     connections,
			IdleConnTimeout:     time.Minute,
		},
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}
}
