package network

import (
	"slices"
	"strings"

	"github.com/insomniacslk/dhcp/dhcpv4"
	"github.com/insomniacslk/dhcp/iana"
)

// Boot is what a machine that starts over the network is told: a program for its firmware, from the TFTP server, and a
// script for iPXE, which asks once more and says that it is iPXE.
type Boot struct {
	UEFI   string // file of the TFTP server
	BIOS   string // the same, for firmware without UEFI
	Script string // URL
	HTTP   string // URL of a program, for firmware that starts by HTTP itself
}

// httpClient is how such firmware names itself, and what it wants an answer to name.
const httpClient = "HTTPClient"

func fromHTTP(request *dhcpv4.DHCPv4) bool {
	return strings.HasPrefix(request.ClassIdentifier(), httpClient)
}

// SetBoot tells one machine what to start.
func (n *Network) SetBoot(l *Lease, b Boot) {
	n.mu.Lock()
	defer n.mu.Unlock()
	l.boot = b
}

// file is the answer to a request.
func (b Boot) file(request *dhcpv4.DHCPv4) string {
	if slices.Contains(request.UserClass(), "iPXE") || string(request.Options.Get(dhcpv4.OptionUserClassInformation)) == "iPXE" {
		return b.Script
	}
	if fromHTTP(request) {
		return b.HTTP
	}
	if slices.Contains(request.ClientArch(), iana.INTEL_X86PC) {
		return b.BIOS
	}
	return b.UEFI
}
