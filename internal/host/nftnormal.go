package host

import (
	"bytes"
	"slices"
	"strings"
)

// NormalRule writes a rule of nft's language as Ruleset reads it back from the kernel, so that
// the two can be compared as text. It is a no-op on a rule that is in the normal form already.
//
// The normal form is what `nft list ruleset` prints, for this part of the language, in which the
// matches stand in the order of the rule:
//
//	iifname "lo"                      oifname "lo"               (also with a final *)
//	ct state established,related      ct state != invalid
//	meta l4proto tcp                  meta nfproto ipv4          ip protocol icmp
//	ip saddr 10.0.0.0/8               ip6 daddr @egress6         (also !=, { … } and a-b)
//	tcp dport 8200                    udp sport { 67, 68 }       th dport 53
//	icmp type echo-request            icmpv6 type { nd-neighbor-solicit, nd-router-advert }
//	limit rate 5/second burst 5 packets
//	log prefix "drop: " level info
//	counter
//	accept, drop, return, continue, jump CHAIN, goto CHAIN, reject
//
// with these decisions where nft's own output differs between its versions:
//
//   - the values of counters are left out, the burst of a limit is always there, the level of a log
//     only when it is not warn;
//   - elements of { … } are sorted, by value and not by name; when one of them is a range or a
//     prefix, those that touch are joined; a list of one element is that element;
//   - addresses are in their shortest form, a full-length prefix is left out;
//   - a test that a later match implies ("meta l4proto tcp" before "tcp dport") is left out.
//
// What Ruleset cannot read is "unknown(…)" there, which no rule of this language contains. Text
// that is no rule, with a quote or a brace left open, comes back as it is.
func NormalRule(rule string) string {
	tokens, ok := ruleTokens(rule)
	if !ok {
		return rule
	}
	n := normalizer{in: tokens}
	for len(n.in) > 0 {
		n.next()
	}
	return strings.Join(n.out, " ")
}

type normalizer struct {
	in  []string
	out []string
}

// fieldTypes are the matches whose values have a normal form of their own.
var fieldTypes = map[string]nftType{
	"iifname": nftIfname, "oifname": nftIfname,
	"ct state": nftCtState, "meta l4proto": nftProto, "meta nfproto": nftNFProto,
	"ip protocol": nftProto, "ip saddr": nftIPv4, "ip daddr": nftIPv4,
	"ip6 nexthdr": nftProto, "ip6 saddr": nftIPv6, "ip6 daddr": nftIPv6,
	"tcp sport": nftPort, "tcp dport": nftPort, "udp sport": nftPort, "udp dport": nftPort,
	"th sport": nftPort, "th dport": nftPort,
	"icmp type": nftICMP, "icmp code": nftByte, "icmpv6 type": nftICMPv6, "icmpv6 code": nftByte,
}

func (n *normalizer) take() string {
	t := n.in[0]
	n.in = n.in[1:]
	return t
}

func (n *normalizer) peek(words ...string) bool {
	return len(n.in) >= len(words) && slices.Equal(n.in[:len(words)], words)
}

func (n *normalizer) next() {
	if n.peek("meta", "iifname") || n.peek("meta", "oifname") {
		n.take()
	}
	for _, words := range []int{2, 1} {
		if len(n.in) <= words {
			continue
		}
		if t, ok := fieldTypes[strings.Join(n.in[:words], " ")]; ok {
			n.out = append(n.out, n.in[:words]...)
			n.in = n.in[words:]
			n.value(t)
			return
		}
	}
	switch word := n.take(); word {
	case "counter":
		n.out = append(n.out, word)
		if len(n.in) >= 4 && n.in[0] == "packets" && n.in[2] == "bytes" {
			n.in = n.in[4:]
		}
	case "limit":
		n.limit()
	case "level":
		if n.peek("warn") {
			n.take()
			return
		}
		n.out = append(n.out, word)
	default:
		n.out = append(n.out, word)
	}
}

func (n *normalizer) limit() {
	n.out = append(n.out, "limit")
	for len(n.in) > 0 {
		word := n.take()
		n.out = append(n.out, word)
		if strings.Contains(word, "/") { // the rate ends here
			if !n.peek("burst") {
				n.out = append(n.out, "burst", "5", "packets")
			}
			return
		}
	}
}

func (n *normalizer) value(t nftType) {
	if n.peek("!=") || n.peek("==") || n.peek("!") {
		n.out = append(n.out, n.take())
	}
	if len(n.in) == 0 {
		return
	}
	if !n.peek("{") {
		n.out = append(n.out, normalValue(t, n.take()))
		return
	}
	n.take()
	var elements []string
	for len(n.in) > 0 {
		word := n.take()
		if word == "}" {
			break
		}
		if word != "," {
			elements = append(elements, word)
		}
	}
	n.out = append(n.out, normalList(t, elements))
}

func normalValue(t nftType, s string) string {
	if i, ok := t.interval(s); ok {
		return t.text(i)
	}
	return s
}

func normalList(t nftType, elements []string) string {
	var list []interval
	ranges := false
	for _, e := range elements {
		i, ok := t.interval(e)
		if !ok {
			return "{ " + strings.Join(elements, ", ") + " }"
		}
		ranges = ranges || !bytes.Equal(i.lo, i.hi)
		list = append(list, i)
	}
	return braces(t.list(list, ranges))
}

// braces writes an anonymous set. Newer versions of nft make a plain comparison of a set of one
// element; to us both are the same rule.
func braces(elements []string) string {
	if len(elements) == 1 {
		return elements[0]
	}
	return "{ " + strings.Join(elements, ", ") + " }"
}

// ruleTokens splits a rule into words. A quoted string is one word, and so are the braces of a
// list and, inside them, its commas. It says no when a quote or a brace has no partner.
func ruleTokens(rule string) ([]string, bool) {
	var out []string
	inside := false
	for rule != "" {
		switch c := rule[0]; {
		case strings.IndexByte(" \t\r\n", c) >= 0:
			rule = rule[1:]
		case c == '{' || c == '}':
			if inside == (c == '{') {
				return nil, false
			}
			inside = !inside
			out, rule = append(out, rule[:1]), rule[1:]
		case c == ',' && inside:
			out, rule = append(out, rule[:1]), rule[1:]
		case c == '"': // nft knows no escapes
			end := strings.IndexByte(rule[1:], '"')
			if end < 0 {
				return nil, false
			}
			out, rule = append(out, rule[:end+2]), rule[end+2:]
		default:
			stops := " \t\r\n{}\""
			if inside {
				stops += ","
			}
			end := strings.IndexAny(rule, stops)
			if end < 0 {
				end = len(rule)
			}
			out, rule = append(out, rule[:end]), rule[end:]
		}
	}
	return out, !inside
}
