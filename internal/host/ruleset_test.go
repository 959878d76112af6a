package host_test

import (
	"os"
	"os/exec"
	"runtime"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/sys/unix"

	"github.com/strongroom/strongroom/internal/host"
)

// inFreshNetns runs the test on a thread with an empty network namespace of its own. The thread is
// never unlocked, so that the runtime ends it with the goroutine.
func inFreshNetns(t *testing.T) {
	t.Helper()
	if os.Geteuid() != 0 {
		t.Skip("SKIPPED, NOTHING WAS PROVEN: reading nftables needs root; run `make test` as root")
	}
	if _, err := exec.LookPath("nft"); err != nil {
		t.Fatal("nft is not installed; run `make deps`")
	}
	runtime.LockOSThread()
	if err := unix.Unshare(unix.CLONE_NEWNET); err != nil {
		t.Fatalf("cannot make a network namespace: %v", err)
	}
}

// nft loads a ruleset with the real nft. A child is forked from this thread, in its namespace.
func nft(t *testing.T, script string) {
	t.Helper()
	cmd := exec.Command("nft", "-f", "-")
	cmd.Stdin = strings.NewReader(script)
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("nft: %v\n%s", err, out)
	}
}

func readRuleset(t *testing.T) host.Ruleset {
	t.Helper()
	live, err := host.Live(host.LiveOptions{})
	must(t, err)
	defer live.Close()
	r, err := live.Ruleset(t.Context())
	must(t, err)
	return r
}

