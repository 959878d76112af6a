package bootstrap

import (
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"filippo.io/age"
	"filippo.io/age/armor"
	"github.com/ProtonMail/go-crypto/openpgp"
	"github.com/ProtonMail/go-crypto/openpgp/packet"
	"github.com/hashicorp/vault/api"
	"github.com/johannesboyne/gofakes3"
	"github.com/johannesboyne/gofakes3/backend/s3mem"
	"github.com/santhosh-tekuri/jsonschema/v6"

	"github.com/strongroom/strongroom/internal/cluster"
	"github.com/strongroom/strongroom/internal/node"
	"github.com/strongroom/strongroom/internal/node/nodetest"
	"github.com/strongroom/strongroom/internal/sigv4"
	"github.com/strongroom/strongroom/internal/snapshot"
)

// world is real Vaults on loopback whose seal is another one. That one also has the KV engine that shares are delivered to.
type world struct {
	t     *testing.T
	ca    *nodetest.CA
	seal  string
	other *vault // holds the seal's key, and is a sink
	// product and binary are of the server that is started.
	product, binary string
	log             *nodetest.Log
}

type vault struct {
	w             *world
	name, ip, dir string
	api, cluster  int
	token         string // root, of the other one
	audit         string // address of the socket device
	certificate   tls.Certificate
}

func newWorld(t *testing.T, product, variable string) *world {
	binary := os.Getenv(variable)
	if binary == "" {
		t.Skipf("SKIPPED, NOTHING WAS PROVEN: %s is not set", variable)
	}
	w := &world{t: t, ca: nodetest.NewCA(t, nodetest.Today()), log: &nodetest.Log{}, product: product, binary: binary}
	w.other = w.start(otherNumber, "")
	made, err := w.other.client("").Sys().Init(&api.InitRequest{SecretShares: 1, SecretThreshold: 1})
	if err != nil {
		t.Fatal(err)
	}
	w.other.token = made.RootToken
	if _, err := w.other.client("").Sys().Unseal(made.Keys[0]); err != nil {
		t.Fatal(err)
	}
	c := w.other.client(made.RootToken)
	w.eventually("the seal has its key", func() error { return c.Sys().Mount("transit", &api.MountInput{Type: "transit"}) })
	if _, err := c.Logical().Write("transit/keys/unseal", map[string]any{}); err != nil {
		t.Fatal(err)
	}
	if _, err := c.Logical().Write("transit/keys/shares", map[string]any{}); err != nil {
		t.Fatal(err)
	}
	if err := c.Sys().Mount("secret", &api.MountInput{Type: "kv-v2"}); err != nil {
		t.Fatal(err)
	}
	w.seal = fmt.Sprintf("seal \"transit\" {\n address = %q\n token = %q\n key_name = \"unseal\"\n mount_path = \"transit/\"\n disable_renewal = \"true\"\n tls_ca_cert = \"%s/ca.crt\"\n}\n",
		w.other.url(), made.RootToken, w.other.dir)
	return w
}

func (w *world) eventually(what string, try func() error) {
	w.t.Helper()
	var err error
	for end := time.Now().Add(time.Minute); time.Now().Before(end); time.Sleep(50 * time.Millisecond) {
		if err = try(); err == nil {
			return
		}
	}
	w.t.Fatalf("%s: not in time: %v\n%s", what, err, w.log)
}

// otherNumber is that of the server which holds the seal's key.
const otherNumber = 90

