package node

import (
	"bytes"
	"context"
	"crypto/x509"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
)

// URLAuthorityPath holds the certificate authorities of the servers that may say who a node is: the builder's
// node_config_ca. It lies on the root, which is what makes an answer from the network as good as the image.
const URLAuthorityPath = "/usr/lib/strongroom/node-ca.pem"

// kernelArgument names a URL on the kernel's command line.
const kernelArgument = "strongroom.node"

// url is a document on a server. Where it lies, the network may say; whether to believe it, the image decides: a DHCP
// server that lies can only point to a server that one of the image's authorities has certified.
func (s *Sources) url(ctx context.Context) (Document, error) {
	rawURL, from, err := s.findURL()
	if err != nil {
		return Document{}, err
	}
	u, err := ParseHTTPS(rawURL)
	if err != nil {
		return Document{}, fmt.Errorf("%s: %w", from, err)
	}
	roots, err := Authorities(s.Root)
	if err != nil {
		return Document{}, fmt.Errorf("%s names a URL for node.hcl: %w", from, err)
	}
	content, err := s.fetcher(shown(u)).HTTPS(ctx, rawURL, roots, maxConfigSize)
	if err != nil {
		return Document{}, fmt.Errorf("%s names a URL for node.hcl: %w", from, err)
	}
	if len(bytes.TrimSpace(content)) == 0 {
		return Document{}, fmt.Errorf("%s names a URL for node.hcl: the document at %s is empty", from, shown(u))
	}
	return Document{shown(u), content}, nil
}

// findURL prefers the command line, which is about this one machine, and says who named the URL.
func (s *Sources) findURL() (rawURL, from string, err error) {
	rawURL, given, err := s.kernelURL()
	if err != nil {
		return "", "", err
	}
	if given {
		switch state := s.secureBoot(); state {
		case secureBootOff:
			return rawURL, "the kernel argument " + kernelArgument, nil
		case secureBootOn:
			return "", "", Hinted(fmt.Errorf("the kernel argument %s is refused while Secure Boot is on", kernelArgument),
				"Secure Boot says that only signed input decides what the machine becomes; name the URL by DHCP option "+leaseOption+", or hand node.hcl over as a credential")
		default:
			return "", "", Hinted(fmt.Errorf("the kernel argument %s is refused, because nothing can be said about Secure Boot: %s", kernelArgument, state),
				"/sys/firmware/efi/efivars must be mounted and readable")
		}
	}
	return s.leaseURL()
}

// kernelURL takes the last of several, as the kernel and systemd do.
func (s *Sources) kernelURL() (rawURL string, given bool, err error) {
	line, err := os.ReadFile(s.path("/proc/cmdline"))
	if err != nil && !isNotExist(err) {
		return "", false, fmt.Errorf("cannot read the kernel's command line: %w", err)
	}
	for _, word := range strings.Fields(string(line)) {
		word = strings.Trim(word, `"`)
		if name, value, _ := strings.Cut(word, "="); name == kernelArgument {
			rawURL = strings.Trim(value, `"`)
		}
	}
	return rawURL, rawURL != "", nil
}

// Authorities are those that the image below root names.
func Authorities(root string) (*x509.CertPool, error) {
	pem, err := readLimited(filepath.Join(root, URLAuthorityPath), maxPEMSize)
	if isNotExist(err) || err == nil && !bytes.Contains(pem, []byte("-----BEGIN")) {
		return nil, Hinted(errors.New("the image has no authority for it"), "bake the image with node_config_ca, the certificate authorities of the servers that may say who a node is")
	}
	if err != nil {
		return nil, fmt.Errorf("cannot read the image's authorities: %w", err)
	}
	certs, err := parseCertificates(pem)
	if err != nil {
		return nil, fmt.Errorf("cannot use %s: %w", URLAuthorityPath, err)
	}
	roots := x509.NewCertPool()
	for _, c := range certs {
		roots.AddCert(c)
	}
	return roots, nil
}
