//go:build boot && slow

package lab

import (
	"bytes"
	"context"
	"crypto/tls"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net/http"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"filippo.io/age"
	"filippo.io/age/armor"
	vault "github.com/hashicorp/vault/api"

	"github.com/strongroom/strongroom/internal/bootstrap"
	"github.com/strongroom/strongroom/internal/node"
)

const firstStartSink = "strongroom.bootstrap.sink-1"

// TestBootstrap boots two nodes that nobody touches: the one whose node.hcl says so initialises the cluster, the other one joins. Each share lies in its
// place, the root token is gone, a snapshot is taken, and no secret of it all is in a journal, on a console, in a report, in a core file or on a disk.
func TestBootstrap(t *testing.T) {
	holders := map[string]*age.X25519Identity{}
	for _, name := range []string{"alice", "bob", "provisioner", "backup"} {
		holder, err := age.GenerateX25519Identity()
		if err != nil {
			t.Fatal(err)
		}
		holders[name] = holder
	}
	var sinkToken string
	c := newCluster(t, ClusterOptions{
		Nodes: 2, Seal: SealTransit,
		Blocks: []string{fmt.Sprintf("snapshot {\n  recipients = [%q]\n  sink \"file\" {}\n}\n", holders["backup"].Recipient())},
		Prepare: func(name string, given []Credential) ([]Credential, error) {
			if name != "node-1" {
				return given, nil
			}
			for i, g := range given {
				if g.Name == node.CredentialConfig {
					given[i].Value = node.NewSecret(append(slices.Clone(g.Value.Reveal()), firstStart(holders)...))
				}
			}
			return append(given, Credential{firstStartSink, node.NewSecret([]byte(sinkToken))}), nil
		},
	})
	ctx, cancel := context.WithTimeout(t.Context(), clusterTimeout)
	defer cancel()
	sinkToken = placesFor(t, ctx, c.transit)

	started := make(chan error)
	for _, name := range c.Names() {
		go func() { started <- c.Start(ctx, name) }()
	}
	for range c.Names() {
		if err := <-started; err != nil {
			t.Fatal(err)
		}
	}
	awaitReady(t, ctx, c)

	found := &secrets{}
	found.add(sinkToken)
	for _, name := range []string{"alice", "bob"} {
		found.add(delivered(t, ctx, c.transit, name, holders[name]))
	}
	wrapping := delivered(t, ctx, c.transit, "provisioner", holders["provisioner"])
	client := anonymous(t, c, "")
	client.SetToken(wrapping)
	unwrapped, err := client.Logical().UnwrapWithContext(ctx, "")
	if err != nil {
		t.Fatalf("the provisioner's token: %v", err)
	}
	found.add(wrapping, unwrapped.Auth.ClientToken)
	client.SetToken(unwrapped.Auth.ClientToken)
	if err := client.Sys().MountWithContext(ctx, "apps", &vault.MountInput{Type: "kv"}); err != nil {
		t.Errorf("the provisioner: %v", err)
	}

	// Somebody who may look at every token finds no root token among them.
	admin := anonymous(t, c, "alice.people.lab")
	login, err := admin.Logical().WriteWithContext(ctx, "auth/cert/login", map[string]any{"name": "admins"})
	if err != nil {
		t.Fatal(err)
	}
	admin.SetToken(login.Auth.ClientToken)
	found.add(login.Auth.ClientToken)
	requireNoRoot(t, ctx, admin)
	if devices, err := admin.Sys().ListAuditWithContext(ctx); err != nil || len(devices) != 2 {
		t.Errorf("audit devices %v, %v", devices, err)
	}

	awaitVoters(t, ctx, admin, len(c.members))

	for _, m := range c.members {
		_, report, err := m.running().Report(ctx)
		if err != nil {
			t.Error(err)
		}
		metrics, err := m.running().Metrics(ctx)
		if err != nil {
			t.Error(err)
		}
		found.in(t, m.name+": report", report)
		found.in(t, m.name+": metrics", metrics)
		if m.name == "node-1" && !strings.Contains(string(metrics), `hostcheck_snapshot_verified_timestamp_seconds{sink="file:`) {
			t.Error("no snapshot was taken")
		}
	}
	for _, name := range c.Names() {
		if err := c.PowerOff(ctx, name); err != nil {
			t.Fatal(err)
		}
		m, err := c.member(name)
		if err != nil {
			t.Fatal(err)
		}
		console, err := os.ReadFile(m.consoleLog())
		if err != nil {
			t.Fatal(err)
		}
		found.in(t, name+": console", console)
		if name == "node-1" && !strings.Contains(string(console), "the cluster is started") {
			t.Error("the console does not tell of the first start")
		}
		found.onDisk(t, name, m.disk)
	}
}

