package secureboot

import (
	"bytes"
	"crypto"
	"crypto/rsa"
	"crypto/sha256"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"time"
)

// minimumBits is the smallest RSA key that firmware of the last ten years takes and that nobody breaks.
const minimumBits = 2048

// Identity is who signs: a key, wherever it lies, and the certificate that firmware knows it by.
type Identity struct {
	signer      crypto.Signer
	certificate *x509.Certificate
}

// New joins a key and its certificate, and refuses what firmware would refuse or take by mistake. The time at is that of the
// image and not the clock's: the same inputs have the same outcome tomorrow. Firmware itself looks at no dates, having no clock to
// trust, so a bake is the last one to say that a certificate has expired. One that is younger than the image is fine: an image of a
// pinned archive is older than the day of its bake.
func New(signer crypto.Signer, certificate *x509.Certificate, at time.Time) (Identity, error) {
	public, ok := signer.Public().(*rsa.PublicKey)
	if !ok {
		return Identity{}, fmt.Errorf("the key is a %T: UEFI firmware takes signatures of RSA keys only (openssl genpkey -algorithm RSA -pkeyopt rsa_keygen_bits:2048)", signer.Public())
	}
	if public.N.BitLen() < minimumBits {
		return Identity{}, fmt.Errorf("the key has %d bits: give one with %d or more", public.N.BitLen(), minimumBits)
	}
	if !public.Equal(certificate.PublicKey) {
		return Identity{}, fmt.Errorf("the certificate %q is not that of the key", certificate.Subject)
	}
	if at.After(certificate.NotAfter) {
		return Identity{}, fmt.Errorf("the certificate was valid until %s, and the image is of %s", certificate.NotAfter.Format(time.DateOnly), at.Format(time.DateOnly))
	}
	if certificate.KeyUsage != 0 && certificate.KeyUsage&x509.KeyUsageDigitalSignature == 0 {
		return Identity{}, errors.New("the certificate's key usage does not include digitalSignature")
	}
	return Identity{signer, certificate}, nil
}

// ParseCertificate reads one certificate, PEM or DER.
func ParseCertificate(text []byte) (*x509.Certificate, error) {
	der := text
	if bytes.Contains(text, []byte("-----BEGIN")) {
		der = nil
		for {
			var block *pem.Block
			if block, text = pem.Decode(text); block == nil {
				break
			}
			if block.Type != "CERTIFICATE" {
				continue // the key may lie in the same file
			}
			if der != nil {
				return nil, errors.New("there is more than one certificate in it: firmware compares one, that of the key")
			}
			der = block.Bytes
		}
	}
	if len(der) == 0 {
		return nil, errors.New("there is no certificate in it")
	}
	certificate, err := x509.ParseCertificate(der)
	if err != nil {
		return nil, fmt.Errorf("it is not an X.509 certificate: %w", err)
	}
	return certificate, nil
}

// Fingerprint is the SHA-256 of the certificate in DER form.
func (i Identity) Fingerprint() [sha256.Size]byte { return sha256.Sum256(i.certificate.Raw) }

// Certificate is the public half.
func (i Identity) Certificate() *x509.Certificate { return i.certificate }
