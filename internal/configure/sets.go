package configure

import (
	"net/netip"
	"slices"

	"github.com/strongroom/strongroom/internal/node"
)

// Firewall is where the elements of the sets go.
type Firewall interface {
	// Replace makes the sets hold these ranges and nothing else, all of them at once.
	Replace([]Set) error
	// Admit lets the node reach addresses beside those that it may reach already, until restore is called.
	Admit([]netip.Addr) (restore func() error, err error)
}

// Set is one named set of the table "inet strongroom".
type Set struct {
	Name   string
	IPv6   bool
	Ranges []Range // sorted, apart from one another
}

// Range is a run of addresses of one family; both ends belong to it.
type Range struct{ First, Last netip.Addr }

// Sets gives every set that the baked ruleset declares. One without elements is there too, so
// that a network which left node.hcl leaves the firewall.
func Sets(f node.Firewall) []Set {
	var out []Set
	for _, s := range []struct {
		name     string
		networks []netip.Prefix
	}{
		{"api_clients", f.APIClients},
		{"cluster_peers", f.ClusterPeers},
		{"monitoring", f.Monitoring},
		{"load_balancers", f.LoadBalancers},
		{"log_receivers", f.LogReceivers},
		{"egress", f.Egress},
	} {
		v4, v6 := merge(s.networks)
		out = append(out, Set{s.name + "4", false, v4}, Set{s.name + "6", true, v6})
	}
	return out
}

// merge gives the ranges of networks of both families.
func merge(networks []netip.Prefix) (v4, v6 []Range) {
	for _, p := range networks {
		r := Range{p.Addr(), lastOf(p)}
		if p.Addr().Is6() {
			v6 = append(v6, r)
		} else {
			v4 = append(v4, r)
		}
	}
	return union(v4), union(v6)
}

// union joins ranges of one family that overlap or touch. The flag auto-merge of a set is a service of the
// nft program; the kernel itself refuses overlapping intervals.
func union(ranges []Range) []Range {
	sorted := slices.Clone(ranges)
	slices.SortFunc(sorted, func(a, b Range) int { return a.First.Compare(b.First) })
	var out []Range
	for _, r := range sorted {
		if n := len(out); n > 0 {
			previous := &out[n-1]
			if next := previous.Last.Next(); !next.IsValid() || r.First.Compare(next) <= 0 {
				if r.Last.Compare(previous.Last) > 0 {
					previous.Last = r.Last
				}
				continue
			}
		}
		out = append(out, r)
	}
	return out
}

// lastOf gives the highest address of a network.
func lastOf(p netip.Prefix) netip.Addr {
	b := p.Masked().Addr().AsSlice()
	for i := p.Bits(); i < len(b)*8; i++ {
		b[i/8] |= 0x80 >> (i % 8)
	}
	last, _ := netip.AddrFromSlice(b)
	return last
}
