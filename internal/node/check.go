package node

import (
	"fmt"
	"net/netip"
	"regexp"
	"strings"
	"sync"
)

// clusterName is compiled on first use, as hostname is.
var clusterName = sync.OnceValue(func() *regexp.Regexp {
	return regexp.MustCompile(`^[A-Za-z0-9]([A-Za-z0-9._-]{0,62}[A-Za-z0-9])?$`)
})

// check judges the values that decoded, and gives them their types.
func check(spec fileSpec, at locator, clusterPort int, wrong *Mistakes) *Config {
	config := &Config{
		ClusterName: spec.Cluster.Name,
		APIAddr:     spec.APIAddr,
		ClusterAddr: spec.ClusterAddr,
		Seal:        "shamir",
	}
	if cluster := at.block("cluster"); cluster.isString("name") && !clusterName().MatchString(spec.Cluster.Name) {
		wrong.add(cluster.attribute("name"), "1 to 64 letters, digits, dots, dashes and underscores",
			"cluster name %q is not a name", spec.Cluster.Name)
	}
	if at.isString("api_addr") {
		if err := checkShape(spec.APIAddr, CheckURL); err != nil {
			wrong.add(at.attribute("api_addr"), "for example \"https://vault-1.example.net:8200\"", "api_addr: %v", err)
		}
	}
	if at.isString("cluster_addr") {
		if err := checkShape(spec.ClusterAddr, CheckClusterURL(clusterPort)); err != nil {
			wrong.add(at.attribute("cluster_addr"), fmt.Sprintf("for example \"https://{{ GetPrivateIP }}:%d\"", clusterPort), "cluster_addr: %v", err)
		}
	}
	if spec.Seal != nil && spec.Seal.Type != "shamir" {
		wrong.add(at.label("seal"), "write seal \"shamir\" {}, or leave the block out",
			"seal %q is not supported by this version", spec.Seal.Type)
	}
	fw := at.block("firewall")
	inbound := func(name string, list []string) []netip.Prefix { return networks(fw, name, list, false, wrong) }
	config.Firewall = Firewall{
		APIClients:    inbound("api_clients", spec.Firewall.APIClients),
		ClusterPeers:  inbound("cluster_peers", spec.Firewall.ClusterPeers),
		Monitoring:    inbound("monitoring", spec.Firewall.Monitoring),
		LoadBalancers: inbound("load_balancers", spec.Firewall.LoadBalancers),
		Egress:        networks(fw, "egress", spec.Firewall.Egress, true, wrong),
	}
	return config
}

// networks reads a list of CIDRs and addresses. A set that holds every address is no
// firewall, so inbound sets refuse it; a node may have to reach the whole internet (a cloud
// KMS has no fixed addresses), so egress may say so.
func networks(fw locator, name string, list []string, everywhere bool, wrong *Mistakes) []netip.Prefix {
	var out []netip.Prefix
	for i, text := range list {
		prefix, problem, hint := network(text)
		if problem == "" && prefix.Bits() == 0 && !everywhere {
			problem, hint = "admits every address", "name the networks that need it"
		}
		if problem != "" {
			wrong.add(fw.element(name, i), hint, "%s: %q %s", name, text, problem)
			continue
		}
		out = append(out, prefix)
	}
	return out
}

func network(text string) (p netip.Prefix, problem, hint string) {
	const example = "for example \"10.0.0.0/8\", \"192.0.2.7\" or \"2001:db8::/32\""
	var addr netip.Addr
	if strings.Contains(text, "/") {
		prefix, err := netip.ParsePrefix(text)
		if err != nil {
			return p, "is not a network", example
		}
		if prefix != prefix.Masked() {
			return p, "has host bits set", "write \"" + prefix.Masked().String() + "\", or the address alone"
		}
		p, addr = prefix, prefix.Addr()
	} else {
		a, err := netip.ParseAddr(text)
		if err != nil {
			return p, "is neither a network nor an address", example + "; names are not resolved"
		}
		if a.Zone() != "" {
			return p, "has a zone", "the firewall matches addresses on every interface; leave the zone out"
		}
		if a.IsUnspecified() {
			return p, "is not the address of a host", example
		}
		p, addr = netip.PrefixFrom(a, a.BitLen()), a
	}
	switch {
	case addr.Is4In6():
		return p, "is an IPv4 address in IPv6 notation", "write it as IPv4: the kernel never sees the mapped form on the wire"
	case addr.IsMulticast():
		return p, "is a multicast address", example
	}
	return p, "", ""
}
