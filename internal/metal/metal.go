// Package metal renders what an installer of a distribution needs to make a node of a physical machine: a kickstart for the RHEL family, a preseed for
// Debian, an autoinstall for Ubuntu, and the one script that all of them run in the end. It also reads such files strictly. Everything is a pure function:
// no disk, no network, no clock.
package metal

import (
	"cmp"
	"encoding/pem"
	"errors"
	"fmt"
	"net/netip"
	"net/url"
	"regexp"
	"strings"

	"github.com/strongroom/strongroom/internal/distribution"
)

// Config says what to render.
type Config struct {
	Distribution distribution.Distribution
	// URL is where the files will be served, HTTPS, without a slash at its end.
	URL string
	// CA are the authorities of that server, PEM; empty for those that the installer knows.
	CA string
	// Disk is the one disk to install on: a name below /dev/disk/by-id, which has the serial number of the disk in it.
	Disk string
	// Overwrite allows a disk that is not empty. Any other disk is never touched.
	Overwrite bool
	// Source is where the distribution's packages come from: a mirror of Debian, or the BaseOS repository of the RHEL family, whose AppStream lies beside it.
	// Empty on Ubuntu, whose medium has them.
	Source string
	// Proxy is for packages only, "" for none.
	Proxy string
	// Network is nil for DHCP.
	Network *Network
	// Data and Audit are the directories of the server that get volumes of their own.
	Data, Audit string

	// root and console are of tests: a tree of their own in place of the installer's, and no console.
	root, console string
}

// Network is a static address.
type Network struct {
	Address    string   // with the length of its prefix: 192.0.2.10/24
	Gateway    string   // 192.0.2.1
	Nameserver []string // at least one
}

// Served is a file that the script fetches.
type Served struct {
	Name   string // below the URL
	SHA256 string
	Place  string // in the kit's directory
}

// Names of rendered files.
const (
	ScriptName  = "install.sh"
	OverlayName = "overlay.tar"
	KitName     = "hardening.tar"
)

// Installers of distributions.
const (
	Preseed     = "preseed"
	Kickstart   = "kickstart"
	Autoinstall = "autoinstall"
)

// Installer says which installer a distribution has.
func Installer(d distribution.Distribution) string {
	switch {
	case d.Family == distribution.RHEL:
		return Kickstart
	case strings.HasPrefix(d.ID, "ubuntu/"):
		return Autoinstall
	}
	return Preseed
}

// FileName is the name by which an installer's file is served.
func FileName(installer string) string {
	return map[string]string{Preseed: "preseed.cfg", Kickstart: "ks.cfg", Autoinstall: "user-data"}[installer]
}

// What goes into a script or a file as it is has to be plain: no installer's syntax and no shell makes anything else of it.
var (
	plainURL  = regexp.MustCompile(`^[A-Za-z0-9._~:/%@\[\]+-]+$`)
	diskName  = regexp.MustCompile(`^/dev/disk/by-id/[A-Za-z0-9._:+-]+$`)
	partition = regexp.MustCompile(`-part[0-9]+$`)
)

// DebianMirror is where Debian comes from unless a config says otherwise.
const DebianMirror = "https://deb.debian.org/debian"

// Complete fills in what may be left out, and reports everything that is wrong.
func (c *Config) Complete() error {
	var wrong []error
	bad := func(attribute, format string, args ...any) {
		wrong = append(wrong, fmt.Errorf(attribute+": "+format, args...))
	}
	c.URL = strings.TrimRight(c.URL, "/")
	installer := Installer(c.Distribution)
	if installer == Preseed {
		c.Source = cmp.Or(c.Source, DebianMirror)
	}
	if err := checkURL(c.URL, "https"); err != nil {
		bad("url", "%w", err)
	}
	switch {
	case c.Source == "" && installer == Kickstart:
		bad("source", "is required for %s: the https URL of its BaseOS repository", c.Distribution.Name)
	case c.Source != "" && installer == Autoinstall:
		bad("source", "%s has its packages on the medium: leave it out", c.Distribution.Name)
	case c.Source != "" && installer == Kickstart:
		// Anaconda asks for no signature of what it installs.
		if err := checkURL(c.Source, "https"); err != nil {
			bad("source", "%w", err)
		}
	case c.Source != "":
		// Debian's installer checks signatures of everything.
		if err := checkURL(c.Source, "https", "http"); err != nil {
			bad("source", "%w", err)
		}
	}
	if c.Proxy != "" {
		if err := checkURL(c.Proxy, "https", "http"); err != nil {
			bad("proxy", "%w", err)
		}
	}
	if !diskName.MatchString(c.Disk) || partition.MatchString(c.Disk) {
		bad("disk", "%q is not the name of a whole disk below /dev/disk/by-id, which is what `ls /dev/disk/by-id` shows on the machine", c.Disk)
	}
	if c.CA != "" {
		block, rest := pem.Decode([]byte(c.CA))
		for block != nil && block.Type == "CERTIFICATE" && strings.TrimSpace(string(rest)) != "" {
			block, rest = pem.Decode(rest)
		}
		if block == nil || block.Type != "CERTIFICATE" {
			bad("ca", "it is not a PEM file of certificates only")
		}
	}
	if c.Network != nil {
		c.Network.check(bad)
	}
	return errors.Join(wrong...)
}

func (n *Network) check(bad func(attribute, format string, args ...any)) {
	prefix, err := netip.ParsePrefix(n.Address)
	if err != nil || !prefix.Addr().Is4() {
		bad("network.address", "%q is not an IPv4 address with the length of its prefix, such as 192.0.2.10/24", n.Address)
	}
	gateway, err := netip.ParseAddr(n.Gateway)
	if err != nil || !prefix.Contains(gateway) {
		bad("network.gateway", "%q is not an address in the network of %q", n.Gateway, n.Address)
	}
	if len(n.Nameserver) == 0 {
		bad("network.nameservers", "at least one is needed")
	}
	for _, s := range n.Nameserver {
		if _, err := netip.ParseAddr(s); err != nil {
			bad("network.nameservers", "%q is not an address", s)
		}
	}
}

// netmask is that of the address.
func (n *Network) netmask() string {
	bits := netip.MustParsePrefix(n.Address).Bits()
	var mask [4]byte
	for i := range bits {
		mask[i/8] |= 0x80 >> (i % 8)
	}
	return netip.AddrFrom4(mask).String()
}

// address is without the prefix.
func (n *Network) address() string { return netip.MustParsePrefix(n.Address).Addr().String() }

// checkURL accepts plain URLs of some schemes.
func checkURL(text string, schemes ...string) error {
	u, err := url.Parse(text)
	ok := err == nil && u.Host != "" && u.User == nil && u.RawQuery == "" && u.Fragment == "" && plainURL.MatchString(text)
	for _, s := range schemes {
		if ok && u.Scheme == s {
			return nil
		}
	}
	return fmt.Errorf("%q is not a URL of the form %s://host/path without user, query or unusual characters", text, strings.Join(schemes, ":// or "))
}
