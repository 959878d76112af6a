package configure

import (
	"cmp"
	"fmt"
	"net/netip"
	"slices"

	"github.com/google/nftables"
)

// Admit widens the sets egress4 and egress6 by addresses, each in one transaction, and gives what puts back the elements
// that were there: on the first boot none, and on a node that runs those of its node.hcl, which stay in force meanwhile.
//
// The baked ruleset lets a node reach name servers, time servers and the metadata service. A document that lies elsewhere
// is the one thing for which more is needed before node.hcl can say so; it is opened for the
// addresses of that one server, and for as long as the document is read.
func (n Nftables) Admit(addresses []netip.Addr) (restore func() error, err error) {
	conn, err := nftables.New()
	if err != nil {
		return nil, fmt.Errorf("cannot open netlink: %w", err)
	}
	before := []Set{{Name: "egress4"}, {Name: "egress6", IPv6: true}}
	for i := range before {
		elements, err := conn.GetSetElements(kernelSet(before[i]))
		if err != nil {
			return nil, explain(err)
		}
		before[i].Ranges = ranges(elements)
	}
	if err := n.Replace(widened(before, addresses)); err != nil {
		return nil, err
	}
	return func() error { return n.Replace(before) }, nil
}

func widened(sets []Set, addresses []netip.Addr) []Set {
	out := slices.Clone(sets)
	for i, s := range out {
		all := slices.Clone(s.Ranges)
		for _, a := range addresses {
			if a = a.Unmap().WithZone(""); a.Is6() == s.IPv6 {
				all = append(all, Range{a, a})
			}
		}
		out[i].Ranges = union(all)
	}
	return out
}

// ranges is the inverse of elements, in whatever order the kernel lists them.
func ranges(elements []nftables.SetElement) []Range {
	type edge struct {
		at  netip.Addr
		end bool
	}
	var edges []edge
	for _, e := range elements {
		if a, ok := netip.AddrFromSlice(e.Key); ok {
			edges = append(edges, edge{a, e.IntervalEnd})
		}
	}
	slices.SortFunc(edges, func(a, b edge) int {
		return cmp.Or(a.at.Compare(b.at), cmp.Compare(order(a.end), order(b.end)))
	})
	var out []Range
	for i, e := range edges {
		if e.end {
			continue
		}
		last := highest(e.at)
		if i+1 < len(edges) {
			last = edges[i+1].at.Prev()
		}
		out = append(out, Range{e.at, last})
	}
	return out
}

// order puts the end of one range before the beginning of the next at the same address.
func order(end bool) int {
	if end {
		return 0
	}
	return 1
}

// highest is the last address of the family.
func highest(a netip.Addr) netip.Addr { return lastOf(netip.PrefixFrom(a, 0)) }
