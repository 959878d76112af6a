package configure_test

import (
	"encoding/hex"
	"encoding/pem"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/strongroom/strongroom/internal/configure"
	"github.com/strongroom/strongroom/internal/node"
	"github.com/strongroom/strongroom/internal/node/nodetest"
)

// dropping is a ruleset that lets out what the sets of egress say, on the loopback too, and nothing else.
const dropping = `
chain output {
  type filter hook output priority filter
  policy drop
  ct state established,related accept
  ip daddr @egress4 accept
}
`

// A whole run behind the kernel's own firewall, which drops all that leaves: the server of the URL is reached while it is asked, and
// neither before nor afterwards.
func TestRunFetchesThroughTheFirewall(t *testing.T) {
	nft, err := exec.LookPath("nft")
	if err != nil {
		t.Skip("SKIPPED: nft is not installed (apt-get install nftables)")
	}
	ip, err := exec.LookPath("ip")
	if err != nil {
		t.Skip("SKIPPED: ip is not installed (apt-get install iproute2)")
	}
	if os.Getenv(inNamespace) == "" {
		again := exec.Command("/proc/self/exe", "-test.run=^TestRunFetchesThroughTheFirewall$", "-test.v")
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
		return
	}
	if out, err := exec.Command(ip, "link", "set", "lo", "up").CombinedOutput(); err != nil {
		t.Fatalf("ip: %v\n%s", err, out)
	}
	load := exec.Command(nft, "-f", "-")
	load.Stdin = strings.NewReader("table inet strongroom {\n" + declarations() + dropping + "}\n")
	if out, err := load.CombinedOutput(); err != nil {
		t.Fatalf("nft: %v\n%s", err, out)
	}
	reachable := func(address string) bool {
		conn, err := net.DialTimeout("tcp", address, time.Second)
		if err == nil {
			conn.Close()
		}
		return err == nil
	}

	for name, trusted := range map[string]bool{"trusted": true, "not trusted": false} {
		t.Run(name, func(t *testing.T) {
			creds := nodetest.NewCA(t, nodetest.Today()).Credentials(config, "node.example")
			creds.Config = nil
			o, _, _ := machine(t, creds)
			o.Firewall = configure.Nftables{}
			for _, dir := range []string{"run/systemd/netif/leases", "usr/lib/strongroom"} {
				if err := os.MkdirAll(filepath.Join(o.Root, dir), 0o755); err != nil {
					t.Fatal(err)
				}
			}
			server := httptest.NewTLSServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { fmt.Fprint(w, config) }))
			defer server.Close()
			authority := pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: server.Certificate().Raw})
			if !trusted {
				authority = nodetest.NewCA(t, nodetest.Today()).PEM
			}
			put(t, o.Root, node.URLAuthorityPath, string(authority))
			put(t, o.Root, "run/systemd/netif/leases/2", "OPTION_224="+hex.EncodeToString([]byte(server.URL))+"\n")

			address := server.Listener.Addr().String()
			if reachable(address) {
				t.Fatal("the firewall lets the server be reached before")
			}
			_, err := configure.Run(t.Context(), o)
			if trusted && err != nil || !trusted && (err == nil || !strings.Contains(err.Error(), "cannot be trusted")) {
				t.Errorf("got error %v", err)
			}
			if reachable(address) {
				t.Error("the firewall lets the server be reached afterwards")
			}
			expect(t, nft, "egress4")
			if trusted {
				expect(t, nft, "monitoring4", "192.0.2.7")
			}
		})
	}
}

// declarations are the sets as the baked ruleset has them.
func declarations() string {
	var out strings.Builder
	for _, s := range configure.Sets(node.Firewall{}) {
		kind := "ipv4_addr"
		if s.IPv6 {
			kind = "ipv6_addr"
		}
		fmt.Fprintf(&out, "  set %s {\n type %s\n flags interval\n auto-merge\n }\n", s.Name, kind)
	}
	return out.String()
}
