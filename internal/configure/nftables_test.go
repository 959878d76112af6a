package configure_test

import (
	"encoding/json"
	"errors"
	"fmt"
	"net/netip"
	"os"
	"os/exec"
	"slices"
	"strings"
	"syscall"
	"testing"

	"github.com/strongroom/strongroom/internal/configure"
	"github.com/strongroom/strongroom/internal/node"
)

// inNamespace marks the test program that was started again in a network namespace of its own.
const inNamespace = "STRONGROOM_TEST_NETNS"

// The kernel's own firewall, in a fresh network namespace, listed by the real nft.
func TestNftables(t *testing.T) {
	nft, err := exec.LookPath("nft")
	if err != nil {
		t.Skip("SKIPPED: nft is not installed (apt-get install nftables)")
	}
	if os.Getenv(inNamespace) == "" {
		again := exec.Command("/proc/self/exe", "-test.run=^TestNftables$", "-test.v")
		again.Env = append(os.Environ(), inNamespace+"=1")
		again.SysProcAttr = &syscall.SysProcAttr{
			Cloneflags:  syscall.CLONE_NEWUSER | syscall.CLONE_NEWNET,
			UidMappings: []syscall.SysProcIDMap{{ContainerID: 0, HostID: os.Getuid(), Size: 1}},
			GidMappings: []syscall.SysProcIDMap{{ContainerID: 0, HostID: os.Getgid(), Size: 1}},
		}
		out, err := again.CombinedOutput()
		if errors.Is(err, syscall.EPERM) || errors.Is(err, syscall.ENOSPC) {
			t.Skip("SKIPPED: this machine allows no user namespaces")
		}
		if err != nil {
			t.Fatalf("%v\n%s", err, out)
		}
		t.Logf("%s", out)
		return
	}

	err = configure.Nftables{}.Replace(configure.Sets(node.Firewall{}))
	if err == nil || !strings.Contains(err.Error(), "nftables.service") {
		t.Errorf("without the table: %v", err)
	}

	var ruleset strings.Builder
	ruleset.WriteString("table inet strongroom {\n")
	ruleset.WriteString(declarations())
	ruleset.WriteString("  chain input {\n type filter hook input priority filter\n policy drop\n tcp dport 8200 ip saddr @api_clients4 accept\n }\n}\n")
	load := exec.Command(nft, "-f", "-")
	load.Stdin = strings.NewReader(ruleset.String())
	if out, err := load.CombinedOutput(); err != nil {
		t.Fatalf("nft: %v\n%s", err, out)
	}

	replace := func(f node.Firewall) {
		t.Helper()
		if err := (configure.Nftables{}).Replace(configure.Sets(f)); err != nil {
			t.Fatal(err)
		}
	}
	var many []netip.Prefix
	for i := range 4000 {
		many = append(many, netip.PrefixFrom(netip.AddrFrom4([4]byte{10, byte(i >> 8), byte(i), 1}), 32))
	}
	replace(node.Firewall{
		APIClients:   prefixes("10.0.0.0/8", "10.1.0.0/16", "192.0.2.7/32", "2001:db8::/32", "255.255.255.0/24"),
		Monitoring:   prefixes("fe80::/10", "ff00::/16", "0.0.0.0/8"),
		ClusterPeers: many,
		Egress:       prefixes("0.0.0.0/0", "::/0"),
	})
	expect(t, nft, "api_clients4", "10.0.0.0/8", "192.0.2.7", "255.255.255.0/24")
	expect(t, nft, "api_clients6", "2001:db8::/32")
	expect(t, nft, "monitoring4", "0.0.0.0/8")
	expect(t, nft, "monitoring6", "fe80::/10", "ff00::/16")
	expect(t, nft, "egress4", "0.0.0.0/0")
	expect(t, nft, "egress6", "::/0")
	if got := listing(t, nft, "cluster_peers4"); len(got) != len(many) {
		t.Errorf("cluster_peers4 has %d elements, want %d", len(got), len(many))
	}

	replace(node.Firewall{APIClients: prefixes("10.9.0.0/16", "10.8.0.0/16")})
	expect(t, nft, "api_clients4", "10.8.0.0/15")
	expect(t, nft, "api_clients6")
	expect(t, nft, "cluster_peers4")
	expect(t, nft, "egress6")

	testAdmit(t, nft, replace)

	// All or nothing: when one set is missing, the others keep what they had.
	if out, err := exec.Command(nft, "delete", "set", "inet", "strongroom", "egress6").CombinedOutput(); err != nil {
		t.Fatalf("nft: %v\n%s", err, out)
	}
	if err := (configure.Nftables{}).Replace(configure.Sets(node.Firewall{})); err == nil {
		t.Error("a missing set is no error")
	}
	expect(t, nft, "api_clients4", "10.8.0.0/15")
}

