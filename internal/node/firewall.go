package node

import (
	"net/netip"
	"strings"
)

// Firewall says which addresses may talk to the node, and to which it may talk.
type Firewall struct {
	APIClients    []netip.Prefix // may reach Vault's API
	ClusterPeers  []netip.Prefix // the other Raft members, both ways
	Monitoring    []netip.Prefix // may reach the telemetry port
	LoadBalancers []netip.Prefix // may reach the API and the health endpoints
	LogReceivers  []netip.Prefix // may be reached by the journal, at the image's log_port
	Egress        []netip.Prefix // may be reached beyond the bootstrap services
}

type firewallSpec struct {
	APIClients    []string `hcl:"api_clients,optional"`
	ClusterPeers  []string `hcl:"cluster_peers,optional"`
	Monitoring    []string `hcl:"monitoring,optional"`
	LoadBalancers []string `hcl:"load_balancers,optional"`
	LogReceivers  []string `hcl:"log_receivers,optional"`
	Egress        []string `hcl:"egress,optional"`
}

func (s firewallSpec) check(at locator, wrong *Mistakes) Firewall {
	fw := at.block("firewall")
	few := func(name string, list []string) []netip.Prefix { return networks(fw, name, list, false, wrong) }
	return Firewall{
		APIClients:    few("api_clients", s.APIClients),
		ClusterPeers:  few("cluster_peers", s.ClusterPeers),
		Monitoring:    few("monitoring", s.Monitoring),
		LoadBalancers: few("load_balancers", s.LoadBalancers),
		LogReceivers:  few("log_receivers", s.LogReceivers),
		Egress:        networks(fw, "egress", s.Egress, true, wrong),
	}
}

// networks reads a list of CIDRs and addresses. A set that holds every address is no
// firewall, so it is refused; a node may have to reach the whole internet (a cloud
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