// start starts a server that is not initialised yet, and waits until it answers.
func (w *world) start(number int, seal string) *vault {
	t := w.t
	v := &vault{w: w, name: fmt.Sprintf("n%d", number), ip: fmt.Sprintf("127.0.1.%d", number), dir: t.TempDir()}
	v.api, v.cluster = nodetest.FreePort(t, v.ip), nodetest.FreePort(t, v.ip)
	cert, key := w.ca.Issue(nodetest.Today(), v.name+".nodes.example.net", v.ip)
	var err error
	if v.certificate, err = tls.X509KeyPair(cert, key); err != nil {
		t.Fatal(err)
	}
	for name, content := range map[string][]byte{"tls.crt": cert, "tls.key": key, "ca.crt": w.ca.PEM} {
		if err := os.WriteFile(filepath.Join(v.dir, name), content, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.Mkdir(filepath.Join(v.dir, "data"), 0o700); err != nil {
		t.Fatal(err)
	}
	storage := fmt.Sprintf("storage \"raft\" {\n path = \"%s/data\"\n node_id = %q\n performance_multiplier = 1\n}\n", v.dir, v.name)
	if seal == "" && number == otherNumber {
		storage = "storage \"inmem\" {}\n"
	}
	config := fmt.Sprintf("api_addr = %q\ncluster_addr = \"https://%s:%d\"\n%s"+
		"listener \"tcp\" {\n address = \"%s:%d\"\n cluster_address = \"%s:%d\"\n tls_cert_file = \"%s/tls.crt\"\n tls_key_file = \"%s/tls.key\"\n}\n%s",
		v.url(), v.ip, v.cluster, storage, v.ip, v.api, v.ip, v.cluster, v.dir, v.dir, seal)
	if w.product == "openbao" && number != otherNumber {
		// OpenBao has its devices from its configuration, which hostcheck configure writes.
		for _, name := range []string{"file", "socket"} {
			config += fmt.Sprintf("audit %q %q {\n options {\n", name, name)
			for key, value := range w.device(v, name) {
				config += fmt.Sprintf(" %s = %q\n", key, value)
			}
			config += " }\n}\n"
		}
	}
	path := filepath.Join(v.dir, "server.hcl")
	if err := os.WriteFile(path, []byte(config), 0o600); err != nil {
		t.Fatal(err)
	}
	if w.product == "vault" {
		config += "disable_mlock = true\n"
		if err := os.WriteFile(path, []byte(config), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	cmd := exec.Command(w.binary, "server", "-config="+path)
	cmd.Env = []string{"HOME=" + v.dir, "PATH=/usr/bin:/bin"}
	cmd.Stdout, cmd.Stderr = w.log, w.log
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = cmd.Process.Kill(); _ = cmd.Wait() })
	w.eventually(v.name+" answers", func() error { _, err := v.server().Look(context.Background()); return err })
	return v
}

func (v *vault) url() string { return fmt.Sprintf("https://%s:%d", v.ip, v.api) }

func (v *vault) server() *cluster.Server {
	return cluster.NewServer(v.url(), v.name+".nodes.example.net", string(v.w.ca.PEM), func() (*tls.Certificate, error) { return &v.certificate, nil })
}

func (v *vault) client(token string, certificates ...tls.Certificate) *api.Client {
	pool := x509.NewCertPool()
	pool.AppendCertsFromPEM(v.w.ca.PEM)
	c, err := api.NewClient(&api.Config{Address: v.url(), HttpClient: &http.Client{Transport: &http.Transport{
		TLSClientConfig: &tls.Config{RootCAs: pool, MinVersion: tls.VersionTLS12, Certificates: certificates}}}})
	if err != nil {
		v.w.t.Fatal(err)
	}
	c.SetToken(token)
	return c
}

// machine is a node as hostcheck finds it: its directories outlive a run.
type machine struct {
	v       *vault
	root    string // below which everything of hostcheck lies
	said    strings.Builder
	holders []*age.X25519Identity
	tokens  map[node.Reference]string
	options Options
}

func identity(t *testing.T) *age.X25519Identity {
	t.Helper()
	id, err := age.GenerateX25519Identity()
	if err != nil {
		t.Fatal(err)
	}
	return id
}

// device gives the options of an audit device.
func (w *world) device(v *vault, kind string) map[string]string {
	if kind == "file" {
		return map[string]string{"file_path": filepath.Join(v.dir, "audit.log")}
	}
	if v.audit == "" {
		audit, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			w.t.Fatal(err)
		}
		v.audit = audit.Addr().String()
		w.t.Cleanup(func() { audit.Close() })
		go func() {
			for {
				c, err := audit.Accept()
				if err != nil {
					return
				}
				go func() { _, _ = io.Copy(w.log, c) }()
			}
		}()
	}
	return map[string]string{"address": v.audit, "socket_type": "tcp"}
}

// machine has three holders with age, whose shares go to a file, a file that the other Vault encrypts, and that Vault's KV engine; the provisioner's token goes to a file.
func (v *vault) machine() *machine {
	t := v.w.t
	m := &machine{v: v, root: t.TempDir(), tokens: map[node.Reference]string{"credential:strongroom.bootstrap.sink-1": v.w.other.token}}
	b := &node.Bootstrap{Here: true, Threshold: 2, Nodes: []string{"*.nodes.example.net"}, Logins: []node.BootstrapLogin{
		{Name: "alice", Policy: "admin", Names: []string{"alice.people.example.net"}},
		{Name: "glass", Policy: "break-glass", Names: []string{"*.glass.example.net"}},
	}, Autopilot: node.Autopilot{CleanupDeadServers: true, MinQuorum: 3, DeadAfter: time.Hour}}
	for i, name := range []string{"alice", "bob", "carol", "provisioner"} {
		m.holders = append(m.holders, identity(t))
		dir := filepath.Join(m.root, "volumes", name)
		if err := os.MkdirAll(dir, 0o700); err != nil {
			t.Fatal(err)
		}
		sink := node.BootstrapSink{Type: "file", Options: map[string]string{"path": filepath.Join(dir, "share.json")}}
		switch name {
		case "bob":
			sink = node.BootstrapSink{Type: "transit", Options: map[string]string{"address": v.w.other.url(), "mount": "transit", "key": "shares", "path": filepath.Join(dir, "share.json")}, Token: "credential:strongroom.bootstrap.sink-1"}
		case "carol":
			sink = node.BootstrapSink{Type: "vault", Options: map[string]string{"address": v.w.other.url(), "mount": "secret", "path": "strongroom/" + v.name + "/carol"}, Token: "credential:strongroom.bootstrap.sink-1"}
		case "provisioner":
			b.Provisioner = node.Provisioner{Age: m.holders[i].Recipient().String(), TTL: time.Hour, Wrap: time.Hour, Sink: sink}
			continue
		}
		b.Shares = append(b.Shares, node.BootstrapShare{Name: name, Age: m.holders[i].Recipient().String(), Sink: sink})
	}
	id := node.Identity{NodeID: v.name, ClusterName: "test", APIAddr: v.url(), CA: string(v.w.ca.PEM), Bootstrap: b, Audit: []node.AuditDevice{
		{Type: "file", Options: v.w.device(v, "file")}, {Type: "socket", Options: v.w.device(v, "socket")},
	}}
	m.options = Options{
		Identity: id, Server: v.server(), Product: v.w.product,
		Others: func(context.Context) ([]string, error) { return nil, nil }, Judge: func(context.Context) error { return nil },
		Certificate: func() (*tls.Certificate, error) { return &v.certificate, nil },
		Read: func(_ context.Context, ref node.Reference) ([]byte, error) {
			if s, ok := m.tokens[ref]; ok {
				return []byte(s), nil
			}
			return nil, errors.New("no such reference")
		},
		Directory: filepath.Join(m.root, "state"), KeyPath: filepath.Join(m.root, "run", "key"), LockPath: filepath.Join(m.root, "run", "lock"),
		Said: func(s string) { m.said.WriteString(s + "\n") }, Now: time.Now,
		Limits: Limits{API: 20 * time.Second, Others: time.Second, Active: 30 * time.Second, Pace: 50 * time.Millisecond},
	}
	return m
}

var errKilled = errors.New("killed")

// runs runs until it is through, killed at each point that it reaches for the first time but those to be spared.
func (m *machine) runs(spare ...string) (points []string) {
	t := m.v.w.t
	t.Helper()
	seen := map[string]bool{}
	for _, p := range spare {
		seen[p] = true
	}
	m.options.Reached = func(point string) error {
		if seen[point] {
			return nil
		}
		seen[point] = true
		points = append(points, point)
		return errKilled
	}
	for range 100 {
		err := Run(t.Context(), m.options)
		if err == nil {
			return points
		}
		if !errors.Is(err, errKilled) {
			t.Fatalf("after %q: %v\n%s", points, err, m.said.String())
		}
	}
	t.Fatal("it does not come to an end")
	return nil
}

// open decrypts what lies in a file sink.
func (m *machine) open(content []byte, holder int) string {
	t := m.v.w.t
	t.Helper()
	var e Envelope
	if err := json.Unmarshal(content, &e); err != nil {
		t.Fatal(err)
	}
	r, err := age.Decrypt(armor.NewReader(strings.NewReader(e.Ciphertext)), m.holders[holder])
	if err != nil {
		t.Fatal(err)
	}
	b, err := io.ReadAll(r)
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

func (m *machine) volume(name string) []byte {
	m.v.w.t.Helper()
	b, err := os.ReadFile(filepath.Join(m.root, "volumes", name, "share.json"))
	if err != nil {
		m.v.w.t.Fatal(err)
	}
	if name != "bob" {
		return b
	}
	other := m.v.w.other
	opened, err := other.client(other.token).Logical().Write("transit/decrypt/shares", map[string]any{"ciphertext": string(b)})
	if err != nil {
		m.v.w.t.Fatal(err)
	}
	if b, err = base64.StdEncoding.DecodeString(opened.Data["plaintext"].(string)); err != nil {
		m.v.w.t.Fatal(err)
	}
	return b
}

// carol is what lies in the other Vault.
func (m *machine) carol() []byte {
	m.v.w.t.Helper()
	s, err := m.v.w.other.client(m.v.w.other.token).KVv2("secret").Get(context.Background(), "strongroom/"+m.v.name+"/carol")
	if err != nil {
		m.v.w.t.Fatal(err)
	}
	return []byte(s.Data["envelope"].(string))
}

func TestRealVault(t *testing.T) { allOf(t, newWorld(t, "vault", "VAULT_BINARY")) }

func TestRealOpenBao(t *testing.T) { allOf(t, newWorld(t, "openbao", "OPENBAO_BINARY")) }

func allOf(t *testing.T, w *world) {
	for name, test := range map[string]func(*testing.T, *world){
		"each kill": survivesEachKill, "refusals": nothingIsInitialised, "crashes": crashes, "a race": onlyOneInitialises, "shamir and PGP": keyHoldersUnseal,
	} {
		t.Run(name, func(t *testing.T) {
			inner := *w
			inner.t, inner.log = t, &nodetest.Log{}
			inner.other = &vault{}
			*inner.other = *w.other
			inner.other.w = &inner
			test(t, &inner)
		})
	}
}

// A whole first start, killed at every point and run again: one cluster, every secret in its place, no root token, nothing in the clear.
func survivesEachKill(t *testing.T, w *world) {
	v := w.start(1, w.seal)
	m := v.machine()
	secret := &spy{}
	m.options.Identity.Snapshot = &node.Snapshot{Role: "strongroom-snapshot"}
	taken := 0
	m.options.Snapshot = func(ctx context.Context) error {
		login := func() *node.Auth { return &node.Auth{Method: "cert", Mount: "cert", Role: "strongroom-snapshot"} }
		source := cluster.NewSource(v.url(), v.name+".nodes.example.net", string(w.ca.PEM), m.options.Certificate, cluster.NewSession(node.Secret{}, login, m.options.Certificate))
		archive, err := source.Open(ctx)
		if err != nil {
			return err
		}
		n, err := io.Copy(io.Discard, archive)
		if n > 1000 {
			taken++
		}
		return errors.Join(err, archive.Close())
	}
	points := m.runs("initialize: answered")
	if len(points) < 20 {
		t.Errorf("killed at %d points only: %q", len(points), points)
	}
	t.Logf("killed at %q", points)

	// The shares are those of this cluster: with two of them the key holders, and nobody with less, make a root token.
	shares := []string{m.open(m.volume("alice"), 0), m.open(m.volume("bob"), 1), m.open(m.carol(), 2)}
	secret.add(shares...)
	glassCert, glassKey := w.ca.Issue(nodetest.Today(), "x.glass.example.net")
	pair, err := tls.X509KeyPair(glassCert, glassKey)
	if err != nil {
		t.Fatal(err)
	}
	login, err := v.client("", pair).Logical().Write("auth/cert/login", map[string]any{"name": "glass"})
	if err != nil {
		t.Fatal(err)
	}
	glass := login.Auth.ClientToken
	generate := "generate-root"
	if w.product == "openbao" {
		generate = "generate-root-token" // the other one, which asks for no token, is off
	}
	var attempt struct{ Nonce, OTP string }
	askRaw(t, v, glass, generate+"/attempt", map[string]any{}, &attempt)
	secret.add(attempt.OTP)
	for i, key := range []string{shares[0], shares[2]} {
		var status struct{ Complete bool }
		askRaw(t, v, glass, generate+"/update", map[string]any{"key": key, "nonce": attempt.Nonce}, &status)
		if status.Complete != (i == 1) {
			t.Fatalf("after share %d: %+v", i, status)
		}
	}

	// The provisioner sets up an engine, reads no secret of it, does not touch the agents' policy; and is revoked.
	wrapping := m.open(m.volume("provisioner"), 3)
	secret.add(wrapping)
	unwrapped, err := v.client(wrapping).Logical().Unwrap("")
	if err != nil {
		t.Fatal(err)
	}
	secret.add(unwrapped.Auth.ClientToken)
	if _, err := v.client(wrapping).Logical().Unwrap(""); err == nil {
		t.Error("the provisioner's token can be unwrapped twice")
	}
	p := v.client(unwrapped.Auth.ClientToken)
	if err := p.Sys().Mount("apps", &api.MountInput{Type: "kv"}); err != nil {
		t.Error(err)
	}
	if _, err := p.Logical().Write("apps/x", map[string]any{"a": "b"}); err == nil {
		t.Error("the provisioner writes secrets")
	}
	if err := p.Sys().PutPolicy("strongroom-agent", "path \"*\" { capabilities = [\"sudo\"] }"); err == nil {
		t.Error("the provisioner changes what the agents may")
	}
	if err := p.Auth().Token().RevokeSelf(""); err != nil {
		t.Error(err)
	}
	if err := p.Sys().Mount("more", &api.MountInput{Type: "kv"}); err == nil {
		t.Error("a revoked provisioner goes on")
	}

	// An admin gets in, and does not get at the audit devices.
	aliceCert, aliceKey := w.ca.Issue(nodetest.Today(), "alice.people.example.net")
	if pair, err = tls.X509KeyPair(aliceCert, aliceKey); err != nil {
		t.Fatal(err)
	}
	if login, err = v.client("", pair).Logical().Write("auth/cert/login", map[string]any{"name": "alice"}); err != nil {
		t.Fatal(err)
	}
	admin := v.client(login.Auth.ClientToken)
	if devices, err := admin.Sys().ListAudit(); err != nil || len(devices) != 2 {
		t.Errorf("%v, %v", devices, err)
	}
	if err := admin.Sys().DisableAudit("file"); err == nil {
		t.Error("an admin takes an audit device away")
	}
	if a, err := admin.Sys().RaftAutopilotConfiguration(); err != nil || !a.CleanupDeadServers || a.MinQuorum != 3 || a.DeadServerLastContactThreshold != time.Hour {
		t.Errorf("%+v, %v", a, err)
	}
	if _, err = v.client("", pair).Logical().Write("auth/cert/login", map[string]any{"name": "glass"}); err == nil {
		t.Error("an admin gets in as break-glass")
	}

	if taken == 0 {
		t.Error("no snapshot was taken")
	}
	// Once more: nothing is done. The node keeps nothing that opens anything.
	m.options.Reached = func(point string) error { return fmt.Errorf("did something again: %s", point) }
	if err := Run(t.Context(), m.options); err != nil {
		t.Error(err)
	}
	if _, err := os.Stat(m.options.KeyPath); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("the key in memory is still there: %v", err)
	}
	secret.searchFor(t, m.said.String(), w.log.String(), m.root, v.dir)
	var report Report
	b, err := os.ReadFile(filepath.Join(m.options.Directory, "report.json"))
	if err != nil || json.Unmarshal(b, &report) != nil {
		t.Fatal(err)
	}
	schema, err := jsonschema.NewCompiler().Compile("../../docs/schema/bootstrap-v1.json")
	if err != nil {
		t.Fatal(err)
	}
	value, err := jsonschema.UnmarshalJSON(bytes.NewReader(b))
	if err != nil {
		t.Fatal(err)
	}
	if err := schema.Validate(value); err != nil {
		t.Error(err)
	}
	value.(map[string]any)["root_token"] = "x"
	if schema.Validate(value) == nil {
		t.Error("the schema takes anything")
	}
	if len(report.Delivered) != 4 || len(report.Audit) != 2 || report.Login.Members != 1 || report.RootRevoked.IsZero() || report.ClusterID == "" {
		t.Errorf("%s", b)
	}
	// Somebody's second first start is none.
	again := v.machine()
	if err := Run(t.Context(), again.options); err != nil || !strings.Contains(again.said.String(), "left alone") {
		t.Errorf("%v: %s", err, again.said.String())
	}
}

// askRaw puts to a path below sys/. The answer has its fields at the top (Vault) or in data (OpenBao).
func askRaw(t *testing.T, v *vault, token, path string, in, out any) {
	t.Helper()
	var b json.RawMessage
	if err := v.server().Ask(t.Context(), http.MethodPut, "sys/"+path, nil, []byte(token), in, &b); err != nil {
		t.Fatal(err)
	}
	var inner struct{ Data json.RawMessage }
	if json.Unmarshal(b, &inner) == nil && len(inner.Data) > 2 {
		b = inner.Data
	}
	if err := json.Unmarshal(b, out); err != nil {
		t.Fatal(err)
	}
}

// spy holds secrets and looks for them.
type spy struct{ secrets []string }

func (s *spy) add(secrets ...string) { s.secrets = append(s.secrets, secrets...) }

// tokens are what Vault's own tokens and age's private keys look like.
var tokens = regexp.MustCompile(`hvs\.[A-Za-z0-9_-]{20,}|AGE-SECRET-KEY-1[A-Z0-9]+`)

// searchFor looks through texts and through all files below directories. The seal's token in the server's own configuration is the test's.
func (s *spy) searchFor(t *testing.T, said, log string, dirs ...string) {
	t.Helper()
	look := func(where string, b []byte) {
		for i, secret := range s.secrets {
			if bytes.Contains(b, []byte(secret)) {
				t.Errorf("secret %d is in %s", i, where)
			}
			if raw, err := base64.StdEncoding.DecodeString(secret); err == nil && len(raw) > 16 && bytes.Contains(b, raw) {
				t.Errorf("secret %d is in %s, decoded", i, where)
			}
		}
		if filepath.Base(where) != "server.hcl" {
			if found := tokens.Find(b); found != nil {
				t.Errorf("a token is in %s", where)
			}
		}
	}
	look("what was said", []byte(said))
	look("the logs", []byte(log))
	for _, dir := range dirs {
		err := filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
			if err != nil || !d.Type().IsRegular() {
				return err
			}
			b, err := os.ReadFile(path)
			look(path, b)
			return err
		})
		if err != nil {
			t.Error(err)
		}
	}
}

