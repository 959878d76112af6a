package snapshot

import (
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

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
	port := freePort(t, "127.0.0.1")
	w.run("server", "-dev", "-dev-root-token-id=root", fmt.Sprintf("-dev-listen-address=127.0.0.1:%d", port))
	client, err := api.NewClient(&api.Config{Address: fmt.Sprintf("http://127.0.0.1:%d", port)})
	if err != nil {
		t.Fatal(err)
	}
	client.SetToken("root")
	w.eventually("the seal has its key", func() error {
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

func freePort(t *testing.T, ip string) int {
	l, err := net.Listen("tcp", ip+":0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	return l.Addr().(*net.TCPAddr).Port
}

func (w *world) eventually(what string, try func() error) {
	w.t.Helper()
	var err error
	for end := time.Now().Add(2 * time.Minute); time.Now().Before(end); time.Sleep(50 * time.Millisecond) {
		if err = try(); err == nil {
			return
		}
	}
	w.t.Fatalf("%s: not in time: %v", what, err)
}

// start starts a server that joins a leader, or none.
func (w *world) start(number int, leader *vault) *vault {
	t := w.t
	v := &vault{w: w, name: fmt.Sprintf("n%d", number), ip: fmt.Sprintf("127.0.0.%d", number+50), dir: t.TempDir()}
	v.api, v.cluster = freePort(t, v.ip), freePort(t, v.ip)
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
	v.w.eventually(v.name+" is initialized", func() (err error) {
		made, err = v.client("").Sys().Init(&api.InitRequest{RecoveryShares: 1, RecoveryThreshold: 1})
		return err
	})
	v.leads()
	return made.RootToken
}

func (v *vault) leads() {
	v.w.eventually(v.name+" leads", func() error {
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

// Three servers: the leader's snapshot, restored on a fresh cluster, yields the data; a standby takes none; when the lead changes
// while one is taken there is none, and the next leader takes it.
func TestRealVault(t *testing.T) {
	w := newWorld(t)
	first := w.start(1, nil)
	root := first.initialize()
	c := first.client(root)
	if err := c.Sys().Mount("kv", &api.MountInput{Type: "kv"}); err != nil {
		t.Fatal(err)
	}
	value := strings.Repeat("precious", 50)
	for i := range 50 {
		if _, err := c.Logical().Write(fmt.Sprintf("kv/secret-%d", i), map[string]any{"value": value + fmt.Sprint(i)}); err != nil {
			t.Fatal(err)
		}
	}
	token := first.limited(root)
	second, third := w.start(2, first), w.start(3, first)
	w.eventually("three are in the cluster", func() error {
		for _, v := range []*vault{second, third} {
			s, err := v.client("").Sys().SealStatus()
			if err != nil || s.Sealed {
				return fmt.Errorf("%s is sealed: %w", v.name, err)
			}
		}
		a, err := c.Sys().RaftAutopilotState()
		if err == nil && (!a.Healthy || len(a.Voters) != 3) {
			err = fmt.Errorf("%+v", a)
		}
		return err
	})

	k, sink := key(t), File{filepath.Join(t.TempDir(), "snapshots")}
	if r, err := taker(t, second.source(token), k, sink).Run(t.Context(), true); err != nil || r.Active {
		t.Errorf("a standby: %+v, %v", r, err)
	}
	empty(t, sink)
	if _, err := taker(t, first.source("hvs.none"), k, sink).Run(t.Context(), true); err == nil || !strings.Contains(err.Error(), "403") {
		t.Errorf("a token that may not: %v", err)
	}
	empty(t, sink)

	r, err := taker(t, first.source(token), k, sink).Run(t.Context(), false)
	if err != nil {
		t.Fatal(err)
	}
	archive := opened(t, sink, r.Sinks[0].Archive, k)
	text, err := os.ReadFile(filepath.Join(sink.Directory, r.Sinks[0].Archive+manifestSuffix))
	var m Manifest
	if err != nil || json.Unmarshal(text, &m) != nil {
		t.Fatal(err)
	}
	s, err := first.client("").Sys().SealStatus()
	if err != nil || m.Content.Seal != "transit" || m.Content.KeyID == "" || !m.Content.Sealed || m.ClusterID != s.ClusterID || m.Version != s.Version || m.Content.Index == 0 {
		t.Errorf("%s\n%v", text, err)
	}
	stored, err := os.ReadFile(filepath.Join(sink.Directory, m.Archive))
	if err != nil || bytes.Contains(stored, []byte("core/keyring")) || bytes.Contains(stored, []byte("state.bin")) {
		t.Errorf("what lies in the sink can be read: %v", err)
	}

	// The lead changes after the first bytes.
	before, err := sink.List(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	changing := &stepping{Source: first.source(token), during: func() {
		if err := c.Sys().StepDown(); err != nil {
			t.Error(err)
		}
		w.eventually("another one leads", func() error {
			l, err := second.client("").Sys().Leader()
			if err == nil && (l.LeaderAddress == "" || l.LeaderAddress == first.url()) {
				err = fmt.Errorf("%+v", l)
			}
			return err
		})
	}}
	if _, err := taker(t, changing, k, sink).Run(t.Context(), true); err == nil {
		t.Error("an archive counts, over which the lead has changed")
	}
	if after, err := sink.List(t.Context()); err != nil || len(after) != len(before) {
		t.Errorf("%v became %v, %v", before, after, err)
	}
	next := second
	if l, err := second.client("").Sys().Leader(); err == nil && l.LeaderAddress == third.url() {
		next = third
	}
	next.leads()
	w.eventually("the next leader takes one", func() error {
		r, err := taker(t, next.source(token), k, sink).Run(t.Context(), true)
		if err == nil && (!r.Active || r.Sinks[0].Archive == m.Archive) {
			err = fmt.Errorf("%+v", r)
		}
		return err
	})

	// The way back: a fresh cluster with the same seal.
	fresh := w.start(4, nil)
	if err := fresh.client(fresh.initialize()).Sys().RaftSnapshotRestore(bytes.NewReader(archive), true); err != nil {
		t.Fatal(err)
	}
	w.eventually("the data is there", func() error {
		for i := range 50 {
			got, err := fresh.client(root).Logical().Read(fmt.Sprintf("kv/secret-%d", i))
			if err != nil {
				return err
			}
			if got == nil || got.Data["value"] != value+fmt.Sprint(i) {
				return fmt.Errorf("secret-%d is %v", i, got)
			}
		}
		return nil
	})
	// It is the cluster of the manifest.
	if s, err := fresh.client("").Sys().Health(); err != nil || s.ClusterID != m.ClusterID {
		t.Errorf("%+v, %v", s, err)
	}
}

// stepping does something when the first bytes have come.
type stepping struct {
	*cluster.Source
	during func()
}

func (s *stepping) Open(ctx context.Context) (io.ReadCloser, error) {
	r, err := s.Source.Open(ctx)
	if err != nil {
		return nil, err
	}
	return &interrupted{ReadCloser: r, during: s.during}, nil
}

type interrupted struct {
	io.ReadCloser
	during func()
}

func (r *interrupted) Read(p []byte) (int, error) {
	n, err := r.ReadCloser.Read(p[:min(len(p), 1000)])
	if r.during != nil {
		r.during()
		r.during = nil
	}
	return n, err
}
