package cluster

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/hashicorp/vault/api"

	"github.com/strongroom/strongroom/internal/node"
	"github.com/strongroom/strongroom/internal/node/nodetest"
)

// product is a server that a test starts.
type product struct {
	name, binary string
	nonVoters    bool
}

// products are those that the environment names.
func products(t testing.TB) []product {
	var out []product
	if b := os.Getenv("VAULT_BINARY"); b != "" {
		out = append(out, product{"vault", b, false})
	}
	if b := os.Getenv("OPENBAO_BINARY"); b != "" {
		out = append(out, product{"openbao", b, true})
	}
	if len(out) == 0 {
		t.Skip("SKIPPED, NOTHING WAS PROVEN: neither VAULT_BINARY nor OPENBAO_BINARY is set; `make test` sets the first")
	}
	return out
}

// world is a cluster of real servers on this machine's loopback, and what it hangs on.
type world struct {
	t       testing.TB
	product product
	ca      *nodetest.CA
	seal    string // HCL
	token   string // root
	keys    []string
	members []*member
}

// member is one server with its node.
type member struct {
	w            *world
	id, dir      string
	ip           string
	api, cluster int
	certificate  tls.Certificate
	process      *exec.Cmd
	gone         chan struct{}
	log          *nodetest.Log
	change       func(string) string // of the configuration
	ServerName   string

	asked     func() *client         // this server as a joiner asks it
	transport func() *http.Transport // to it, for an operator
}

// season is how long the certificates of a test are valid.
func season() nodetest.Validity {
	return nodetest.Validity{From: time.Now().Add(-time.Hour), Until: time.Now().Add(30 * 24 * time.Hour)}
}

func newWorld(t testing.TB, p product, transit bool) *world {
	w := &world{t: t, product: p, ca: nodetest.NewCA(t, season())}
	if transit {
		w.seal = transitSeal(t, p)
	}
	return w
}

// transitSeal starts a server of its own that holds the key of the seal.
func transitSeal(t testing.TB, p product) string {
	port := nodetest.FreePort(t, "127.0.0.1")
	cmd := exec.Command(p.binary, "server", "-dev", "-dev-root-token-id=root", fmt.Sprintf("-dev-listen-address=127.0.0.1:%d", port))
	cmd.Env = []string{"HOME=" + t.TempDir(), "PATH=/usr/bin:/bin"}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = cmd.Process.Kill(); _ = cmd.Wait() })
	client, err := api.NewClient(&api.Config{Address: fmt.Sprintf("http://127.0.0.1:%d", port)})
	if err != nil {
		t.Fatal(err)
	}
	client.SetToken("root")
	nodetest.Eventually(t, "the seal's server has its key", 30*time.Second, func() error {
		if err := client.Sys().Mount("transit", &api.MountInput{Type: "transit"}); err != nil && !strings.Contains(err.Error(), "already in use") {
			return err
		}
		_, err := client.Logical().Write("transit/keys/unseal", map[string]any{})
		return err
	})
	return fmt.Sprintf("seal \"transit\" {\n  address = \"http://127.0.0.1:%d\"\n  token = \"root\"\n  key_name = \"unseal\"\n  mount_path = \"transit/\"\n  disable_renewal = \"true\"\n}\n", port)
}

// add makes a node; its server is not started yet.
func (w *world) add(id string) *member {
	w.t.Helper()
	m := &member{w: w, id: id, dir: w.t.TempDir(), ip: fmt.Sprintf("127.0.0.%d", len(w.members)+2), log: &nodetest.Log{}, ServerName: id + ".example.net"}
	m.api, m.cluster = nodetest.FreePort(w.t, m.ip), nodetest.FreePort(w.t, m.ip)
	for m.cluster == m.api {
		m.cluster = nodetest.FreePort(w.t, m.ip)
	}
	m.issue(w.ca, m.ServerName, m.ip)
	// One of each: connections that are idle stay open for a while.
	m.asked = sync.OnceValue(func() *client { return newClient(m.url(), m.trust()) })
	m.transport = sync.OnceValue(func() *http.Transport { return &http.Transport{TLSClientConfig: m.trust().config()} })
	w.members = append(w.members, m)
	return m
}

