package configure

import (
	"errors"
	"fmt"
	"io/fs"
	"slices"

	"github.com/google/nftables"

	"github.com/strongroom/strongroom/internal/node"
)

// Nftables is the kernel's firewall in this process's network namespace, over netlink.
type Nftables struct{}

// table is what the baked ruleset is in. Its sets are declared there; a set that is missing is
// a broken image and not ours to make.
var table = &nftables.Table{Family: nftables.TableFamilyINet, Name: "strongroom"}

// elementsPerMessage keeps a message's list below the 64 KiB that a netlink attribute can say.
const elementsPerMessage = 512

// Replace flushes and fills the sets in one transaction: no packet meets a set that is half full.
func (Nftables) Replace(sets []Set) error {
	conn, err := nftables.New()
	if err != nil {
		return fmt.Errorf("cannot open netlink: %w", err)
	}
	for _, s := range sets {
		set := kernelSet(s)
		conn.FlushSet(set)
		for chunk := range slices.Chunk(elements(s.Ranges), elementsPerMessage) {
			if err := conn.SetAddElements(set, chunk); err != nil {
				return fmt.Errorf("cannot encode set %s: %w", s.Name, err)
			}
		}
	}
	return explain(conn.Flush())
}

// kernelSet names a set to the kernel.
func kernelSet(s Set) *nftables.Set {
	set := &nftables.Set{Table: table, Name: s.Name, Interval: true, KeyType: nftables.TypeIPAddr}
	if s.IPv6 {
		set.KeyType = nftables.TypeIP6Addr
	}
	return set
}

// explain says what the kernel's refusals mean.
func explain(err error) error {
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return node.Hinted(fmt.Errorf("table inet %s or one of its sets is missing: %w", table.Name, err),
			"nftables.service loads them; see why it did not start")
	case errors.Is(err, fs.ErrPermission):
		return node.Hinted(err, "it takes CAP_NET_ADMIN")
	}
	return err
}

// elements writes ranges as the kernel's interval sets want them: where each begins, and the
// first address behind it.
func elements(ranges []Range) []nftables.SetElement {
	var out []nftables.SetElement
	for _, r := range ranges {
		out = append(out, nftables.SetElement{Key: r.First.AsSlice()})
		// A range that reaches the highest address has no end.
		if behind := r.Last.Next(); behind.IsValid() {
			out = append(out, nftables.SetElement{Key: behind.AsSlice(), IntervalEnd: true})
		}
	}
	return out
}