// ruleCases are rules as somebody writes them, with the text that the kernel's side must read as.
// An empty want means that the rule is in the normal form already.
var ruleCases = []struct{ family, rule, want string }{
	{"inet", `iifname "lo" accept`, ``},
	{"inet", `oifname "lo" accept`, ``},
	{"inet", `iifname lo accept`, `iifname "lo" accept`},
	{"inet", `iifname "eth*" drop`, ``},
	{"inet", `iifname { "lo", "eth0" } accept`, `iifname { "eth0", "lo" } accept`},
	{"inet", `ct state established,related accept`, ``},
	{"inet", `ct state related,established accept`, `ct state established,related accept`},
	{"inet", `ct state invalid drop`, ``},
	{"inet", `ct state new,established,related,invalid,untracked accept`, `ct state invalid,established,related,new,untracked accept`},
	{"inet", `ct state != invalid accept`, ``},
	{"inet", `ct state { established, related } accept`, ``},
	{"inet", `ip protocol icmp accept`, ``},
	{"inet", `ip6 nexthdr ipv6-icmp accept`, ``},
	{"inet", `meta l4proto ipv6-icmp accept`, ``},
	{"inet", `meta l4proto icmpv6 accept`, `meta l4proto ipv6-icmp accept`},
	{"inet", `meta l4proto tcp accept`, ``},
	{"inet", `meta l4proto != tcp accept`, ``},
	{"inet", `meta l4proto { udp, tcp } accept`, `meta l4proto { tcp, udp } accept`},
	{"inet", `meta l4proto { tcp, udp } th dport 53 accept`, ``},
	{"inet", `meta nfproto ipv4 drop`, ``},
	{"inet", `meta nfproto ipv4 tcp dport 9 drop`, ``},
	{"inet", `meta nfproto ipv6 ct state invalid drop`, ``},
	{"inet", `ip saddr @a4 accept`, ``},
	{"inet", `ip saddr != @a4 accept`, ``},
	{"inet", `ip saddr @a4 tcp dport 8200 accept`, ``},
	{"inet", `ip6 saddr @a6 tcp dport 8200 accept`, ``},
	{"inet", `ip6 daddr @a6 udp dport 53 accept`, ``},
	{"inet", `tcp dport 8200 ip saddr @a4 accept`, ``},
	{"inet", `ip saddr 10.0.0.0/8 accept`, ``},
	{"inet", `ip saddr 10.0.0.0/9 accept`, ``},
	{"inet", `ip saddr 10.1.2.0/24 accept`, ``},
	{"inet", `ip saddr != 10.0.0.0/8 drop`, ``},
	{"inet", `ip saddr 192.0.2.1/32 accept`, `ip saddr 192.0.2.1 accept`},
	{"inet", `ip saddr 10.0.0.3-10.0.0.9 drop`, ``},
	{"inet", `ip saddr 192.0.2.1 ip daddr 192.0.2.2 accept`, ``},
	{"inet", `ip daddr 169.254.169.254 tcp dport { 80, 443 } counter accept`, ``},
	{"inet", `ip daddr { 192.0.2.2, 192.0.2.1 } accept`, `ip daddr { 192.0.2.1, 192.0.2.2 } accept`},
	{"inet", `ip daddr { 192.0.2.1, 10.0.0.0/8 } accept`, `ip daddr { 10.0.0.0/8, 192.0.2.1 } accept`},
	{"inet", `ip daddr { 10.0.0.0/9, 10.128.0.0/9, 192.0.2.1 } accept`, `ip daddr { 10.0.0.0/8, 192.0.2.1 } accept`},
	{"inet", `ip6 saddr fe80::/10 accept`, ``},
	{"inet", `ip6 saddr 2001:0db8:0000::1 accept`, `ip6 saddr 2001:db8::1 accept`},
	{"inet", `ip6 saddr 2001:db8::/32 accept`, ``},
	{"inet", `ip6 daddr ff02::1:2 udp dport 547 accept`, ``},
	{"inet", `ip6 saddr { fe80::/10, ::1 } accept`, `ip6 saddr { ::1, fe80::/10 } accept`},
	{"inet", `tcp dport 8200 accept`, ``},
	{"inet", `tcp dport != 22 drop`, ``},
	{"inet", `tcp dport 8200-8201 accept`, ``},
	{"inet", `tcp dport { 8201, 8200 } accept`, `tcp dport { 8200, 8201 } accept`},
	{"inet", `tcp dport { 8200 } accept`, `tcp dport 8200 accept`},
	{"inet", `tcp dport { 80, 1-5 } accept`, `tcp dport { 1-5, 80 } accept`},
	{"inet", `tcp dport { 6, 1-5 } accept`, `tcp dport 1-6 accept`},
	{"inet", `tcp dport { 65000-65535, 0-9 } accept`, `tcp dport { 0-9, 65000-65535 } accept`},
	{"inet", `udp sport 67 udp dport 68 accept`, ``},
	{"inet", `udp dport { 67, 68 } accept`, ``},
	{"inet", `udp sport 123 accept`, ``},
	{"inet", `icmp type echo-request accept`, ``},
	{"inet", `icmp type { echo-request, destination-unreachable } accept`, `icmp type { destination-unreachable, echo-request } accept`},
	{"inet", `icmp type echo-request icmp code 0 accept`, ``},
	{"inet", `icmpv6 type nd-neighbor-solicit accept`, ``},
	{"inet", `icmpv6 type { nd-neighbor-advert, nd-neighbor-solicit, echo-request } accept`, `icmpv6 type { echo-request, nd-neighbor-solicit, nd-neighbor-advert } accept`},
	{"inet", `icmpv6 type { nd-neighbor-solicit, 134, 130-132 } accept`, `icmpv6 type { 130-132, 134-135 } accept`},
	{"inet", `limit rate 5/second drop`, `limit rate 5/second burst 5 packets drop`},
	{"inet", `limit rate over 5/minute burst 10 packets drop`, ``},
	{"inet", `log prefix "drop: " counter drop`, ``},
	{"inet", `log prefix "a\b { 2, 1 } tcp dport { 2, 1 }" level info drop`, ``},
	{"inet", `log prefix "x" level warn drop`, `log prefix "x" drop`},
	{"inet", `log group 2 accept`, ``},
	{"inet", `counter packets 5 bytes 300 accept`, `counter accept`},
	{"inet", `counter`, ``},
	{"inet", `return`, ``},
	{"inet", `continue`, ``},
	{"inet", `jump other`, ``},
	{"inet", `goto other`, ``},
	{"inet", `reject`, ``},
	{"inet", `reject with icmpx admin-prohibited`, ``},
	{"inet", `tcp dport 113 reject with tcp reset`, ``},
	{"ip", `ip saddr 10.0.0.0/8 tcp dport 22 drop`, ``},
	{"ip", `icmp type echo-request accept`, ``},
	{"ip", `reject`, ``},
	{"ip6", `ip6 saddr fe80::/10 accept`, ``},
	{"ip6", `icmpv6 type nd-router-advert accept`, ``},
	{"ip6", `reject`, ``},
	{"arp", `drop`, ``},
}

