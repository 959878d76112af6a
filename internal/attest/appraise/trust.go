package appraise

import (
	"crypto"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"time"
)

// ParseKey reads a pinned attestation key: PEM, as `hostcheck attest --print-key` and the document have it.
func ParseKey(text []byte) (crypto.PublicKey, error) {
	block, rest := pem.Decode(text)
	if block == nil || block.Type != "PUBLIC KEY" {
		return nil, errors.New("it is no public key in PEM")
	}
	if again, _ := pem.Decode(rest); again != nil {
		return nil, errors.New("it has more than one key")
	}
	return x509.ParsePKIXPublicKey(block.Bytes)
}

// KeyOfCertificate is the key of an attestation key's certificate, if one of the authorities has issued it. Intermediate
// certificates may follow it in the same file.
func KeyOfCertificate(chain, authorities []byte, now time.Time) (crypto.PublicKey, error) {
	roots := x509.NewCertPool()
	if !roots.AppendCertsFromPEM(authorities) {
		return nil, errors.New("the authorities are no certificates in PEM")
	}
	var leaf *x509.Certificate
	intermediates := x509.NewCertPool()
	for block, rest := pem.Decode(chain); block != nil; block, rest = pem.Decode(rest) {
		certificate, err := x509.ParseCertificate(block.Bytes)
		if err != nil {
			return nil, fmt.Errorf("the certificate cannot be read: %w", err)
		}
		if leaf == nil {
			leaf = certificate
			continue
		}
		intermediates.AddCert(certificate)
	}
	if leaf == nil {
		return nil, errors.New("there is no certificate in PEM")
	}
	// Attestation keys have key usages of their own, and none of TLS.
	_, err := leaf.Verify(x509.VerifyOptions{Roots: roots, Intermediates: intermediates, CurrentTime: now, KeyUsages: []x509.ExtKeyUsage{x509.ExtKeyUsageAny}})
	if err != nil {
		return nil, fmt.Errorf("the certificate is not trusted: %w", err)
	}
	return leaf.PublicKey, nil
}
