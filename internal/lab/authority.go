package lab

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"fmt"
	"net"
	"net/netip"
	"time"

	"github.com/strongroom/strongroom/internal/node"
)

// Authority is a certificate authority that lives as long as a proof does. Its key is never
// written anywhere, and nothing of it is in an image.
type Authority struct {
	key         *ecdsa.PrivateKey
	certificate *x509.Certificate
	pem         []byte
}

// The guest's clock may be off by the precision of an emulated clock, and a proof takes minutes; a node counts a
// certificate that ends within two weeks as one to be renewed.
const (
	clockTolerance = time.Hour
	validity       = 30 * 24 * time.Hour
)

// NewAuthority makes an authority.
func NewAuthority() (*Authority, error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, fmt.Errorf("cannot make a key: %w", err)
	}
	now := time.Now()
	template := &x509.Certificate{
		Subject:               pkix.Name{CommonName: "Strongroom lab authority"},
		NotBefore:             now.Add(-clockTolerance),
		NotAfter:              now.Add(validity),
		IsCA:                  true,
		MaxPathLenZero:        true,
		BasicConstraintsValid: true,
		KeyUsage:              x509.KeyUsageCertSign | x509.KeyUsageCRLSign,
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		return nil, fmt.Errorf("cannot make the authority's certificate: %w", err)
	}
	certificate, err := x509.ParseCertificate(der)
	if err != nil {
		return nil, err
	}
	return &Authority{key: key, certificate: certificate, pem: pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der})}, nil
}

// issue makes a certificate that is good for a node of this lab, both as a server and as a
// client: the members of a cluster authenticate to one another.
func (a *Authority) issue(name string, addresses ...netip.Addr) (certificate, key []byte, err error) {
	private, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, nil, fmt.Errorf("cannot make a key: %w", err)
	}
	// Over a forward a node is reached by an address of the loopback.
	ips := []net.IP{net.IPv4(127, 0, 0, 1)}
	for _, address := range addresses {
		ips = append(ips, address.AsSlice())
	}
	template := &x509.Certificate{
		Subject:     pkix.Name{CommonName: name},
		NotBefore:   a.certificate.NotBefore,
		NotAfter:    a.certificate.NotAfter,
		KeyUsage:    x509.KeyUsageDigitalSignature,
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth, x509.ExtKeyUsageClientAuth},
		DNSNames:    []string{name, "localhost"},
		IPAddresses: ips,
	}
	der, err := x509.CreateCertificate(rand.Reader, template, a.certificate, private.Public(), a.key)
	if err != nil {
		return nil, nil, fmt.Errorf("cannot issue a certificate: %w", err)
	}
	pkcs8, err := x509.MarshalPKCS8PrivateKey(private)
	if err != nil {
		return nil, nil, fmt.Errorf("cannot encode a key: %w", err)
	}
	return pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}),
		pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: pkcs8}), nil
}

// Credentials is what a node needs to become one: who it is, who may talk to it on which ports, and its TLS
// material.
func (a *Authority) Credentials(i Identity) ([]Credential, error) {
	certificate, key, err := a.issue(i.Host, i.Address)
	if err != nil {
		return nil, err
	}
	return []Credential{
		{node.CredentialConfig, node.NewSecret([]byte(i.config()))},
		{node.CredentialCert, node.NewSecret(certificate)},
		{node.CredentialKey, node.NewSecret(key)},
		{node.CredentialCA, node.NewSecret(a.pem)},
	}, nil
}

// CA is the authority's certificate, PEM.
func (a *Authority) CA() []byte { return a.pem }

// ClientTLS trusts this authority and nobody else.
func (a *Authority) ClientTLS() *tls.Config {
	roots := x509.NewCertPool()
	roots.AddCert(a.certificate)
	return &tls.Config{RootCAs: roots, MinVersion: tls.VersionTLS12}
}
