//go:build boot && slow

package lab

import (
	"net/http"
	"path/filepath"
	"sync/atomic"
	"testing"

	"github.com/strongroom/strongroom/internal/lab/network"
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
	credentials, err := authority.Credentials(identityOf(lease, Services{}.orUsual()))
	if err != nil {
		t.Fatal(err)
	}
	var handed []Credential
	var document []byte
	for _, c := range credentials {
		if c.Name == node.CredentialConfig {
			document = c.Value.Reveal()
			continue
		}
		handed = append(handed, c)
	}
	var asked atomic.Int32
	serve(t, segment, authority, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path != "/node.hcl" {
			http.NotFound(w, r)
			return
		}
		asked.Add(1)
		_, _ = w.Write(document)
	}))
	segment.SetOption(lease, 224, []byte("https://host.lab:8443/node.hcl"))

	// The authority is new, and so is the image that believes it.
	if err := bake(t.Context(), recipe{name: "url", parameters: map[string]string{"node_config_ca": string(authority.CA())}}); err != nil {
		t.Fatal(err)
	}
	config := Config{
		Disk: newDisk(t, filepath.Join(workDir, "url", "disk.raw")), UUID: NewUUID(), Network: segment, Credentials: handed,
		ConsoleLog: filepath.Join(t.TempDir(), "console.log"), Log: testLog(),
	}
	machine, err := Start(t.Context(), config.orUsual())
	if err != nil {
		t.Fatal(err)
	}
	fetching := &Node{machine, authority.ClientTLS()}
	t.Cleanup(func() { fetching.Close() })
	requirePass(t, verdictOf(t, fetching))
	if asked.Load() == 0 {
		t.Error("nobody asked for node.hcl, and the node has one")
	}
	powerOff(t, fetching)
	requireUndisturbed(t, fetching, "vault")
}
