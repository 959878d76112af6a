package baseline

import (
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"strings"
)

// checkCertificates judges certificate authorities. Whether one has expired is not asked: that has another answer on the day
// of the boot.
func (p *Parameter) checkCertificates(value string) error {
	blocks, rest := blocksOf(value)
	if strings.Contains(rest, "-----") {
		return errors.New("it ends in a broken PEM block: give whole certificates")
	}
	if len(blocks) == 0 && strings.TrimSpace(value) != "" {
		return errors.New("it holds no certificate in PEM (-----BEGIN CERTIFICATE-----): give the content of the file, not its name")
	}
	for i, b := range blocks {
		if b.Type != "CERTIFICATE" {
			return fmt.Errorf("it holds a PEM block of type %q: only certificates belong in it", b.Type)
		}
		cert, err := x509.ParseCertificate(b.Bytes)
		if err != nil {
			return fmt.Errorf("certificate %d: %w", i+1, err)
		}
		if !cert.IsCA {
			return fmt.Errorf("certificate %d (%s) is not an authority: give the one that has issued it", i+1, cert.Subject)
		}
	}
	return nil
}

func blocksOf(value string) (blocks []*pem.Block, rest string) {
	left := []byte(value)
	for {
		b, after := pem.Decode(left)
		if b == nil {
			return blocks, string(left)
		}
		blocks, left = append(blocks, b), after
	}
}

// canonicalPEM leaves out what stands between the certificates, so that the same authorities give the same bytes.
func canonicalPEM(value string) string {
	var out strings.Builder
	blocks, _ := blocksOf(value)
	for _, b := range blocks {
		out.Write(pem.EncodeToMemory(&pem.Block{Type: b.Type, Bytes: b.Bytes}))
	}
	return out.String()
}

func shownPEM(value string) string {
	blocks, _ := blocksOf(value)
	if len(blocks) == 0 {
		return ""
	}
	return fmt.Sprintf("(certificates: %d)", len(blocks))
}
