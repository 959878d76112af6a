package host

import (
	"bytes"
	"encoding/binary"
	"encoding/hex"
	"fmt"
	"math/bits"
	"net/netip"
	"slices"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"
)

// nftType is a data type of nftables: how the bytes of a key read as text, and back.
type nftType struct {
	size    int // in bytes; parse and format see exactly so many
	format  func([]byte) string
	numeric func([]byte) string // inside a range, where nft prints no names
	parse   func(string) ([]byte, bool)
	prefix  bool // ranges are written as CIDRs where they are one
	words   bool // values have no order, so that there are no ranges
}

// The types of our rules.
var (
	nftIPv4    = addressType(4)
	nftIPv6    = addressType(16)
	nftPort    = namedType(2, nil)
	nftByte    = namedType(1, nil)
	nftProto   = namedType(1, protocolNames)
	nftICMP    = namedType(1, icmpTypeNames)
	nftICMPv6  = namedType(1, icmpv6TypeNames)
	nftNFProto = namedType(1, map[uint64]string{unix.NFPROTO_IPV4: "ipv4", unix.NFPROTO_IPV6: "ipv6"})
	nftIfname  = nftType{size: unix.IFNAMSIZ, format: formatIfname, numeric: formatIfname, parse: parseIfname, words: true}
	nftCtState = nftType{size: 4, format: formatCtState, numeric: formatCtState, parse: parseCtState, words: true}
)

// nftTypes are the types of set keys, by nft's names.
var nftTypes = map[string]nftType{
	"ipv4_addr":    nftIPv4,
	"ipv6_addr":    nftIPv6,
	"inet_service": nftPort,
	"inet_proto":   nftProto,
	"icmp_type":    nftICMP,
	"icmpv6_type":  nftICMPv6,
	"ifname":       nftIfname,
	"ct_state":     nftCtState,
}

// Names as nft prints them.
var (
	protocolNames = map[uint64]string{
		1: "icmp", 2: "igmp", 6: "tcp", 17: "udp", 33: "dccp", 47: "gre", 50: "esp", 51: "ah",
		58: "ipv6-icmp", 108: "comp", 132: "sctp", 136: "udplite",
	}
	icmpTypeNames = map[uint64]string{
		0: "echo-reply", 3: "destination-unreachable", 4: "source-quench", 5: "redirect", 8: "echo-request",
		9: "router-advertisement", 10: "router-solicitation", 11: "time-exceeded", 12: "parameter-problem",
		13: "timestamp-request", 14: "timestamp-reply", 15: "info-request", 16: "info-reply",
		17: "address-mask-request", 18: "address-mask-reply",
	}
	icmpv6TypeNames = map[uint64]string{
		1: "destination-unreachable", 2: "packet-too-big", 3: "time-exceeded", 4: "parameter-problem",
		128: "echo-request", 129: "echo-reply", 130: "mld-listener-query", 131: "mld-listener-report",
		132: "mld-listener-done", 133: "nd-router-solicit", 134: "nd-router-advert",
		135: "nd-neighbor-solicit", 136: "nd-neighbor-advert", 137: "nd-redirect",
		138: "router-renumbering", 141: "ind-neighbor-solicit", 142: "ind-neighbor-advert",
		143: "mld2-listener-report",
	}
)

func addressType(size int) nftType {
	format := func(b []byte) string {
		a, _ := netip.AddrFromSlice(b)
		return a.String()
	}
	return nftType{
		size: size, format: format, numeric: format, prefix: true,
		parse: func(s string) ([]byte, bool) {
			a, err := netip.ParseAddr(s)
			if err != nil || a.Zone() != "" || len(a.AsSlice()) != size {
				return nil, false
			}
			return a.AsSlice(), true
		},
	}
}

func namedType(size int, names map[uint64]string) nftType {
	number := func(b []byte) uint64 {
		var wide [8]byte
		copy(wide[8-len(b):], b)
		return binary.BigEndian.Uint64(wide[:])
	}
	numeric := func(b []byte) string { return strconv.FormatUint(number(b), 10) }
	return nftType{
		size:    size,
		numeric: numeric,
		format: func(b []byte) string {
			if name, ok := names[number(b)]; ok {
				return name
			}
			return numeric(b)
		},
		parse: func(s string) ([]byte, bool) {
			n, err := strconv.ParseUint(s, 10, 8*size)
			if err != nil {
				for value, name := range names {
					if name == s {
						n, err = value, nil
					}
				}
			}
			if s == "icmpv6" && size == 1 && names[58] != "" { // nft takes both names and prints one
				n, err = unix.IPPROTO_ICMPV6, nil
			}
			return binary.BigEndian.AppendUint64(nil, n)[8-size:], err == nil
		},
	}
}

// formatIfname quotes a name. A name without a final NUL is a prefix: "eth*".
func formatIfname(b []byte) string {
	if i := bytes.IndexByte(b, 0); i >= 0 {
		return quoted(string(b[:i]))
	}
	return quoted(string(b) + "*")
}

func parseIfname(s string) ([]byte, bool) {
	name := strings.Trim(s, `"`)
	if name == "" || len(name) >= unix.IFNAMSIZ {
		return nil, false
	}
	if prefix, ok := strings.CutSuffix(name, "*"); ok {
		return []byte(prefix), true
	}
	return append([]byte(name), make([]byte, unix.IFNAMSIZ-len(name))...), true
}