func (m *member) issue(ca *nodetest.CA, names ...string) {
	cert, key := ca.Issue(season(), names...)
	var err error
	if m.certificate, err = tls.X509KeyPair(cert, key); err != nil {
		m.w.t.Fatal(err)
	}
	for name, content := range map[string][]byte{"tls.crt": cert, "tls.key": key, "ca.crt": m.w.ca.PEM} {
		if err := os.WriteFile(filepath.Join(m.dir, name), content, 0o600); err != nil {
			m.w.t.Fatal(err)
		}
	}
}

func (m *member) data() string { return filepath.Join(m.dir, "data") }

func (m *member) url() string { return fmt.Sprintf("https://%s:%d", m.ip, m.api) }

// start starts the server with the configuration that a node has, as far as this machine allows.
func (m *member) start(joinLines ...string) *member {
	t := m.w.t
	t.Helper()
	if err := os.MkdirAll(m.data(), 0o700); err != nil {
		t.Fatal(err)
	}
	config := fmt.Sprintf(`cluster_name = "test"
api_addr     = %q
cluster_addr = "https://%s:%d"
storage "raft" {
  path    = %q
  node_id = %q
  performance_multiplier = 3
  %s
}
listener "tcp" {
  address         = "%s:%d"
  cluster_address = "%s:%d"
  tls_cert_file   = "%s/tls.crt"
  tls_key_file    = "%s/tls.key"
}
%s`, m.url(), m.ip, m.cluster, m.data(), m.id, strings.Join(joinLines, "\n"), m.ip, m.api, m.ip, m.cluster, m.dir, m.dir, m.w.seal)
	if m.w.product.name == "vault" {
		config += "disable_mlock = true\n"
	}
	if m.change != nil {
		config = m.change(config)
	}
	path := filepath.Join(m.dir, "server.hcl")
	if err := os.WriteFile(path, []byte(config), 0o600); err != nil {
		t.Fatal(err)
	}
	m.process = exec.Command(m.w.product.binary, "server", "-config="+path)
	m.process.Stdout, m.process.Stderr = m.log, m.log
	m.process.Env = []string{"HOME=" + m.dir, "PATH=/usr/bin:/bin"}
	if err := m.process.Start(); err != nil {
		t.Fatal(err)
	}
	gone := make(chan struct{})
	process := m.process
	m.gone = gone
	go func() { _ = process.Wait(); close(gone) }()
	t.Cleanup(func() {
		m.kill()
		if t.Failed() && !testing.Short() {
			t.Logf("log of %s:\n%s", m.id, tail(m.log.String(), 40))
		}
	})
	return m
}

// kill takes the server's power.
func (m *member) kill() {
	if m.process != nil {
		_ = m.process.Process.Kill()
		<-m.gone
		m.process = nil
	}
}

func (m *member) answering() *member {
	nodetest.Eventually(m.w.t, m.id+" answers", time.Minute, func() error {
		_, err := look(context.Background(), m.asked())
		return err
	})
	return m
}

func (m *member) trust() trust {
	pool := x509.NewCertPool()
	pool.AppendCertsFromPEM(m.w.ca.PEM)
	return trust{authorities: pool, serverName: m.ServerName}
}

// client is this server as an operator uses it.
func (m *member) client(token string) *api.Client {
	c, err := api.NewClient(&api.Config{Address: m.url(), HttpClient: &http.Client{Transport: m.transport()}})
	if err != nil {
		m.w.t.Fatal(err)
	}
	c.SetToken(token)
	return c
}

func (m *member) root() *api.Client { return m.client(m.w.token) }

// initialize makes the first member.
func (m *member) initialize() {
	t := m.w.t
	t.Helper()
	request := &api.InitRequest{SecretShares: 1, SecretThreshold: 1}
	if m.w.seal != "" {
		request = &api.InitRequest{RecoveryShares: 1, RecoveryThreshold: 1}
	}
	made, err := m.client("").Sys().Init(request)
	if err != nil {
		t.Fatal(err)
	}
	m.w.token, m.w.keys = made.RootToken, made.Keys
	m.unseal()
	nodetest.Eventually(t, m.id+" is active", time.Minute, func() error {
		s, err := look(t.(interface{ Context() context.Context }).Context(), m.asked())
		if err == nil && !s.active {
			err = fmt.Errorf("%+v", s)
		}
		return err
	})
}

func (m *member) unseal() {
	m.w.t.Helper()
	if m.w.seal != "" {
		return
	}
	if _, err := m.client("").Sys().Unseal(m.w.keys[0]); err != nil {
		m.w.t.Fatal(err)
	}
}

