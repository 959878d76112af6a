package network

import (
	"slices"

	"github.com/insomniacslk/dhcp/dhcpv4"
	"github.com/insomniacslk/dhcp/iana"
)

// Boot is what a machine that starts over the network is told: a program for its firmware, from the TFTP server, and a
// script for iPXE, which asks once more and says that it is iPXE.
type Boot struct {
	UEFI   string // file of the TFTP server
	BIOS   string // the same, for firmware without UEFI
	Script string // URL
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
	if slices.Contains(request.ClientArch(), iana.INTEL_X86PC) {
		return b.BIOS
	}
	return b.UEFI
}
