package resource_test

import (
	"os/exec"
	"strings"
	"testing"

	"github.com/strongroom/strongroom/internal/check/checktest"
	"github.com/strongroom/strongroom/internal/control"
	"github.com/strongroom/strongroom/internal/host"
	"github.com/strongroom/strongroom/internal/resource"
)

// catalogueFirewall is the firewall that the real catalogue states.
func catalogueFirewall(t *testing.T) *resource.Firewall {
	t.Helper()
	for _, c := range checktest.Compile(t, checktest.Profile()).Controls {
		for _, r := range c.Resources {
			if f, ok := r.(*resource.Firewall); ok {
				return f
			}
		}
	}
	t.Fatal("the catalogue states no firewall")
	return nil
}

// nft runs the real nft in the namespace of this thread, as nftables.service does with the file.
func nft(t *testing.T, script string) {
	t.Helper()
	cmd := exec.Command("nft", "-f", "-")
	cmd.Stdin = strings.NewReader(script)
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("nft: %v (run `make deps` when it is not installed)\n%s\n%s", err, out, script)
	}
}

// What is rendered, loaded by the real nft and read back from the kernel is what is verified; and any
// change but to the elements of a set is seen.
func TestFirewallInTheKernel(t *testing.T) {
	inFreshNetns(t)
	f := catalogueFirewall(t)
	rendered, err := f.Render(control.Profile{})
	if err != nil {
		t.Fatal(err)
	}
	config := string(rendered[0].Content)
	for _, c := range []struct {
		name, mutation string
		want           control.Outcome
	}{
		{"as rendered", "", control.Pass},
		{"loaded twice", config, control.Pass},
		{"a set is filled", "add element inet strongroom api_clients4 { 10.0.0.0/8, 192.0.2.1 }\nadd element inet strongroom egress6 { ::/0 }", control.Pass},
		{"a rule is added", "add rule inet strongroom input tcp dport 22 accept", control.Fail},
		{"a rule is put in front", "insert rule inet strongroom output accept", control.Fail},
		{"a rule that drops is added", "add rule inet strongroom forward drop", control.Fail},
		{"a rule of unknown kind is added", "add rule inet strongroom input meta skuid 0 accept", control.Fail},
		{"a rule is there twice", "add rule inet strongroom output ip6 daddr @egress6 accept", control.Fail},
		{"a chain is emptied", "flush chain inet strongroom input", control.Fail},
		{"the table is emptied", "flush table inet strongroom", control.Fail},
		{"input accepts", "chain inet strongroom input { policy accept; }", control.Fail},
		{"output accepts", "chain inet strongroom output { policy accept; }", control.Fail},
		{"forward accepts", "chain inet strongroom forward { policy accept; }", control.Fail},
		{"another chain", "add chain inet strongroom early { type filter hook input priority -10; policy accept; }", control.Fail},
		{"another table", "add table ip nat", control.Fail},
		{"the same name in another family", "add table ip strongroom", control.Fail},
		{"the table sleeps", "add table inet strongroom { flags dormant; }", control.Fail},
		{"no rules at all", "flush ruleset", control.Fail},
		{"a rule has another port", "flush ruleset\n" + strings.Replace(config, "dport 8201", "dport 8202", 1), control.Fail},
		{"a rule has another set", "flush ruleset\n" + strings.Replace(config, "@monitoring4", "@egress4", 1), control.Fail},
		{"a rule has another verdict", "flush ruleset\n" + strings.Replace(config, "ct state invalid drop", "ct state invalid accept", 1), control.Fail},
		{"a type is more", "flush ruleset\n" + strings.Replace(config, "{ destination-unreachable, echo-request", "{ destination-unreachable, redirect, echo-request", 1), control.Fail},
		{"a chain has another priority", "flush ruleset\n" + strings.Replace(config, "hook input priority filter", "hook input priority 5", 1), control.Fail},
		{"two rules change places", "flush ruleset\n" + strings.Replace(config, "\t\tct state invalid drop\n\t\tct state established,related accept\n", "\t\tct state established,related accept\n\t\tct state invalid drop\n", 1), control.Fail},
	} {
		t.Run(c.name, func(t *testing.T) {
			inFreshNetns(t) // a subtest is a goroutine, and a thread, of its own
			nft(t, config)
			if c.mutation != "" {
				nft(t, c.mutation)
			}
			live, err := host.Live(host.LiveOptions{})
			if err != nil {
				t.Fatal(err)
			}
			defer live.Close()
			if got, said := judge(t, f, live, control.StageBoot); got != c.want {
				t.Errorf("%s, want %s:\n%s", got, c.want, said)
			}
		})
	}
}

// Rules are rendered in the normal form, so that they compare as text with what the kernel holds.
func TestFirewallRulesAreNormal(t *testing.T) {
	for _, chain := range catalogueFirewall(t).Expected().Tables[0].Chains {
		for _, rule := range chain.Rules {
			if normal := host.NormalRule(rule); normal != rule {
				t.Errorf("%s\n  reads back as %s\n  rendered as   %s", chain.Name, normal, rule)
			}
		}
	}
}