// identity is what configure would have made of this node's node.hcl.
func (m *member) identity(leaders ...*member) node.Identity {
	id := node.Identity{
		NodeID: m.id, ClusterName: "test", APIAddr: m.url(), ClusterAddr: fmt.Sprintf("https://%s:%d", m.ip, m.cluster), CA: string(m.w.ca.PEM),
	}
	for _, l := range leaders {
		id.Join.Leaders = append(id.Join.Leaders, node.Leader{Address: l.url(), ServerName: l.ServerName})
	}
	return id
}

// states notes what a joiner reports.
type states struct {
	mu  sync.Mutex
	all []Status
	on  func(Status)
}

func (s *states) report(st Status) {
	s.mu.Lock()
	s.all = append(s.all, st)
	on := s.on
	s.mu.Unlock()
	if on != nil {
		on(st)
	}
}

func (s *states) names() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	var out []string
	for _, st := range s.all {
		if len(out) == 0 || out[len(out)-1] != string(st.State) {
			out = append(out, string(st.State))
		}
	}
	return strings.Join(out, " ")
}

func quickLimits() Limits {
	return Limits{API: 20 * time.Second, Leader: 5 * time.Second, Unseal: 30 * time.Second, Listed: 40 * time.Second, Turn: 8 * time.Second, Pace: 50 * time.Millisecond}
}

// joiner is this node's, with the judgement of a host that passes.
func (m *member) joiner(id node.Identity, change ...func(*Options)) (*Joiner, *states) {
	m.w.t.Helper()
	s := &states{}
	o := Options{
		Identity: id, Local: m.url(), LocalName: m.ServerName, NonVoters: m.w.product.nonVoters,
		StateDir: m.dir, LockPath: filepath.Join(m.dir, "join.lock"),
		JudgeBoot: func(context.Context) error { return nil }, JudgeRun: func(context.Context) error { return nil },
		Report: s.report, Limits: quickLimits(), Log: slog.New(slog.DiscardHandler),
	}
	for _, c := range change {
		c(&o)
	}
	return New(o), s
}

// withRoot gives the joiner the root token, and withToken another one.
func (w *world) withRoot(o *Options) {
	o.Session = NewSession(node.NewSecret([]byte(w.token)), nil, nil)
}

// raft is the configuration as the leader has it: each id once, each address once.
func (w *world) raft(leader *member) map[string]Member {
	w.t.Helper()
	session := NewSession(node.NewSecret([]byte(w.token)), nil, nil)
	var members []Member
	// A leader that heard too late of its followers is none for a moment.
	nodetest.Eventually(w.t, leader.id+" says who is a member", waitLong, func() (err error) {
		members, err = configuration(context.Background(), leader.asked(), session)
		return err
	})
	out, addresses := map[string]Member{}, map[string]bool{}
	for _, m := range members {
		if _, double := out[m.ID]; double || addresses[m.Address] {
			w.t.Errorf("a peer is there twice: %+v", members)
		}
		out[m.ID], addresses[m.Address] = m, true
	}
	return out
}

// quickVoters makes autopilot promote soon.
func (w *world) quickVoters(leader *member) {
	w.t.Helper()
	nodetest.Eventually(w.t, "autopilot is configured", 20*time.Second, func() error {
		_, err := leader.root().Logical().Write("sys/storage/raft/autopilot/configuration", map[string]any{"server_stabilization_time": "1s"})
		return err
	})
}

func tail(s string, lines int) string {
	all := strings.Split(s, "\n")
	return strings.Join(all[max(0, len(all)-lines):], "\n")
}

// expectRefusal holds an error against a part of its reason.
func expectRefusal(t testing.TB, err error, kind Kind, final bool, part string) {
	t.Helper()
	var r *Refusal
	if !errors.As(err, &r) {
		t.Errorf("got %v, want a refusal about %q", err, part)
		return
	}
	if r.Kind != kind || r.Final != final || !strings.Contains(r.Reason, part) || r.hint == "" {
		t.Errorf("got kind %d, final %t: %s\nhint: %s\nwant kind %d, final %t, %q, and a hint", r.Kind, r.Final, r.Reason, r.hint, kind, final, part)
	}
}

// waitLong is for what a busy machine may take its time for.
const waitLong = time.Minute