// testAdmit opens and closes the firewall around a fetch: on a first boot, and on a node that runs.
func testAdmit(t *testing.T, nft string, replace func(node.Firewall)) {
	t.Helper()
	admit := func(addresses ...string) func() error {
		t.Helper()
		var list []netip.Addr
		for _, a := range addresses {
			list = append(list, netip.MustParseAddr(a))
		}
		restore, err := configure.Nftables{}.Admit(list)
		if err != nil {
			t.Fatal(err)
		}
		return restore
	}
	before := listing(t, nft, "api_clients4")
	restore := admit("192.0.2.1", "2001:db8::1")
	expect(t, nft, "egress4", "192.0.2.1")
	expect(t, nft, "egress6", "2001:db8::1")
	if err := restore(); err != nil {
		t.Fatal(err)
	}
	expect(t, nft, "egress4")
	expect(t, nft, "egress6")
	expect(t, nft, "api_clients4", before...)

	running := node.Firewall{APIClients: prefixes("10.8.0.0/15"), Egress: prefixes("192.0.2.0/32", "198.51.100.0/24", "255.255.255.0/24", "fd00::/8", "ff00::/8")}
	replace(running)
	restore = admit("192.0.2.1", "198.51.100.7", "203.0.113.9", "2001:db8::1")
	expect(t, nft, "egress4", "192.0.2.0/31", "198.51.100.0/24", "203.0.113.9", "255.255.255.0/24")
	expect(t, nft, "egress6", "2001:db8::1", "fd00::/8", "ff00::/8")
	if err := restore(); err != nil {
		t.Fatal(err)
	}
	expect(t, nft, "egress4", "192.0.2.0", "198.51.100.0/24", "255.255.255.0/24")
	expect(t, nft, "egress6", "fd00::/8", "ff00::/8")
	expect(t, nft, "api_clients4", "10.8.0.0/15")

	replace(node.Firewall{APIClients: prefixes("10.8.0.0/15"), Egress: prefixes("0.0.0.0/0", "::/0")})
	restore = admit("192.0.2.1", "2001:db8::1")
	if err := restore(); err != nil {
		t.Fatal(err)
	}
	expect(t, nft, "egress4", "0.0.0.0/0")
	expect(t, nft, "egress6", "::/0")
}

func prefixes(list ...string) []netip.Prefix {
	var out []netip.Prefix
	for _, s := range list {
		out = append(out, netip.MustParsePrefix(s))
	}
	return out
}

func expect(t *testing.T, nft, set string, want ...string) {
	t.Helper()
	if got := listing(t, nft, set); !slices.Equal(got, want) {
		t.Errorf("set %s has %q, want %q", set, got, want)
	}
}

// listing gives a set's elements as nft tells them.
func listing(t *testing.T, nft, set string) []string {
	t.Helper()
	out, err := exec.Command(nft, "-j", "list", "set", "inet", "strongroom", set).Output()
	if err != nil {
		t.Fatalf("nft: %v", err)
	}
	var reply struct {
		Nftables []struct {
			Set *struct {
				Elem []json.RawMessage `json:"elem"`
			} `json:"set"`
		} `json:"nftables"`
	}
	if err := json.Unmarshal(out, &reply); err != nil {
		t.Fatal(err)
	}
	var elements []string
	for _, item := range reply.Nftables {
		if item.Set == nil {
			continue
		}
		for _, raw := range item.Set.Elem {
			var address string
			var network struct {
				Prefix struct {
					Addr string `json:"addr"`
					Len  int    `json:"len"`
				} `json:"prefix"`
			}
			if json.Unmarshal(raw, &address) == nil {
				elements = append(elements, address)
			} else if json.Unmarshal(raw, &network) == nil && network.Prefix.Addr != "" {
				elements = append(elements, fmt.Sprintf("%s/%d", network.Prefix.Addr, network.Prefix.Len))
			} else {
				elements = append(elements, string(raw))
			}
		}
	}
	return elements
}