// pgpKey is a key of a holder, as gpg --export gives it.
func holderKey(t *testing.T, encrypts bool) (public string, entity *openpgp.Entity) {
	t.Helper()
	e, err := openpgp.NewEntity("holder", "", "holder@example.net", &packet.Config{Algorithm: packet.PubKeyAlgoRSA, RSABits: 2048})
	if err != nil {
		t.Fatal(err)
	}
	if !encrypts {
		e.Subkeys = nil
	}
	var b bytes.Buffer
	if err := e.Serialize(&b); err != nil {
		t.Fatal(err)
	}
	return base64.StdEncoding.EncodeToString(b.Bytes()), e
}

// What is refused before there is a secret leaves the server untouched.
func nothingIsInitialised(t *testing.T, w *world) {
	v := w.start(2, w.seal)
	for name, c := range map[string]struct {
		change func(*machine)
		want   string
		said   bool // it is no error
	}{
		"a member is the cluster": {func(m *machine) {
			m.options.Others = func(context.Context) ([]string, error) { return []string{"https://a:8200"}, nil }
		}, "the cluster is there already", true},
		"a member cannot be asked": {func(m *machine) {
			m.options.Others = func(context.Context) ([]string, error) {
				return nil, errors.New("https://a:8200 does not answer")
			}
		}, "one of them may be the cluster", false},
		"the host does not pass": {func(m *machine) { m.options.Judge = func(context.Context) error { return errors.New("swap is on") } }, "swap is on", false},
		"a sink cannot be reached": {func(m *machine) {
			m.options.Identity.Bootstrap.Shares[2].Sink.Options["address"] = "https://127.0.1.2:1"
		}, "connection refused", false},
		"a key that is not there": {func(m *machine) {
			m.options.Identity.Bootstrap.Shares[1].Sink.Options["mount"] = "none"
		}, "no handler for route", false},
		"a volume is not there": {func(m *machine) {
			if err := os.RemoveAll(filepath.Join(m.root, "volumes", "bob")); err != nil {
				t.Fatal(err)
			}
		}, "mount the volume", false},
		"a sink holds something": {func(m *machine) {
			if err := os.WriteFile(filepath.Join(m.root, "volumes", "bob", "share.json"), []byte("{}"), 0o600); err != nil {
				t.Fatal(err)
			}
		}, "lies there already", false},
		"a token that may not": {func(m *machine) { m.tokens["credential:strongroom.bootstrap.sink-1"] = "hvs.none" }, "permission denied", false},
		"another has the lock": {func(m *machine) {
			m.options.Identity.Bootstrap.Here, m.options.Identity.Bootstrap.Lock = false, m.root
			if err := os.WriteFile(filepath.Join(m.root, "initialised-by"), []byte("n7"), 0o600); err != nil {
				t.Fatal(err)
			}
		}, "another node", true},
		"neither flag nor lock": {func(m *machine) { m.options.Identity.Bootstrap.Here = false }, "none of here, lock and lock_store", true},
		"another has the lock in the store": {func(m *machine) {
			m.options.Identity.Bootstrap.Here, m.options.LockStore = false, &memory{content: []byte("n7")}
		}, "another node", true},
		"a store without conditions": {func(m *machine) {
			m.options.Identity.Bootstrap.Here, m.options.LockStore = false, &memory{lax: true}
		}, "it is no lock", false},
		"no PGP key": {func(m *machine) {
			for i := range m.options.Identity.Bootstrap.Shares {
				m.options.Identity.Bootstrap.Shares[i].Age = ""
				m.options.Identity.Bootstrap.Shares[i].PGP = base64.StdEncoding.EncodeToString([]byte("\x99 this is no key of anybody"))
			}
		}, "it is not the binary form", false},
		"a PGP key that only signs": {func(m *machine) {
			for i := range m.options.Identity.Bootstrap.Shares {
				m.options.Identity.Bootstrap.Shares[i].Age = ""
				m.options.Identity.Bootstrap.Shares[i].PGP, _ = holderKey(t, i != 1)
			}
		}, "share bob: nobody can encrypt to its OpenPGP key", false},
	} {
		t.Run(name, func(t *testing.T) {
			m := v.machine()
			c.change(m)
			err := Run(t.Context(), m.options)
			text := m.said.String()
			if (err == nil) != c.said {
				t.Errorf("error %v, said %s", err, text)
			}
			if err != nil {
				text = err.Error()
			}
			if !strings.Contains(text, c.want) {
				t.Errorf("got %s, want %q", text, c.want)
			}
			if s, err := m.options.Server.Look(t.Context()); err != nil || s.Initialized {
				t.Errorf("%+v, %v", s, err)
			}
		})
	}
}