func TestRulesReadAsTheyWereWritten(t *testing.T) {
	inFreshNetns(t)
	var script strings.Builder
	families := map[string][]string{}
	for _, c := range ruleCases {
		families[c.family] = append(families[c.family], c.rule)
	}
	for family, rules := range families {
		script.WriteString("table " + family + " t {\n chain other { }\n")
		if family == "inet" {
			script.WriteString("set a4 { type ipv4_addr; flags interval; auto-merge; }\n")
			script.WriteString("set a6 { type ipv6_addr; flags interval; auto-merge; elements = { ::1 } }\n")
		}
		script.WriteString("chain c {\n" + strings.Join(rules, "\n") + "\n}\n}\n")
	}
	nft(t, script.String())
	got := map[string][]string{}
	for _, table := range readRuleset(t).Tables {
		for _, chain := range table.Chains {
			if chain.Name == "c" {
				got[table.Family] = chain.Rules
			}
		}
	}
	for _, c := range ruleCases {
		want := c.want
		if want == "" {
			want = c.rule
		}
		if len(got[c.family]) == 0 {
			t.Fatalf("family %s: fewer rules than were loaded", c.family)
		}
		rule := got[c.family][0]
		got[c.family] = got[c.family][1:]
		if rule != want {
			t.Errorf("%s: %s\n  kernel reads as %s\n  want            %s", c.family, c.rule, rule, want)
		}
		if n := host.NormalRule(c.rule); n != want {
			t.Errorf("NormalRule(%s)\n  gives %s\n  want  %s", c.rule, n, want)
		}
	}
}

func TestNormalRuleIsIdempotent(t *testing.T) {
	for _, c := range ruleCases {
		once := host.NormalRule(c.rule)
		if twice := host.NormalRule(once); twice != once {
			t.Errorf("%s: %s becomes %s", c.rule, once, twice)
		}
	}
}

// A rule outside the grammar must not read like one inside it, least of all like itself without
// the part that nobody understood.
func TestUnknownRulesAreLoud(t *testing.T) {
	inFreshNetns(t)
	rules := []string{
		`rt classid 5 accept`,
		`socket transparent 1 accept`,
		`meta skuid 5 accept`,
		`meta mark set 1 accept`,
		`ct mark 1 accept`,
		`ct state vmap { established : accept, invalid : drop }`,
		`tcp flags syn accept`,
		`tcp flags & (syn|ack) == syn accept`,
		`ip saddr . tcp dport { 192.0.2.1 . 80 } accept`,
		`ip ttl 1 accept`,
		`@th,16,16 22 accept`,
		`ip saddr & 255.0.255.0 == 10.0.1.0 accept`,
		`numgen random mod 2 == 0 accept`,
		`fib saddr oif 0 drop`,
		`quota over 10 mbytes drop`,
		`notrack`,
		`ip dscp set cs1`,
		`tcp option maxseg size set 1000`,
		`iif 1 accept`,
	}
	nft(t, "table inet t { chain c {\n"+strings.Join(rules, "\n")+"\n}\n}")
	got := readRuleset(t).Tables[0].Chains[0].Rules
	if len(got) != len(rules) {
		t.Fatalf("%d rules, want %d: %q", len(got), len(rules), got)
	}
	for i, rule := range rules {
		if !strings.Contains(got[i], "unknown(") {
			t.Errorf("%s reads as %s", rule, got[i])
		}
	}
}

