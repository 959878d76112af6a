package resource

import (
	"context"
	"fmt"
	"net/netip"
	"regexp"
	"slices"
	"strings"

	"github.com/strongroom/strongroom/internal/control"
	"github.com/strongroom/strongroom/internal/host"
	"github.com/strongroom/strongroom/internal/overlay"
)

// Firewall is the whole packet filter of a node: default drop in every direction, and the
// listed openings. It is rendered as the ruleset that nftables.service loads and verified
// rule by rule over netlink; anything more, less or other fails.
type Firewall struct {
	Inbound  []Opening `yaml:"inbound" json:"inbound"`
	Outbound []Opening `yaml:"outbound" json:"outbound"`
	// Sets are filled at boot from node.hcl; each exists once for IPv4 and once for IPv6.
	Sets []string `yaml:"sets" json:"sets"`
}

// Opening is one permitted flow.
type Opening struct {
	Protocol string `yaml:"protocol" json:"protocol"`       // "tcp", "udp"; "" with a set means any
	Port     int    `yaml:"port" json:"port,omitempty"`     // destination
	Source   int    `yaml:"source" json:"source,omitempty"` // source port, where a protocol fixes it (DHCP)
	// Peer is the other side: a set's name, an address or CIDR, or "" for anyone.
	Peer string `yaml:"peer" json:"peer,omitempty"`
	// Peers stands for several openings, one for each address or CIDR of the list; an empty list opens nothing.
	Peers *[]string `yaml:"peers" json:"peers,omitempty"`
}

// FirewallTable is the one table of a node, in the inet family.
const FirewallTable = "strongroom"

const firewallFile = "/etc/nftables.conf"

var setName = regexp.MustCompile(`^[a-z][a-z_]*$`)

func (f *Firewall) Key() control.Key { return control.Key{Kind: "firewall", Name: FirewallTable} }

func (f *Firewall) Validate() error {
	var r require
	for _, s := range f.Sets {
		r.that(setName.MatchString(s), "set name %q is not lower case letters and underscores", s)
	}
	for _, o := range slices.Concat(f.Inbound, f.Outbound) {
		r.that(o.Peers == nil || o.Peer == "", "peer and peers exclude each other")
		if o.Peers != nil {
			for _, p := range *o.Peers {
				_, isPrefix := parsePeer(p)
				r.that(isPrefix, "peers: %q is not an address", p)
			}
		}
		isSet := slices.Contains(f.Sets, o.Peer)
		_, isPrefix := parsePeer(o.Peer)
		r.that(o.Protocol == "tcp" || o.Protocol == "udp" || o.Protocol == "" && isSet, "protocol %q is neither tcp nor udp", o.Protocol)
		r.that(o.Protocol == "" || o.Port > 0 && o.Port < 65536, "port %d is not between 1 and 65535", o.Port)
		r.that(o.Protocol != "" || o.Port == 0 && o.Source == 0, "a port needs its protocol")
		r.that(o.Source >= 0 && o.Source < 65536, "source port %d is not below 65536", o.Source)
		r.that(o.Peer == "" || isSet || isPrefix, "peer %q is neither a declared set nor an address", o.Peer)
	}
	return r.err()
}

// parsePeer reads an address or CIDR. A zone means nothing to a packet filter, and an IPv4 address in
// IPv6 is never on the wire.
func parsePeer(s string) (netip.Prefix, bool) {
	p, err := netip.ParsePrefix(s)
	if a, addrErr := netip.ParseAddr(s); addrErr == nil {
		p, err = netip.PrefixFrom(a, a.BitLen()), nil
		if a.Zone() != "" {
			return netip.Prefix{}, false
		}
	}
	return p, err == nil && !p.Addr().Is4In6()
}

// The rules that every node has. ICMP errors and neighbour discovery are part of IP, not services.
var (
	inboundBase = []string{
		`iifname "lo" accept`,
		`ct state invalid drop`,
		`ct state established,related accept`,
		`icmp type { destination-unreachable, echo-request, time-exceeded, parameter-problem } accept`,
		`icmpv6 type { destination-unreachable, packet-too-big, time-exceeded, parameter-problem, echo-request, nd-router-advert, nd-neighbor-solicit, nd-neighbor-advert } accept`,
	}
	outboundBase = []string{
		`oifname "lo" accept`,
		`ct state invalid drop`,
		`ct state established,related accept`,
		`icmp type { destination-unreachable, echo-request, time-exceeded, parameter-problem } accept`,
		`icmpv6 type { destination-unreachable, packet-too-big, time-exceeded, parameter-problem, echo-request, nd-router-solicit, nd-neighbor-solicit, nd-neighbor-advert, mld2-listener-report } accept`,
	}
)

// chains gives hook → rules in the text form that host.Ruleset reports.
func (f *Firewall) chains() map[string][]string {
	return map[string][]string{
		"input":   append(slices.Clone(inboundBase), f.rules(f.Inbound, "saddr")...),
		"forward": nil,
		"output":  append(slices.Clone(outboundBase), f.rules(f.Outbound, "daddr")...),
	}
}

var hooks = []string{"input", "forward", "output"}

func (f *Firewall) rules(openings []Opening, side string) []string {
	var out []string
	for _, o := range expand(openings) {
		var words []string
		if o.Source != 0 {
			words = append(words, fmt.Sprintf("%s sport %d", o.Protocol, o.Source))
		}
		if o.Port != 0 {
			words = append(words, fmt.Sprintf("%s dport %d", o.Protocol, o.Port))
		}
		ports := strings.Join(append(words, "accept"), " ")
		prefix, literal := parsePeer(o.Peer)
		switch {
		case o.Peer == "":
			out = append(out, ports)
		case literal && prefix.Addr().Is4():
			out = append(out, "ip "+side+" "+shortPrefix(prefix)+" "+ports)
		case literal:
			out = append(out, "ip6 "+side+" "+shortPrefix(prefix)+" "+ports)
		default:
			out = append(out,
				"ip "+side+" @"+o.Peer+"4 "+ports,
				"ip6 "+side+" @"+o.Peer+"6 "+ports)
		}
	}
	return out
}

