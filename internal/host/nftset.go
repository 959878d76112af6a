package host

import (
	"bytes"
	"slices"

	"github.com/google/nftables"
)

// nftSet is a set of the kernel as rules see it.
type nftSet struct {
	anonymous bool
	plain     bool // a set of single keys: no map, no concatenation
	interval  bool // elements come as starts and ends
	merged    bool // adjacent elements are one
	size      int  // of a key, in bytes
	keyType   nftType
	known     bool // keyType is one of ours
	intervals []interval
	foreign   []string // elements that we cannot read; they make the set unequal to any expected one
}

// decodeSet turns a set's elements into intervals.
func decodeSet(s *nftables.Set, elements []nftables.SetElement) nftSet {
	out := nftSet{
		anonymous: s.Anonymous,
		plain:     !s.IsMap && !s.Concatenation,
		interval:  s.Interval,
		size:      int(s.KeyType.Bytes),
	}
	out.keyType, out.known = nftTypes[s.KeyType.Name]
	// An anonymous set says what the rule's author wrote, so that it is joined only where nft
	// joins it; a named set is judged by what it matches.
	out.merged = s.Interval || !s.Anonymous && out.known && out.keyType.prefix
	if !out.plain || !out.known {
		for _, e := range elements {
			if e.IntervalEnd {
				continue
			}
			out.foreign = append(out.foreign, "unknown("+hexText(e.Key)+")")
		}
		slices.Sort(out.foreign)
		return out
	}
	out.read(elements)
	return out
}

// read folds elements into intervals. An interval comes as two elements: its first key, and, with
// a flag, the first key after it. The last interval of the key space has no second one.
func (s *nftSet) read(elements []nftables.SetElement) {
	elements = slices.DeleteFunc(slices.Clone(elements), func(e nftables.SetElement) bool {
		switch {
		case len(e.Key) == 0: // the catch-all element, which has no key
			s.foreign = append(s.foreign, "*")
			return true
		case len(e.Key) != s.keyType.size || len(e.KeyEnd) != 0 && len(e.KeyEnd) != s.keyType.size:
			s.foreign = append(s.foreign, "unknown("+hexText(e.Key)+")")
			return true
		}
		return false
	})
	slices.SortFunc(elements, func(a, b nftables.SetElement) int {
		if c := bytes.Compare(a.Key, b.Key); c != 0 {
			return c
		}
		switch { // where one interval ends and the next begins, the end comes first
		case a.IntervalEnd && !b.IntervalEnd:
			return -1
		case b.IntervalEnd && !a.IntervalEnd:
			return 1
		}
		return 0
	})
	for i, e := range elements {
		switch {
		case e.IntervalEnd:
		case len(e.KeyEnd) != 0:
			s.intervals = append(s.intervals, interval{e.Key, e.KeyEnd})
		case !s.interval:
			s.intervals = append(s.intervals, interval{e.Key, e.Key})
		case i+1 < len(elements):
			hi, _ := step(elements[i+1].Key, -1)
			s.intervals = append(s.intervals, interval{e.Key, hi})
		default:
			s.intervals = append(s.intervals, interval{e.Key, bytes.Repeat([]byte{0xff}, len(e.Key))})
		}
	}
}

// elements lists the set as text.
func (s nftSet) elements() []string {
	out := []string{}
	if s.known {
		out = append(out, s.keyType.list(s.intervals, s.merged)...)
	}
	return append(out, s.foreign...)
}