func TestRuleset(t *testing.T) {
	inFreshNetns(t)
	if r := readRuleset(t); len(r.Tables) != 0 {
		t.Fatalf("an empty namespace has %+v", r)
	}
	nft(t, `
table inet strongroom {
	set api4 { type ipv4_addr; flags interval; auto-merge; elements = { 192.0.2.7-192.0.2.9, 10.0.0.0/8, 11.0.0.0/8, 192.0.2.5 } }
	set api6 { type ipv6_addr; flags interval; auto-merge; elements = { fd00::/8, ::1 } }
	set empty4 { type ipv4_addr; flags interval; auto-merge; }
	set plain4 { type ipv4_addr; elements = { 192.0.2.2, 192.0.2.1, 192.0.2.4 } }
	set all4 { type ipv4_addr; flags interval; elements = { 0.0.0.0/0 } }
	set all6 { type ipv6_addr; flags interval; elements = { ::/0 } }
	set top4 { type ipv4_addr; flags interval; elements = { 255.255.255.255 } }
	set any4 { type ipv4_addr; flags interval; elements = { 192.0.2.1, * } }
	set ports { type inet_service; elements = { 443, 80 } }
	set concat { type ipv4_addr . inet_service; elements = { 192.0.2.1 . 80 } }
	map m { type ipv4_addr : verdict; elements = { 192.0.2.1 : accept } }
	chain input { type filter hook input priority filter; policy drop; iifname "lo" accept; jump rest; }
	chain forward { type filter hook forward priority filter; policy accept; }
	chain output { type filter hook output priority 10; policy drop; ip daddr @api4 accept; }
	chain rest { drop; }
}
table ip foreign {
	chain post { type nat hook postrouting priority srcnat; masquerade; }
}
table inet asleep {
	flags dormant
	chain input { type filter hook input priority 0; policy drop; }
}
`)
	want := host.Ruleset{Tables: []host.Table{
		{Family: "inet", Name: "asleep", Dormant: true, Sets: []host.Set{}, Chains: []host.Chain{
			{Name: "input", Type: "filter", Policy: "drop", Rules: []string{}},
		}},
		{
			Family: "inet", Name: "strongroom",
			Chains: []host.Chain{
				{Name: "forward", Type: "filter", Hook: "forward", Policy: "accept", Rules: []string{}},
				{Name: "input", Type: "filter", Hook: "input", Policy: "drop", Rules: []string{`iifname "lo" accept`, "jump rest"}},
				{Name: "output", Type: "filter", Hook: "output", Policy: "drop", Priority: 10, Rules: []string{"ip daddr @api4 accept"}},
				{Name: "rest", Rules: []string{"drop"}},
			},
			Sets: []host.Set{
				{Name: "all4", Elements: []string{"0.0.0.0/0"}},
				{Name: "all6", Elements: []string{"::/0"}},
				{Name: "any4", Elements: []string{"192.0.2.1", "*"}},
				{Name: "api4", Elements: []string{"10.0.0.0/7", "192.0.2.5", "192.0.2.7-192.0.2.9"}},
				{Name: "api6", Elements: []string{"::1", "fd00::/8"}},
				{Name: "concat", Elements: []string{"unknown(0xc000020100500000)"}},
				{Name: "empty4", Elements: []string{}},
				{Name: "m", Elements: []string{"unknown(0xc0000201)"}},
				{Name: "plain4", Elements: []string{"192.0.2.1-192.0.2.2", "192.0.2.4"}},
				{Name: "ports", Elements: []string{"80", "443"}},
				{Name: "top4", Elements: []string{"255.255.255.255"}},
			},
		},
		{Family: "ip", Name: "foreign", Sets: []host.Set{}, Chains: []host.Chain{
			{Name: "post", Type: "nat", Hook: "postrouting", Policy: "accept", Priority: 100, Rules: []string{"unknown(masq)"}},
		}},
	}}
	if diff := cmp.Diff(want, readRuleset(t)); diff != "" {
		t.Errorf("want, got:\n%s", diff)
	}
}

func TestNormalElements(t *testing.T) {
	for _, c := range []struct {
		in   string
		want string
		bad  bool
	}{
		{in: "", want: ""},
		{in: "10.0.0.0/8 10.1.0.0/16 192.0.2.1", want: "10.0.0.0/8 192.0.2.1"},
		{in: "10.0.0.1 10.0.0.0 10.0.0.2", want: "10.0.0.0-10.0.0.2"},
		{in: "10.0.0.1/8", want: "10.0.0.0/8"},
		{in: "fd00::/8 ::1/128", want: "::1 fd00::/8"},
		{in: "255.255.255.255 0.0.0.0", want: "0.0.0.0 255.255.255.255"},
		{in: "::/0 ::1", want: "::/0"},
		{in: "10.0.0.1 ::1", bad: true},
		{in: "host.example", bad: true},
		{in: "10.0.0.9-10.0.0.1", bad: true},
		{in: "fe80::1%eth0", bad: true},
	} {
		got, err := host.NormalElements(strings.Fields(c.in))
		if (err != nil) != c.bad || strings.Join(got, " ") != c.want {
			t.Errorf("%s: got %q, %v", c.in, got, err)
		}
	}
}