// ctStates are the bits of ct state, in the order in which nft prints them.
var ctStates = []string{0: "invalid", 1: "established", 2: "related", 3: "new", 6: "untracked"}

func formatCtState(b []byte) string {
	mask := binary.NativeEndian.Uint32(b)
	var out []string
	for rest := mask; rest != 0; rest &= rest - 1 {
		bit := bits.TrailingZeros32(rest)
		if bit >= len(ctStates) || ctStates[bit] == "" {
			return "0x" + strconv.FormatUint(uint64(mask), 16)
		}
		out = append(out, ctStates[bit])
	}
	return strings.Join(out, ",")
}

func parseCtState(s string) ([]byte, bool) {
	var mask uint32
	for _, name := range strings.Split(s, ",") {
		bit := slices.Index(ctStates, name)
		if bit < 0 || name == "" {
			return nil, false
		}
		mask |= 1 << bit
	}
	return binary.NativeEndian.AppendUint32(nil, mask), true
}

// interval is a closed range of keys; a single key has lo equal to hi.
type interval struct{ lo, hi []byte }

func (t nftType) text(i interval) string {
	if bytes.Equal(i.lo, i.hi) {
		return t.format(i.lo)
	}
	if t.prefix {
		if length, ok := prefixLength(i); ok {
			return t.format(i.lo) + "/" + strconv.Itoa(length)
		}
	}
	return t.numeric(i.lo) + "-" + t.numeric(i.hi)
}

// prefixLength says whether the interval is all addresses of one prefix.
func prefixLength(i interval) (int, bool) {
	length, host := 0, false
	for k := range i.lo {
		for bit := 7; bit >= 0; bit-- {
			lo, hi := i.lo[k]>>bit&1, i.hi[k]>>bit&1
			switch {
			case lo == hi && !host:
				length++
			case lo == 0 && hi == 1:
				host = true
			default:
				return 0, false
			}
		}
	}
	return length, true
}

// interval reads one element: a value, a CIDR, or a range "a-b".
func (t nftType) interval(s string) (interval, bool) {
	if v, ok := t.parse(s); ok {
		return interval{v, v}, true
	}
	if t.prefix {
		if p, err := netip.ParsePrefix(s); err == nil && len(p.Addr().AsSlice()) == t.size {
			return prefixInterval(p.Addr().AsSlice(), p.Bits()), true
		}
	}
	if t.words {
		return interval{}, false
	}
	for i := range s { // names have dashes too: every dash may be the one of the range
		if s[i] != '-' {
			continue
		}
		lo, ok := t.parse(s[:i])
		if !ok {
			continue
		}
		if hi, ok := t.parse(s[i+1:]); ok && bytes.Compare(lo, hi) <= 0 {
			return interval{lo, hi}, true
		}
	}
	return interval{}, false
}

func prefixInterval(address []byte, length int) interval {
	lo, hi := slices.Clone(address), slices.Clone(address)
	for k := range address {
		keep := min(max(length-8*k, 0), 8)
		mask := byte(0xff << (8 - keep))
		lo[k] &= mask
		hi[k] |= ^mask
	}
	return interval{lo, hi}
}

// list writes intervals in order. With merge, those that overlap or touch become one, as nft's
// own auto-merge does: how a set was cut into pieces says nothing about what it matches.
func (t nftType) list(list []interval, merge bool) []string {
	list = slices.Clone(list)
	slices.SortFunc(list, func(a, b interval) int { return bytes.Compare(a.lo, b.lo) })
	out := make([]string, 0, len(list))
	for i := 0; i < len(list); i++ {
		at := list[i]
		for merge && i+1 < len(list) && touches(at.hi, list[i+1].lo) {
			i++
			if bytes.Compare(list[i].hi, at.hi) > 0 {
				at.hi = list[i].hi
			}
		}
		out = append(out, t.text(at))
	}
	return slices.Compact(out)
}

// touches says that nothing lies between hi and lo.
func touches(hi, lo []byte) bool {
	next, ok := step(hi, 1)
	return !ok || bytes.Compare(lo, next) <= 0
}

// step adds one to a big-endian number, or takes one away. It says no at the end of the range.
func step(b []byte, by int) ([]byte, bool) {
	out := slices.Clone(b)
	for k := len(out) - 1; k >= 0; k-- {
		out[k] += byte(by)
		if by > 0 && out[k] != 0 || by < 0 && out[k] != 0xff {
			return out, true
		}
	}
	return out, false
}

// NormalElements writes addresses, CIDRs and ranges of one family as the elements of a Set read:
// overlapping and adjacent ones joined, as CIDR where they are one and as "a-b" where not, sorted.
func NormalElements(elements []string) ([]string, error) {
	if len(elements) == 0 {
		return []string{}, nil
	}
	t := nftIPv4
	if strings.Contains(elements[0], ":") {
		t = nftIPv6
	}
	var list []interval
	for _, e := range elements {
		i, ok := t.interval(strings.TrimSpace(e))
		if !ok {
			return nil, fmt.Errorf("cannot read set element %q: not an address, CIDR or range of the family of %q", e, elements[0])
		}
		list = append(list, i)
	}
	return t.list(list, true), nil
}

func hexText(b []byte) string { return "0x" + hex.EncodeToString(b) }
