package agent

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"log/slog"
	"strings"

	"github.com/strongroom/strongroom/internal/node"
)

// material is the node's TLS identity, as far as it can be used.
type material struct {
	cert *tls.Certificate // nil: the port is served in the clear
	cas  *x509.CertPool   // nil: nothing that Vault presents is believed
	name string           // by which this node's certificate goes
}

// readMaterial takes the TLS material from the unit's own credentials. They are there also when
// configure has failed, for example because of a mistake in node.hcl. Without a usable
// certificate the port speaks plain HTTP: the report holds no secret, and a node that cannot
// say why it is down helps nobody. docs/node.md argues it at length.
func readMaterial(dir string, log *slog.Logger) material {
	var m material
	creds, err := node.Reader{Credentials: dir}.Material(context.Background(), node.TLSReferences{Cert: node.DefaultCert, Key: node.DefaultKey, CA: node.DefaultCA})
	if err != nil {
		log.Warn("credentials are not complete", "error", err)
	}
	cert, err := tls.X509KeyPair(creds.Cert, creds.Key.Reveal())
	if err != nil {
		log.Warn("serving plain HTTP: there is no usable TLS certificate", "error", err)
	} else {
		m.cert, m.name = &cert, serverName(cert.Leaf)
	}
	if pool := x509.NewCertPool(); pool.AppendCertsFromPEM(creds.CA) {
		m.cas = pool
	}
	return m
}

// serverTLS is for the agent's port. TLS 1.2 is allowed, because health checkers of cloud load
// balancers speak no newer one.
func (m material) serverTLS() *tls.Config {
	if m.cert == nil {
		return nil
	}
	return &tls.Config{MinVersion: tls.VersionTLS12, Certificates: []tls.Certificate{*m.cert}}
}

// serverName picks a name that the node's certificate is good for. Vault shows the same
// certificate on loopback, where no certificate names the address that is dialled.
func serverName(leaf *x509.Certificate) string {
	for _, name := range leaf.DNSNames {
		return strings.Replace(name, "*", "node", 1) // any label stands for a wildcard
	}
	for _, ip := range leaf.IPAddresses {
		return ip.String()
	}
	return ""
}
