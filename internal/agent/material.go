package agent

import (
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/strongroom/strongroom/internal/node"
)

// material is the node's TLS identity, as far as it can be used.
type material struct {
	cert *tls.Certificate // nil: the port is served in the clear
	cas  *x509.CertPool   // nil: nothing that Vault presents is believed
	name string           // by which this node's certificate goes
	ca   []byte           // cas, in PEM
}

// readMaterial takes the TLS material that configure has left for the agent, which is renewed; else that of the unit's own
// credentials. They are there also when configure has failed, for example because of a mistake in node.hcl. Without a usable
// certificate the port speaks plain HTTP: the report holds no secret, and a node that cannot
// say why it is down helps nobody. docs/node.md argues it at length.
func readMaterial(credentials string, log *slog.Logger) material {
	return readMaterialFrom(node.AgentTLS, credentials, log)
}

func readMaterialFrom(dir, credentials string, log *slog.Logger) material {
	from := node.TLSReferences{Cert: node.DefaultCert, Key: node.DefaultKey, CA: node.DefaultCA}
	if _, err := os.Stat(dir); dir != "" && err == nil {
		from = node.TLSReferences{Cert: file(dir, "tls.crt"), Key: file(dir, "tls.key"), CA: file(dir, "ca.crt")}
	}
	read, err := node.Reader{Credentials: credentials}.Material(context.Background(), from)
	if err != nil {
		log.Warn("the TLS material is not complete", "error", err)
	}
	m := material{ca: read.CA}
	cert, err := tls.X509KeyPair(read.Cert, read.Key.Reveal())
	if err != nil {
		log.Warn("there is no usable TLS certificate", "error", err)
	} else {
		m.cert, m.name = &cert, serverName(cert.Leaf)
	}
	if pool := x509.NewCertPool(); pool.AppendCertsFromPEM(read.CA) {
		m.cas = pool
	}
	return m
}

func file(dir, name string) node.Reference { return node.Reference("file:" + filepath.Join(dir, name)) }

// sameIdentity reports whether clients that were made with one material can go on with another.
func (m material) sameIdentity(other material) bool {
	return m.name == other.name && bytes.Equal(m.ca, other.ca)
}

// expiry gives when the certificate ends, and when the first of the authorities does.
func (m material) expiry() map[string]time.Time {
	ends := map[string]time.Time{}
	if m.cert != nil {
		ends["node"] = m.cert.Leaf.NotAfter
	}
	for block, rest := pem.Decode(m.ca); block != nil; block, rest = pem.Decode(rest) {
		ca, err := x509.ParseCertificate(block.Bytes)
		if err != nil {
			continue
		}
		if first, ok := ends["ca"]; !ok || ca.NotAfter.Before(first) {
			ends["ca"] = ca.NotAfter
		}
	}
	return ends
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