// killedAt runs once, to the point where it is killed.
func (m *machine) killedAt(at string) {
	t := m.v.w.t
	t.Helper()
	m.options.Reached = func(point string) error {
		if point == at {
			return errKilled
		}
		return nil
	}
	if err := Run(t.Context(), m.options); !errors.Is(err, errKilled) {
		t.Fatalf("%v\n%s", err, m.said.String())
	}
	m.options.Reached = nil
}

// What a crash leaves that cannot simply be gone on with is said, and the way out works.
func crashes(t *testing.T, w *world) {
	// The server's answer is lost.
	m := w.start(3, w.seal).machine()
	m.killedAt("initialize: answered")
	if err := Run(t.Context(), m.options); err == nil || !strings.Contains(err.Error(), "its answer was lost") || !strings.Contains(err.Error(), "wipe its storage") {
		t.Errorf("the answer is lost: %v", err)
	}

	// The machine restarts, and with it the key in memory is gone. The wrapped token was revoked meanwhile.
	v := w.start(4, w.seal)
	m = v.machine()
	m.killedAt("provisioner: recorded")
	root, err := openRoot(m.options.KeyPath, m.progress().Root)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.Remove(m.options.KeyPath); err != nil {
		t.Fatal(err)
	}
	if err := Run(t.Context(), m.options); err == nil || !strings.Contains(err.Error(), "the root token of this first start is lost") {
		t.Errorf("after a restart: %v", err)
	}
	m.options.Token = node.NewSecret([]byte("hvs.none"))
	if err := Run(t.Context(), m.options); err == nil || !strings.Contains(err.Error(), "no living root token") {
		t.Errorf("with a token that is none: %v", err)
	}
	// The key holders' root token: the lost one is revoked with it.
	made, err := v.client(string(root)).Auth().Token().Create(&api.TokenCreateRequest{Policies: []string{"root"}, NoParent: true})
	if err != nil {
		t.Fatal(err)
	}
	m.options.Token = node.NewSecret([]byte(made.Auth.ClientToken))
	if err := Run(t.Context(), m.options); err != nil {
		t.Fatal(err)
	}
	for _, token := range []string{string(root), made.Auth.ClientToken} {
		if _, err := v.client(token).Auth().Token().LookupSelf(); err == nil {
			t.Error("a root token lives on")
		}
	}

	// A provisioner that is revoked before the end is replaced.
	v = w.start(5, w.seal)
	m = v.machine()
	m.killedAt("provisioner: done")
	before := m.volume("provisioner")
	if root, err = openRoot(m.options.KeyPath, m.progress().Root); err != nil {
		t.Fatal(err)
	}
	if err := v.client(string(root)).Auth().Token().RevokeAccessor(m.progress().Wrapped.Accessor); err != nil {
		t.Fatal(err)
	}
	if err := Run(t.Context(), m.options); err != nil {
		t.Fatal(err)
	}
	if bytes.Equal(before, m.volume("provisioner")) {
		t.Error("the revoked provisioner's token was not replaced")
	}
	if _, err := v.client(m.open(m.volume("provisioner"), 3)).Logical().Unwrap(""); err != nil {
		t.Errorf("the new one: %v", err)
	}
}

