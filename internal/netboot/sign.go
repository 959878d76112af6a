package netboot

import (
	"crypto"
	"crypto/rsa"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"os"
	"slices"

	"github.com/smallstep/pkcs7"

	"github.com/strongroom/strongroom/internal/sign"
)

// Signer makes the signatures that iPXE checks: CMS, detached, DER, without signed attributes, which iPXE does not
// know. It is what `openssl cms -sign -binary -noattr -outform DER` writes.
type Signer struct {
	key         crypto.Signer // of any kind: a file, a token, a service
	certificate *x509.Certificate
	chain       []*x509.Certificate
}

// NewSigner refuses a key and a certificate whose signatures iPXE would not take.
func NewSigner(key crypto.Signer, certificates []*x509.Certificate) (*Signer, error) {
	if len(certificates) == 0 {
		return nil, errors.New("there is no certificate")
	}
	certificate := certificates[0]
	public, ok := key.Public().(*rsa.PublicKey)
	if !ok {
		return nil, fmt.Errorf("the key is a %T: iPXE checks signatures of RSA keys", key.Public())
	}
	if !public.Equal(certificate.PublicKey) {
		return nil, fmt.Errorf("the key does not belong to the certificate of %s", certificate.Subject)
	}
	if !slices.Contains(certificate.ExtKeyUsage, x509.ExtKeyUsageCodeSigning) {
		return nil, fmt.Errorf("the certificate of %s is not for signing code (extendedKeyUsage=codeSigning), and iPXE asks for that", certificate.Subject)
	}
	return &Signer{key: key, certificate: certificate, chain: certificates[1:]}, nil
}

// ReadSigner reads a key and its certificate, the latter followed by those that lead to the authority, from PEM files.
func ReadSigner(keyFile, certificateFile string) (*Signer, error) {
	key, err := sign.OpenKey(keyFile)
	if err != nil {
		return nil, err
	}
	text, err := os.ReadFile(certificateFile)
	if err != nil {
		return nil, err
	}
	var certificates []*x509.Certificate
	for block, rest := pem.Decode(text); block != nil; block, rest = pem.Decode(rest) {
		c, err := x509.ParseCertificate(block.Bytes)
		if err != nil {
			return nil, fmt.Errorf("cannot read the certificates in %s: %w", certificateFile, err)
		}
		certificates = append(certificates, c)
	}
	s, err := NewSigner(key, certificates)
	if err != nil {
		return nil, fmt.Errorf("%s, %s: %w", keyFile, certificateFile, err)
	}
	return s, nil
}

// Sign makes the signature of a file's content.
func (s *Signer) Sign(content []byte) ([]byte, error) {
	data, err := pkcs7.NewSignedData(content)
	if err != nil {
		return nil, err
	}
	data.SetDigestAlgorithm(pkcs7.OIDDigestAlgorithmSHA256)
	data.SetEncryptionAlgorithm(pkcs7.OIDEncryptionAlgorithmRSA)
	if err := data.SignWithoutAttr(s.certificate, s.key, pkcs7.SignerInfoConfig{}); err != nil {
		return nil, fmt.Errorf("cannot sign: %w", err)
	}
	for _, c := range s.chain {
		data.AddCertificate(c)
	}
	data.Detach()
	return data.Finish()
}
