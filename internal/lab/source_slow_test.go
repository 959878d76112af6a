//go:build boot && slow

package lab

import (
	"net/http"
	"os"
	"path/filepath"
	"sync/atomic"
	"testing"

	"github.com/strongroom/strongroom/internal/image"
	"github.com/strongroom/strongroom/internal/lab/network"
	"github.com/strongroom/strongroom/internal/netboot"
	"github.com/strongroom/strongroom/internal/node"
)

// TestBootIdentityFromURL boots a node that is handed its TLS material and no node.hcl. A DHCP option says where that lies, and
// the image which authority to believe; firewall, sandbox and AppArmor let the node fetch it and close behind it.
func TestBootIdentityFromURL(t *testing.T) {
	segment, err := network.New(testLog())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { segment.Close() })
	authority := newAuthority(t)
	lease, err := segment.Lease("node-1", PortAPI)
	if err != nil {
		t.Fatal(err)
	}
	handed, document := withoutConfig(t, authority, lease)
	asked := serveConfig(t, segment, lease, authority, document)

	// The authority is new, and so is the image that believes it.
	if err := bake(t.Context(), recipe{name: "url", parameters: map[string]string{"node_config_ca": string(authority.CA())}}); err != nil {
		t.Fatal(err)
	}
	config := Config{
		Disk: newDisk(t, filepath.Join(workDir, "url", "disk.raw")), UUID: NewUUID(), Network: segment, Credentials: handed,
		ConsoleLog: filepath.Join(t.TempDir(), "console.log"), Log: testLog(),
	}
	fetching := startAs(t, authority, config)
	requirePass(t, verdictOf(t, fetching))
	if asked.Load() == 0 {
		t.Error("nobody asked for node.hcl, and the node has one")
	}
	powerOff(t, fetching)
	requireUndisturbed(t, fetching, "vault")
}

// withoutConfig is what a node is handed but for its node.hcl, and that.
func withoutConfig(t *testing.T, authority *Authority, lease *network.Lease) (handed []Credential, document []byte) {
	t.Helper()
	credentials, err := authority.Credentials(identityOf(lease, Services{}.orUsual()))
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range credentials {
		if c.Name == node.CredentialConfig {
			document = c.Value.Reveal()
			continue
		}
		handed = append(handed, c)
	}
	return handed, document
}

// serveConfig has a server of an authority give a node.hcl to the machine of a lease, whose DHCP option says where. It counts who got it.
func serveConfig(t *testing.T, segment *network.Network, lease *network.Lease, authority *Authority, document []byte) *atomic.Int32 {
	t.Helper()
	asked := &atomic.Int32{}
	serve(t, segment, authority, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path != "/node.hcl" {
			http.NotFound(w, r)
			return
		}
		asked.Add(1)
		_, _ = w.Write(document)
	}))
	segment.SetOption(lease, 224, []byte("https://host.lab:8443/node.hcl"))
	return asked
}

// startAs starts a node that gets nothing but what the configuration has.
func startAs(t *testing.T, authority *Authority, config Config) *Node {
	t.Helper()
	machine, err := Start(t.Context(), config.orUsual())
	if err != nil {
		t.Fatal(err)
	}
	started := &Node{machine, authority.ClientTLS()}
	t.Cleanup(func() { started.Close() })
	return started
}

// TestBootNetbootIdentityFromURL is the same for a node that starts over the network: nothing of it is on a disk, and all that it is told
// comes by DHCP. A server of another authority is not believed, and the node stays down.
func TestBootNetbootIdentityFromURL(t *testing.T) {
	authority := newAuthority(t)
	if err := bake(t.Context(), recipe{name: "netboot-url", parameters: map[string]string{"node_config_ca": string(authority.CA())}, formats: []string{image.FormatRaw, image.FormatNetboot}}); err != nil {
		t.Fatal(err)
	}
	dir := filepath.Join(workDir, "netboot-url", image.FormatNetboot)
	m, err := netboot.Verify(t.Context(), os.DirFS(dir))
	if err != nil {
		t.Fatal(err)
	}
	boot := func(t *testing.T, server *Authority) (*Node, *atomic.Int32) {
		segment := netSegment(t, dir, m, debianIPXE(t), nil)
		lease, err := segment.Lease("node-1", PortAPI)
		if err != nil {
			t.Fatal(err)
		}
		handed, document := withoutConfig(t, authority, lease)
		asked := serveConfig(t, segment, lease, server, document)
		return startAs(t, authority, Config{
			Network: segment, UUID: NewUUID(), Extra: []*Disk{emptyData(t)}, Credentials: handed,
			ConsoleLog: filepath.Join(t.TempDir(), "console.log"), Log: testLog(),
		}), asked
	}
	t.Run("believed", func(t *testing.T) {
		fetching, asked := boot(t, authority)
		document := verdictOf(t, fetching)
		requirePass(t, document)
		if asked.Load() == 0 {
			t.Error("nobody asked for node.hcl, and the node has one")
		}
		if document.Host.RootHash != m.RootHash {
			t.Errorf("root hash %q, the bundle has %q", document.Host.RootHash, m.RootHash)
		}
		powerOff(t, fetching)
	})
	t.Run("of another authority", func(t *testing.T) {
		fetching, asked := boot(t, newAuthority(t))
		awaitShown(t, fetching, bootTimeout, "certificate signed by unknown authority", "Failed to start hostcheck-conf")
		if asked.Load() > 0 {
			t.Error("the node has told a stranger what it wants")
		}
		if ports, err := fetching.Scan(t.Context(), []int{PortAPI, PortRaft}); err != nil || len(ports.Open) > 0 {
			t.Errorf("open ports %+v, error %v: a server runs", ports, err)
		}
	})
}
