package node

import (
	"bytes"
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"slices"
	"time"
)

// CheckTLS judges the TLS material before Vault sees it: the key belongs to the certificate,
// the certificate leads to the CA, has not expired, and is good for each host. It returns what
// is odd but not wrong.
//
// Time is judged by a clock that may not be synchronised yet. A clock that is off is nearly
// always behind (a dead RTC battery, a restored snapshot; systemd moves it up to its own build
// date at least), so "not yet valid" is what a good certificate looks like on such a node: a
// warning, and the chain is judged at the moment when all of it has become valid. "Expired"
// cannot come from a clock that is behind, and no client would accept the certificate: an error.
func CheckTLS(m Material, hosts []string, now time.Time) (warnings []string, err error) {
	leaf, chain, err := parseChain(m.Cert)
	if err != nil {
		return nil, unusable(m.From.Cert, err)
	}
	if err := checkKey(m); err != nil {
		return nil, unusable(m.From.Key, err)
	}
	cas, err := parseCertificates(m.CA)
	if err != nil {
		return nil, unusable(m.From.CA, err)
	}

	var errs []error
	if now.After(leaf.NotAfter) {
		errs = append(errs, Hinted(fmt.Errorf("certificate %s expired at %s (clock: %s)", leaf.Subject,
			leaf.NotAfter.UTC().Format(time.RFC3339), now.UTC().Format(time.RFC3339)),
			"issue a new certificate and put it where node.hcl's tls block says"))
	}
	at, err := verifyChain(leaf, chain, cas, now)
	if err != nil {
		errs = append(errs, Hinted(fmt.Errorf("certificate %s does not lead to %s: %w", leaf.Subject, m.From.CA.Name(), err),
			"put the intermediates behind the certificate in "+m.From.Cert.Name()+", and the issuing root in "+m.From.CA.Name()))
	} else if at.After(now) {
		warnings = append(warnings, fmt.Sprintf("certificate %s is not valid before %s: is the clock behind? (clock: %s)",
			leaf.Subject, at.UTC().Format(time.RFC3339), now.UTC().Format(time.RFC3339)))
	}
	for _, host := range hosts {
		if err := leaf.VerifyHostname(host); err != nil {
			errs = append(errs, Hinted(fmt.Errorf("certificate %s is not good for %s: %w", leaf.Subject, host, err),
				"issue it with "+host+" as a subject alternative name"))
		}
	}
	return warnings, errors.Join(errs...)
}

// verifyChain finds the first moment, not before now, at which the chain holds. Expiry of the
// leaf is the caller's question: an expired one is judged at its last moment.
func verifyChain(leaf *x509.Certificate, chain, cas []*x509.Certificate, now time.Time) (time.Time, error) {
	roots, intermediates := x509.NewCertPool(), x509.NewCertPool()
	for _, ca := range cas {
		roots.AddCert(ca)
	}
	for _, ca := range chain {
		intermediates.AddCert(ca)
	}
	moments := []time.Time{now}
	if now.After(leaf.NotAfter) {
		moments[0] = leaf.NotAfter
	}
	// The chain can begin to hold only when one of its certificates begins to be valid.
	for _, cert := range slices.Concat([]*x509.Certificate{leaf}, chain, cas) {
		if cert.NotBefore.After(now) && cert.NotBefore.Before(leaf.NotAfter) {
			moments = append(moments, cert.NotBefore)
		}
	}
	slices.SortFunc(moments, time.Time.Compare)
	var first error
	for _, at := range moments {
		_, err := leaf.Verify(x509.VerifyOptions{
			Roots: roots, Intermediates: intermediates, CurrentTime: at,
			KeyUsages: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth},
		})
		if err == nil {
			return at, nil
		}
		if first == nil {
			first = err
		}
	}
	return time.Time{}, first
}

func checkKey(m Material) error {
	block, _ := pem.Decode(m.Key.Reveal())
	switch {
	case block == nil:
		return Hinted(errors.New("it holds no PEM block"), "a private key in PEM: PKCS #8, SEC 1 or PKCS #1")
	case block.Type == "ENCRYPTED PRIVATE KEY" || block.Headers["DEK-Info"] != "":
		return Hinted(errors.New("it is encrypted with a passphrase"),
			"hand over the plain key: credentials are encrypted on their way where it matters (systemd-creds encrypt)")
	}
	// X509KeyPair names the mismatch and never quotes the key.
	_, err := tls.X509KeyPair(m.Cert, m.Key.Reveal())
	return err
}

func parseChain(b []byte) (leaf *x509.Certificate, chain []*x509.Certificate, err error) {
	certs, err := parseCertificates(b)
	if err != nil {
		return nil, nil, err
	}
	if certs[0].IsCA {
		return nil, nil, Hinted(errors.New("its first certificate is an authority"), "the node's own certificate comes first")
	}
	return certs[0], certs[1:], nil
}

func parseCertificates(b []byte) ([]*x509.Certificate, error) {
	var certs []*x509.Certificate
	for rest := bytes.TrimSpace(b); len(rest) > 0; rest = bytes.TrimSpace(rest) {
		block, after := pem.Decode(rest)
		if block == nil {
			break
		}
		rest = after
		if block.Type != "CERTIFICATE" {
			return nil, fmt.Errorf("it holds a PEM block of type %q; only certificates belong in it", block.Type)
		}
		cert, err := x509.ParseCertificate(block.Bytes)
		if err != nil {
			return nil, fmt.Errorf("certificate %d: %w", len(certs)+1, err)
		}
		certs = append(certs, cert)
	}
	if len(certs) == 0 {
		return nil, errors.New("it holds no certificate in PEM")
	}
	return certs, nil
}