// expand gives one opening for each of an opening's peers.
func expand(openings []Opening) []Opening {
	var out []Opening
	for _, o := range openings {
		if o.Peers == nil {
			out = append(out, o)
			continue
		}
		for _, peer := range *o.Peers {
			one := o
			one.Peer, one.Peers = peer, nil
			out = append(out, one)
		}
	}
	return out
}

func shortPrefix(p netip.Prefix) string {
	if p.IsSingleIP() {
		return p.Addr().String()
	}
	return p.Masked().String()
}

func (f *Firewall) Render(control.Profile) ([]overlay.Fragment, error) {
	var b strings.Builder
	b.WriteString("#!/usr/sbin/nft -f\n# The sets are empty until hostcheck-configure fills them from node.hcl.\nflush ruleset\n\n")
	fmt.Fprintf(&b, "table inet %s {\n", FirewallTable)
	for _, s := range f.Sets {
		for _, v := range [][2]string{{"4", "ipv4_addr"}, {"6", "ipv6_addr"}} {
			fmt.Fprintf(&b, "\tset %s%s {\n\t\ttype %s\n\t\tflags interval\n\t\tauto-merge\n\t}\n", s, v[0], v[1])
		}
	}
	chains := f.chains()
	for _, hook := range hooks {
		fmt.Fprintf(&b, "\tchain %s {\n\t\ttype filter hook %s priority filter; policy drop;\n", hook, hook)
		for _, rule := range chains[hook] {
			fmt.Fprintf(&b, "\t\t%s\n", rule)
		}
		b.WriteString("\t}\n")
	}
	b.WriteString("}\n")
	return []overlay.Fragment{
		{Path: firewallFile, Mode: 0o644, Content: []byte(b.String())},
		overlay.Symlink("/etc/systemd/system/sysinit.target.wants/nftables.service", "/usr/lib/systemd/system/nftables.service"),
	}, nil
}

// Expected is the ruleset that Verify accepts, with empty sets.
func (f *Firewall) Expected() host.Ruleset {
	table := host.Table{Family: "inet", Name: FirewallTable}
	chains := f.chains()
	for _, hook := range hooks {
		table.Chains = append(table.Chains, host.Chain{Name: hook, Type: "filter", Hook: hook, Policy: "drop", Rules: chains[hook]})
	}
	for _, s := range f.Sets {
		table.Sets = append(table.Sets, host.Set{Name: s + "4"}, host.Set{Name: s + "6"})
	}
	return host.Ruleset{Tables: []host.Table{table}}
}

func (f *Firewall) Verify(ctx context.Context, h host.Host, stage control.Stage) []control.Observation {
	if !stage.Runs() {
		return nil
	}
	o := effective(f.Key())
	const source = "netlink nf_tables"
	ruleset, err := h.Ruleset(ctx)
	if err != nil {
		o.unknown(source, "readable", err)
		return o.out
	}
	var ours *host.Table
	tables := ""
	for i, t := range ruleset.Tables {
		tables = join(tables, "", t.Family+" "+t.Name)
		if t.Family == "inet" && t.Name == FirewallTable {
			ours = &ruleset.Tables[i]
		}
	}
	if tables == "" {
		tables = "none"
	}
	// A second table can only accept what ours drops in no way, but it can redirect or hide; a
	// sole tenant has no use for one.
	o.equal(source+" tables", "inet "+FirewallTable, tables)
	if ours == nil {
		return o.out
	}
	names := ""
	want := f.chains()
	for _, c := range ours.Chains {
		names = join(names, "", c.Name)
	}
	o.judge(source+" chains", strings.Join(hooks, " "), names, sameWords(strings.Join(hooks, " "), strings.ReplaceAll(names, ",", "")))
	o.equal(source+" sets", setNames(f.Expected().Tables[0].Sets), setNames(ours.Sets))
	for _, c := range ours.Chains {
		rules, known := want[c.Name]
		if !known {
			continue
		}
		where := source + " " + c.Name
		o.equal(where+" hook and policy", fmt.Sprintf("filter hook %s priority 0 policy drop", c.Name),
			fmt.Sprintf("%s hook %s priority %d policy %s", c.Type, c.Hook, c.Priority, c.Policy))
		verifyRules(o, where+" rules", rules, c.Rules)
	}
	return o.out
}

// verifyRules names the first rule that differs: the rest is shifted.
func verifyRules(o *observe, source string, want, got []string) {
	for i := range max(len(want), len(got)) {
		if w, g := at(want, i), at(got, i); w != g {
			o.judge(source, fmt.Sprintf("rule %d: %s", i+1, w), fmt.Sprintf("rule %d: %s", i+1, g), false)
			return
		}
	}
	stated := fmt.Sprintf("%d as stated", len(want))
	o.equal(source, stated, stated)
}

// setNames lists the sets: one that no rule of ours names is of somebody else's making.
func setNames(sets []host.Set) string {
	names := make([]string, 0, len(sets))
	for _, s := range sets {
		names = append(names, s.Name)
	}
	slices.Sort(names)
	return strings.Join(names, " ")
}

func at(list []string, i int) string {
	if i < len(list) {
		return list[i]
	}
	return "no rule"
}
