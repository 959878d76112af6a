package snapshot

import (
	"bytes"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"filippo.io/age"
	"github.com/hashicorp/vault/api"

	"github.com/strongroom/strongroom/internal/cluster"
	"github.com/strongroom/strongroom/internal/node"
	"github.com/strongroom/strongroom/internal/node/nodetest"
)

// world is real Vaults on loopback whose seal is another one.
type world struct {
	t    *testing.T
	ca   *nodetest.CA
	seal string
}

type vault struct {
	w             *world
	name, ip, dir string
	api, cluster  int
}

func newWorld(t *testing.T) *world {
	if os.Getenv("VAULT_BINARY") == "" {
		t.Skip("SKIPPED, NOTHING WAS PROVEN: VAULT_BINARY is not set; `make test` sets it")
	}
	w := &world{t: t, ca: nodetest.NewCA(t, nodetest.Today())}
	port := nodetest.FreePort(t, "127.0.0.1")
	w.run("server", "-dev", "-dev-root-token-id=root", fmt.Sprintf("-dev-listen-address=127.0.0.1:%d", port))
	client, err := api.NewClient(&api.Config{Address: fmt.Sprintf("http://127.0.0.1:%d", port)})
	if err != nil {
		t.Fatal(err)
	}
	client.SetToken("root")
	nodetest.Eventually(w.t, "the seal has its key", 2*time.Minute, func() error {
		if err := client.Sys().Mount("transit", &api.MountInput{Type: "transit"}); err != nil && !strings.Contains(err.Error(), "already in use") {
			return err
		}
		_, err := client.Logical().Write("transit/keys/unseal", map[string]any{})
		return err
	})
	w.seal = fmt.Sprintf("seal \"transit\" {\n  address = \"http://127.0.0.1:%d\"\n  token = \"root\"\n  key_name = \"unseal\"\n  mount_path = \"transit/\"\n  disable_renewal = \"true\"\n}\n", port)
	return w
}

func (w *world) run(arguments ...string) {
	w.t.Helper()
	cmd := exec.Command(os.Getenv("VAULT_BINARY"), arguments...)
	cmd.Env = []string{"HOME=" + w.t.TempDir(), "PATH=/usr/bin:/bin"}
	if err := cmd.Start(); err != nil {
		w.t.Fatal(err)
	}
	w.t.Cleanup(func() { _ = cmd.Process.Kill(); _ = cmd.Wait() })
}