func (m *machine) progress() *progress {
	p, err := readProgress(m.options.Directory)
	if err != nil || p == nil {
		m.v.w.t.Fatalf("%+v, %v", p, err)
	}
	return p
}

// Two nodes with the same block start at once: one initialises, the other one does nothing.
func onlyOneInitialises(t *testing.T, w *world) {
	shared := t.TempDir()
	race(t, w, 6, func(m *machine) { m.options.Identity.Bootstrap.Lock = shared })
	race(t, w, 16, bucketFor(t))
}

// bucketFor gives each of them a client of its own at one server that speaks S3.
func bucketFor(t *testing.T) func(*machine) {
	backend := s3mem.New()
	if err := backend.CreateBucket("start"); err != nil {
		t.Fatal(err)
	}
	server := httptest.NewServer(gofakes3.New(backend).Server())
	t.Cleanup(server.Close)
	return func(m *machine) {
		m.options.LockStore = &snapshot.S3{HTTP: &http.Client{}, Endpoint: server.URL, PathStyle: true, Bucket: "start", Prefix: "prod/", Region: "eu-central-1",
			Keys: func(context.Context) (sigv4.Keys, error) {
				return sigv4.Keys{ID: "AKID", Secret: node.NewSecret([]byte("secret"))}, nil
			}}
	}
}