// firstStart is the bootstrap block.
func firstStart(holders map[string]*age.X25519Identity) string {
	sink := func(name string) string {
		return fmt.Sprintf("age = %q\n    sink \"vault\" {\n      address = \"https://host.lab:%d\"\n      path    = \"first/%s\"\n      token   = \"credential:%s\"\n    }\n",
			holders[name].Recipient(), transitPort, name, firstStartSink)
	}
	return `bootstrap {
  here      = true
  threshold = "2"
  nodes     = ["node-1.lab", "node-2.lab"]
  share "alice" {
    ` + sink("alice") + `  }
  share "bob" {
    ` + sink("bob") + `  }
  login "admins" {
    policy = "admin"
    names  = ["alice.people.lab"]
  }
  login "glass" {
    policy = "break-glass"
    names  = ["*.glass.lab"]
  }
  provisioner {
    ` + sink("provisioner") + `  }
}
`
}

// placesFor gives a token with which the first start may put its secrets into the Vault outside, and do nothing else there.
func placesFor(t *testing.T, ctx context.Context, other *transit) string {
	t.Helper()
	sys := other.client.Sys()
	if err := sys.MountWithContext(ctx, "secret", &vault.MountInput{Type: "kv-v2"}); err != nil {
		t.Fatal(err)
	}
	if err := sys.PutPolicyWithContext(ctx, "places", `path "secret/data/first/*" { capabilities = ["create", "update", "read"] }`); err != nil {
		t.Fatal(err)
	}
	made, err := other.client.Auth().Token().CreateOrphanWithContext(ctx, &vault.TokenCreateRequest{Policies: []string{"places"}, NoDefaultPolicy: true})
	if err != nil {
		t.Fatal(err)
	}
	return made.Auth.ClientToken
}

// delivered is what lies in a place, as its holder reads it.
func delivered(t *testing.T, ctx context.Context, other *transit, name string, holder age.Identity) string {
	t.Helper()
	secret, err := other.client.KVv2("secret").Get(ctx, "first/"+name)
	if err != nil {
		t.Fatal(err)
	}
	text, _ := secret.Data["envelope"].(string)
	var e bootstrap.Envelope
	if err := json.Unmarshal([]byte(text), &e); err != nil {
		t.Fatal(err)
	}
	opened, err := age.Decrypt(armor.NewReader(strings.NewReader(e.Ciphertext)), holder)
	if err != nil {
		t.Fatal(err)
	}
	content, err := io.ReadAll(opened)
	if err != nil || len(content) < 20 {
		t.Fatalf("%s has %d bytes, %v", name, len(content), err)
	}
	return string(content)
}

// anonymous is a client of the first node without a token; with a name also with a certificate of it.
func anonymous(t *testing.T, c *Cluster, name string) *vault.Client {
	t.Helper()
	trust := c.authority.ClientTLS()
	if name != "" {
		certificate, key, err := c.authority.issue(name)
		if err != nil {
			t.Fatal(err)
		}
		pair, err := tls.X509KeyPair(certificate, key)
		if err != nil {
			t.Fatal(err)
		}
		trust.Certificates = []tls.Certificate{pair}
	}
	client, err := newClient("https://"+c.Node("node-1").Address(c.services.API), trust)
	if err != nil {
		t.Fatal(err)
	}
	return client
}

// awaitReady waits until every node is a member by its own word, and the first start is over: its last step is a snapshot.
func awaitReady(t *testing.T, ctx context.Context, c *Cluster) {
	t.Helper()
	for {
		waiting := ""
		for _, m := range c.members {
			metrics, err := m.running().Metrics(ctx)
			switch {
			case err != nil:
				waiting = err.Error()
			case stateSet(metrics, "hostcheck_join_state") != "ready":
				waiting = m.name + ": " + stateSet(metrics, "hostcheck_join_state")
			case m.name == "node-1" && !bytes.Contains(metrics, []byte("hostcheck_snapshot_verified_timestamp_seconds{")):
				waiting = m.name + " has taken no snapshot"
			}
		}
		if waiting == "" {
			return
		}
		if err := wait(ctx, pace, errors.New(waiting)); err != nil {
			t.Fatal(err)
		}
	}
}

// awaitVoters waits until so many nodes have a vote. A node that joined before it could log in is ready without one; it takes the lead of a node
// that is powered off, and has an audit log, only with one.
func awaitVoters(t *testing.T, ctx context.Context, client *vault.Client, want int) {
	t.Helper()
	for {
		peers, err := peersBy(ctx, client)
		voters := 0
		for _, p := range peers {
			if p.Voter {
				voters++
			}
		}
		if err == nil && voters == want {
			return
		}
		if err := wait(ctx, pace, errors.Join(fmt.Errorf("%d voters", voters), err)); err != nil {
			t.Fatal(err)
		}
	}
}