// start starts a server that joins a leader, or none.
func (w *world) start(number int, leader *vault) *vault {
	t := w.t
	v := &vault{w: w, name: fmt.Sprintf("n%d", number), ip: fmt.Sprintf("127.0.0.%d", number+50), dir: t.TempDir()}
	v.api, v.cluster = nodetest.FreePort(t, v.ip), nodetest.FreePort(t, v.ip)
	cert, privateKey := w.ca.Issue(nodetest.Today(), v.name+".example.net", v.ip)
	for name, content := range map[string][]byte{"tls.crt": cert, "tls.key": privateKey, "ca.crt": w.ca.PEM} {
		if err := os.WriteFile(filepath.Join(v.dir, name), content, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.Mkdir(filepath.Join(v.dir, "data"), 0o700); err != nil {
		t.Fatal(err)
	}
	join := ""
	if leader != nil {
		join = fmt.Sprintf("retry_join {\n leader_api_addr = %q\n leader_ca_cert_file = \"%s/ca.crt\"\n }", leader.url(), v.dir)
	}
	config := fmt.Sprintf("disable_mlock = true\napi_addr = %q\ncluster_addr = \"https://%s:%d\"\nstorage \"raft\" {\n path = \"%s/data\"\n node_id = %q\n performance_multiplier = 3\n %s\n}\n"+
		"listener \"tcp\" {\n address = \"%s:%d\"\n cluster_address = \"%s:%d\"\n tls_cert_file = \"%s/tls.crt\"\n tls_key_file = \"%s/tls.key\"\n}\n%s",
		v.url(), v.ip, v.cluster, v.dir, v.name, join, v.ip, v.api, v.ip, v.cluster, v.dir, v.dir, w.seal)
	path := filepath.Join(v.dir, "server.hcl")
	if err := os.WriteFile(path, []byte(config), 0o600); err != nil {
		t.Fatal(err)
	}
	w.run("server", "-config="+path)
	return v
}

func (v *vault) url() string { return fmt.Sprintf("https://%s:%d", v.ip, v.api) }

func (v *vault) client(token string) *api.Client {
	pool := x509.NewCertPool()
	pool.AppendCertsFromPEM(v.w.ca.PEM)
	c, err := api.NewClient(&api.Config{Address: v.url(), HttpClient: &http.Client{Transport: &http.Transport{TLSClientConfig: &tls.Config{RootCAs: pool, MinVersion: tls.VersionTLS12}}}})
	if err != nil {
		v.w.t.Fatal(err)
	}
	c.SetToken(token)
	return c
}

// initialize gives the root token.
func (v *vault) initialize() string {
	var made *api.InitResponse
	nodetest.Eventually(v.w.t, v.name+" is initialized", 2*time.Minute, func() (err error) {
		made, err = v.client("").Sys().Init(&api.InitRequest{RecoveryShares: 1, RecoveryThreshold: 1})
		return err
	})
	v.leads()
	return made.RootToken
}

func (v *vault) leads() {
	nodetest.Eventually(v.w.t, v.name+" leads", 2*time.Minute, func() error {
		l, err := v.client("").Sys().Leader()
		if err == nil && !l.IsSelf {
			err = fmt.Errorf("%+v", l)
		}
		return err
	})
}

// source is what hostcheck asks, with a token that may do nothing else.
func (v *vault) source(token string) *cluster.Source {
	return cluster.NewSource(v.url(), v.name+".example.net", string(v.w.ca.PEM), nil, cluster.NewSession(node.NewSecret([]byte(token)), nil, nil))
}

// limited makes a token with the policy of docs/snapshot.md.
func (v *vault) limited(root string) string {
	t := v.w.t
	c := v.client(root)
	text, err := os.ReadFile("../../docs/snapshot.md")
	if err != nil {
		t.Fatal(err)
	}
	_, policy, found := strings.Cut(string(text), "```hcl policy\n")
	policy, _, _ = strings.Cut(policy, "```")
	if !found {
		t.Fatal("docs/snapshot.md has no policy")
	}
	if err := c.Sys().PutPolicy("strongroom-snapshot", policy); err != nil {
		t.Fatal(err)
	}
	made, err := c.Auth().Token().Create(&api.TokenCreateRequest{Policies: []string{"strongroom-snapshot"}, NoDefaultPolicy: true, TTL: "1h"})
	if err != nil {
		t.Fatal(err)
	}
	return made.Auth.ClientToken
}

// One server, asked with a token that may read a snapshot and nothing else: what lies in the sink is encrypted, whole, and names the seal's key.
// TestRealCluster has the way back, standbys and a change of the lead.
func TestRealVault(t *testing.T) {
	w := newWorld(t)
	v := w.start(1, nil)
	root := v.initialize()
	token := v.limited(root)
	k, sink := key(t), File{filepath.Join(t.TempDir(), "snapshots")}
	if _, err := taker(t, v.source("hvs.none"), k, sink).Run(t.Context(), true); err == nil || !strings.Contains(err.Error(), "403") {
		t.Errorf("a token that may not: %v", err)
	}
	empty(t, sink)
	v.taken(token, k, sink)
	if _, err := v.client(token).Auth().Token().LookupSelf(); err == nil {
		t.Error("the token may do more than read a snapshot")
	}
}

// taken has a snapshot taken and gives its manifest.
func (v *vault) taken(token string, k *age.X25519Identity, sink File) Manifest {
	t := v.w.t
	t.Helper()
	r, err := taker(t, v.source(token), k, sink).Run(t.Context(), false)
	if err != nil {
		t.Fatal(err)
	}
	text, err := os.ReadFile(filepath.Join(sink.Directory, r.Sinks[0].Archive+manifestSuffix))
	var m Manifest
	if err != nil || json.Unmarshal(text, &m) != nil {
		t.Fatal(err)
	}
	s, err := v.client("").Sys().SealStatus()
	if err != nil || m.Content.Seal != "transit" || m.Content.KeyID == "" || !m.Content.Sealed || m.ClusterID != s.ClusterID || m.Version != s.Version || m.Content.Index == 0 {
		t.Errorf("%s\n%v", text, err)
	}
	stored, err := os.ReadFile(filepath.Join(sink.Directory, m.Archive))
	if err != nil || bytes.Contains(stored, []byte("core/keyring")) || bytes.Contains(stored, []byte("state.bin")) {
		t.Errorf("what lies in the sink can be read: %v", err)
	}
	return m
}
