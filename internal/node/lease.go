package node

import (
	"bytes"
	"encoding/hex"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
)

// leaseOption is the DHCP option that names the URL of node.hcl: the first of those that RFC 3942 leaves to a site. The
// node asks for it (RequestOptions= in 80-strongroom.network), since servers send only what they are asked for.
const leaseOption = "224"

// leaseDirectory holds a file for each interface, named by its index. The files are systemd-networkd's own and say "do not
// parse"; the public way to an option is the message bus, which the image does not have. systemd 252 and 257, those of the two
// distributions, write private options in the same form, and the tests hold leases of both.
const leaseDirectory = "/run/systemd/netif/leases"

// maxLeaseSize is far more than a DHCP message can carry, in hex.
const maxLeaseSize = 64 << 10

// leaseURL gives the URL that the DHCP servers of all interfaces name, or errNone.
func (s *Sources) leaseURL() (rawURL, from string, err error) {
	files, err := os.ReadDir(s.path(leaseDirectory))
	if isNotExist(err) {
		return "", "", errNone
	}
	if err != nil {
		return "", "", fmt.Errorf("cannot read DHCP leases: %w", err)
	}
	for _, f := range files {
		// A lease that is being written has a dot and six letters behind its name.
		if strings.Trim(f.Name(), "0123456789") != "" {
			continue
		}
		content, err := readLimited(filepath.Join(s.path(leaseDirectory), f.Name()), maxLeaseSize)
		if isNotExist(err) {
			continue // it has expired meanwhile
		}
		if err != nil {
			return "", "", fmt.Errorf("cannot read DHCP lease: %w", err)
		}
		value, err := leaseValue(content)
		if errors.Is(err, errNone) {
			continue
		}
		if err != nil {
			return "", "", fmt.Errorf("cannot use the DHCP lease of interface %s: %w", f.Name(), err)
		}
		if rawURL != "" && value != rawURL {
			return "", "", Hinted(errors.New("the DHCP servers of two interfaces name different URLs for node.hcl"), "let one network send option "+leaseOption)
		}
		rawURL, from = value, "DHCP option "+leaseOption
	}
	if rawURL == "" {
		return "", "", errNone
	}
	return rawURL, from, nil
}

// leaseValue reads the option from a lease. Some servers end a text with a NUL, which RFC 2132 asks clients to bear.
func leaseValue(lease []byte) (string, error) {
	for line := range bytes.Lines(lease) {
		text, found := bytes.CutPrefix(bytes.TrimSuffix(line, []byte("\n")), []byte("OPTION_"+leaseOption+"="))
		if !found {
			continue
		}
		value, err := hex.DecodeString(string(text))
		if err != nil {
			return "", fmt.Errorf("option %s is not in hexadecimal: is this a lease of another version of systemd?", leaseOption)
		}
		value = bytes.TrimRight(value, "\x00")
		switch {
		case len(value) == 0:
			return "", errNone
		case bytes.ContainsFunc(value, func(r rune) bool { return r <= ' ' || r >= 0x7f }):
			return "", Hinted(fmt.Errorf("option %s holds bytes that no URL has", leaseOption), "a text, for example https://config.example.net/node.hcl")
		}
		return string(value), nil
	}
	return "", errNone
}
