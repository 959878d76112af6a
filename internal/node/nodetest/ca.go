// Package nodetest makes the certificates and credentials that tests of a node need.
package nodetest

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"math/big"
	"net"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/strongroom/strongroom/internal/node"
)

// CA is a certificate authority that lives as long as a test.
type CA struct {
	t    testing.TB
	cert *x509.Certificate
	key  *ecdsa.PrivateKey
	PEM  []byte
}

// Validity is the time in which a certificate is valid.
type Validity struct{ From, Until time.Time }

// Today is valid from yesterday until tomorrow.
func Today() Validity {
	return Validity{time.Now().Add(-24 * time.Hour), time.Now().Add(24 * time.Hour)}
}

// NewCA makes a root.
func NewCA(t testing.TB, valid Validity) *CA {
	t.Helper()
	return issueCA(t, nil, valid)
}

// Intermediate makes an authority below this one.
func (ca *CA) Intermediate(valid Validity) *CA {
	ca.t.Helper()
	return issueCA(ca.t, ca, valid)
}

func issueCA(t testing.TB, parent *CA, valid Validity) *CA {
	t.Helper()
	key := newKey(t)
	template := &x509.Certificate{
		SerialNumber: serial(t), Subject: pkix.Name{CommonName: "test authority"},
		NotBefore: valid.From, NotAfter: valid.Until,
		IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign,
	}
	signer, signerKey := template, key
	if parent != nil {
		signer, signerKey = parent.cert, parent.key
		template.Subject.CommonName = "test intermediate"
	}
	der, err := x509.CreateCertificate(rand.Reader, template, signer, key.Public(), signerKey)
	if err != nil {
		t.Fatal(err)
	}
	cert, err := x509.ParseCertificate(der)
	if err != nil {
		t.Fatal(err)
	}
	return &CA{t: t, cert: cert, key: key, PEM: block("CERTIFICATE", der)}
}

// Issue makes a server certificate for host names and addresses, and its key.
func (ca *CA) Issue(valid Validity, hosts ...string) (certPEM, keyPEM []byte) {
	ca.t.Helper()
	key := newKey(ca.t)
	template := &x509.Certificate{
		SerialNumber: serial(ca.t), Subject: pkix.Name{CommonName: "test node"},
		NotBefore: valid.From, NotAfter: valid.Until,
		KeyUsage:    x509.KeyUsageDigitalSignature,
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth, x509.ExtKeyUsageClientAuth},
	}
	for _, h := range hosts {
		if ip := net.ParseIP(h); ip != nil {
			template.IPAddresses = append(template.IPAddresses, ip)
		} else {
			template.DNSNames = append(template.DNSNames, h)
		}
	}
	der, err := x509.CreateCertificate(rand.Reader, template, ca.cert, key.Public(), ca.key)
	if err != nil {
		ca.t.Fatal(err)
	}
	pkcs8, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		ca.t.Fatal(err)
	}
	return block("CERTIFICATE", der), block("PRIVATE KEY", pkcs8)
}

// Credentials gives complete credentials for hosts, around a node.hcl.
func (ca *CA) Credentials(config string, hosts ...string) node.Credentials {
	ca.t.Helper()
	cert, key := ca.Issue(Today(), hosts...)
	return node.Credentials{Config: []byte(config), Material: node.Material{
		Cert: cert, Key: node.NewSecret(key), CA: ca.PEM,
		From: node.TLSReferences{Cert: node.DefaultCert, Key: node.DefaultKey, CA: node.DefaultCA},
	}}
}

// WriteCredentials lays credentials out as systemd does, and gives the directory.
func WriteCredentials(t testing.TB, c node.Credentials) string {
	t.Helper()
	dir := t.TempDir()
	for name, content := range map[string][]byte{
		node.CredentialConfig: c.Config, node.CredentialCert: c.Cert,
		node.CredentialKey: c.Key.Reveal(), node.CredentialCA: c.CA,
	} {
		if content == nil {
			continue
		}
		if err := os.WriteFile(filepath.Join(dir, name), content, 0o400); err != nil {
			t.Fatal(err)
		}
	}
	return dir
}

func newKey(t testing.TB) *ecdsa.PrivateKey {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	return key
}

func serial(t testing.TB) *big.Int {
	t.Helper()
	n, err := rand.Int(rand.Reader, big.NewInt(1<<62))
	if err != nil {
		t.Fatal(err)
	}
	return n
}

func block(kind string, der []byte) []byte {
	return pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: der})
}