func race(t *testing.T, w *world, number int, into func(*machine)) {
	machines := []*machine{w.start(number, w.seal).machine(), w.start(number+1, w.seal).machine()}
	errs := make(chan error)
	for _, m := range machines {
		m.options.Identity.Bootstrap.Here = false
		into(m)
		go func() { errs <- Run(t.Context(), m.options) }()
	}
	for range machines {
		if err := <-errs; err != nil {
			t.Error(err)
		}
	}
	initialized := 0
	for _, m := range machines {
		s, err := m.options.Server.Look(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		if s.Initialized {
			initialized++
		} else if !strings.Contains(m.said.String(), "another node") {
			t.Errorf("the other one says %s", m.said.String())
		}
	}
	if initialized != 1 {
		t.Errorf("%d clusters", initialized)
	}
}

// With seal shamir and OpenPGP the server encrypts the shares, and the key holders unseal: the run waits for them and is gone on with.
func keyHoldersUnseal(t *testing.T, w *world) {
	v := w.start(8, "")
	m := v.machine()
	var holders []*openpgp.Entity
	for i := range m.options.Identity.Bootstrap.Shares {
		public, holder := holderKey(t, true)
		m.options.Identity.Bootstrap.Shares[i].Age, m.options.Identity.Bootstrap.Shares[i].PGP = "", public
		holders = append(holders, holder)
	}
	m.options.Limits.Active = time.Second
	if err := Run(t.Context(), m.options); err == nil || !strings.Contains(err.Error(), "waits for its key holders") {
		t.Fatalf("got %v", err)
	}
	secret := &spy{}
	for i, content := range [][]byte{m.volume("alice"), m.volume("bob")} {
		var e Envelope
		if err := json.Unmarshal(content, &e); err != nil {
			t.Fatal(err)
		}
		message, err := base64.StdEncoding.DecodeString(e.Ciphertext)
		if err != nil {
			t.Fatal(err)
		}
		opened, err := openpgp.ReadMessage(bytes.NewReader(message), openpgp.EntityList{holders[i]}, nil, nil)
		if err != nil {
			t.Fatal(err)
		}
		key, err := io.ReadAll(opened.UnverifiedBody)
		if err != nil {
			t.Fatal(err)
		}
		secret.add(string(key))
		if _, err := v.client("").Sys().Unseal(string(key)); err != nil {
			t.Fatal(err)
		}
	}
	m.options.Limits.Active = 30 * time.Second
	if err := Run(t.Context(), m.options); err != nil {
		t.Fatal(err)
	}
	secret.searchFor(t, m.said.String(), w.log.String(), m.root, v.dir)

	// With age the same run unseals.
	m = w.start(9, "").machine()
	if err := Run(t.Context(), m.options); err != nil {
		t.Fatal(err)
	}
	if s, err := m.options.Server.Look(t.Context()); err != nil || !s.Active || s.Seal != "shamir" {
		t.Errorf("%+v, %v", s, err)
	}
}