func requireNoRoot(t *testing.T, ctx context.Context, admin *vault.Client) {
	t.Helper()
	all, err := admin.Logical().ListWithContext(ctx, "auth/token/accessors")
	if err != nil || all == nil {
		t.Fatalf("no list of tokens: %v", err)
	}
	looked := 0
	for _, accessor := range all.Data["keys"].([]any) {
		secret, err := admin.Auth().Token().LookupAccessorWithContext(ctx, accessor.(string))
		var gone *vault.ResponseError
		if errors.As(err, &gone) && (gone.StatusCode == http.StatusForbidden || gone.StatusCode == http.StatusNotFound) {
			continue // it has ended since
		}
		if err != nil {
			t.Fatal(err)
		}
		looked++
		if policies, err := secret.TokenPolicies(); err != nil || slices.Contains(policies, "root") {
			t.Errorf("a token has the policies %v, %v", policies, err)
		}
	}
	if looked < 2 {
		t.Errorf("%d living tokens only", looked)
	}
}

// secrets are looked for in everything that a run leaves.
type secrets struct{ texts [][]byte }

// add takes a secret in the forms that it may be written in.
func (s *secrets) add(all ...string) {
	for _, secret := range all {
		s.texts = append(s.texts, []byte(secret), []byte(base64.StdEncoding.EncodeToString([]byte(secret))))
		if raw, err := base64.StdEncoding.DecodeString(secret); err == nil && len(raw) > 16 {
			s.texts = append(s.texts, raw, []byte(hex.EncodeToString(raw)))
		}
	}
}

// The tokens that nobody was told, the root token first of all, are found by what all of them look like.
var (
	tokenBegins = []string{"hvs.", "hvb.", "AGE-SECRET-KEY-1"}
	tokenForm   = regexp.MustCompile(`^(hv[sb]\.[A-Za-z0-9_-]{20,}|AGE-SECRET-KEY-1[A-Z0-9]{20,})`)
)

const longestSecret = 512

func (s *secrets) in(t *testing.T, where string, content []byte) {
	t.Helper()
	for i, secret := range s.texts {
		if bytes.Contains(content, secret) {
			t.Errorf("secret %d is in %s", i, where)
		}
	}
	for _, begin := range tokenBegins {
		for at := 0; ; at++ {
			next := bytes.Index(content[at:], []byte(begin))
			if next < 0 {
				break
			}
			at += next
			if tokenForm.Match(content[at:min(len(content), at+longestSecret)]) {
				t.Errorf("a token is in %s, at byte %d", where, at)
			}
		}
	}
}

// onDisk looks at every byte of a disk, and at its journal as journalctl shows it: there are compressed fields in it.
func (s *secrets) onDisk(t *testing.T, name string, disk *Disk) {
	t.Helper()
	path := raw(t, disk)
	defer os.Remove(path)
	file, err := os.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	defer file.Close()
	const block = 64 << 20
	buffer, kept, position := make([]byte, block+longestSecret), 0, int64(0)
	for {
		n, err := io.ReadFull(file, buffer[kept:])
		s.in(t, fmt.Sprintf("%s: disk, from byte %d", name, position-int64(kept)), buffer[:kept+n])
		if err != nil {
			break
		}
		position += int64(n)
		kept = copy(buffer, buffer[len(buffer)-longestSecret:])
	}
	files := t.TempDir()
	for _, label := range []string{"strongroom-var", "strongroom-audit", "strongroom-vault"} {
		dir := filepath.Join(files, label)
		if err := os.Mkdir(dir, 0o700); err != nil {
			t.Fatal(err)
		}
		partition := cut(t, path, label)
		output(t, "debugfs", "-R", "rdump / "+dir, partition)
		os.Remove(partition)
	}
	count := 0
	err = filepath.WalkDir(files, func(path string, d fs.DirEntry, err error) error {
		if err != nil || !d.Type().IsRegular() {
			return err
		}
		count++
		if strings.HasPrefix(d.Name(), "core") && !strings.HasSuffix(d.Name(), ".json") || strings.Contains(path, "coredump/") {
			t.Errorf("%s: a core file: %s", name, strings.TrimPrefix(path, files))
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	journal := output(t, "journalctl", "--directory="+filepath.Join(files, "strongroom-var", "log", "journal"), "--output=export", "--all")
	if len(journal) < 100<<10 || !bytes.Contains(journal, []byte("hostcheck-bootstrap.service")) {
		t.Errorf("%s: the journal has %d bytes", name, len(journal))
	}
	s.in(t, name+": journal", journal)
	audit, err := os.ReadFile(filepath.Join(files, "strongroom-audit", "audit.log"))
	if err != nil || name == "node-1" && !bytes.Contains(audit, []byte("sys/policies/acl")) {
		t.Errorf("%s: the audit log has %d bytes, %v", name, len(audit), err)
	}
	t.Logf("%s: looked at %d bytes of disk, %d files, %d bytes of journal, %d of audit log", name, position, count, len(journal), len(audit))
}
