package configure_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"github.com/strongroom/strongroom/internal/configure"
	"github.com/strongroom/strongroom/internal/node"
	"github.com/strongroom/strongroom/internal/node/nodetest"
	"github.com/strongroom/strongroom/internal/server"
)

const config = `
cluster {
  name = "test"
}
api_addr     = "https://node.example:8200"
cluster_addr = "https://{{ GetPrivateIP }}:8201"
firewall {
  monitoring = ["192.0.2.7"]
}
`

// The products that a node can be configured for.
var vault, openbao = server.Products[0], server.Products[1]

// firewall remembers what it was given.
type firewall struct {
	sets     []configure.Set
	err      error
	admitted []netip.Addr
	open     int
}

func (f *firewall) Replace(sets []configure.Set) error {
	f.sets = sets
	return f.err
}

func (f *firewall) Admit(addresses []netip.Addr) (func() error, error) {
	f.admitted = append(f.admitted, addresses...)
	f.open++
	return func() error { f.open--; return nil }, nil
}

func (f *firewall) elements(name string) int {
	for _, s := range f.sets {
		if s.Name == name {
			return len(s.Ranges)
		}
	}
	return -1
}

// machine is a root tree with accounts, as configure finds it on a first boot. Its root and
// vault are the user and group that run the test, so that the test needs no privilege.
func machine(t *testing.T, creds node.Credentials) (configure.Options, *firewall, *bytes.Buffer) {
	t.Helper()
	root := t.TempDir()
	for _, dir := range []string{"etc", "run", "var/lib"} {
		if err := os.MkdirAll(filepath.Join(root, dir), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	put(t, root, "etc/passwd", fmt.Sprintf("daemon:x:1:1::/:/x\nroot:x:%d:%d:root:/root:/x\n", os.Getuid(), os.Getgid()))
	put(t, root, "etc/group", fmt.Sprintf("root:x:0:\nvaultage:x:7:\nvault:x:%[1]d:\nopenbao:x:%[1]d:\n", os.Getgid()))
	fw, log := &firewall{}, &bytes.Buffer{}
	return configure.Options{
		Root: root, Server: vault, Baked: baked, Credentials: nodetest.WriteCredentials(t, creds), Firewall: fw,
		Resolve: func(string) (string, error) { return "https://10.0.2.15:8201", nil },
		Now:     time.Now, Random: strings.NewReader(strings.Repeat("0123456789abcdef", 4)),
		Log: slog.New(slog.NewTextHandler(log, nil)),
	}, fw, log
}

func put(t *testing.T, root, path, content string) {
	t.Helper()
	if err := os.WriteFile(filepath.Join(root, path), []byte(content), 0o644); err != nil {
		t.Fatal(err)
	}
}

func read(t *testing.T, root, path string) string {
	t.Helper()
	content, err := os.ReadFile(filepath.Join(root, path))
	if err != nil {
		t.Fatal(err)
	}
	return string(content)
}

func TestRunWritesTheNode(t *testing.T) {
	creds := nodetest.NewCA(t, nodetest.Today()).Credentials(config, "node.example")
	o, fw, log := machine(t, creds)
	result, err := configure.Run(context.Background(), o)
	if err != nil {
		t.Fatal(err)
	}
	want := node.Identity{
		NodeID: "30313233-3435-4637-b839-616263646566", ClusterName: "test",
		APIAddr: "https://node.example:8200", ClusterAddr: "https://10.0.2.15:8201",
		Seal: "shamir", CA: string(creds.CA), Raft: node.Raft{PerformanceMultiplier: 1}, Telemetry: node.Telemetry{DisableHostname: true},
		Audit: []node.AuditDevice{
			{Type: "file", Options: map[string]string{"file_path": "/var/log/vault/audit.log"}},
			{Type: "syslog", Options: map[string]string{"tag": "vault-audit"}},
		},
	}
	if diff := cmp.Diff(want, *result, cmpopts.EquateEmpty()); diff != "" {
		t.Errorf("identity (-want +got):\n%s", diff)
	}
	var left node.Identity
	if err := json.Unmarshal([]byte(read(t, o.Root, node.IdentityPath)), &left); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(want, left, cmpopts.EquateEmpty()); diff != "" {
		t.Errorf("node.json (-want +got):\n%s", diff)
	}
	for path, mode := range map[string]fs.FileMode{
		"run/vault": fs.ModeDir | 0o750, "run/vault/tls": fs.ModeDir | 0o750, "run/vault/vault.hcl": 0o640,
		"run/vault/tls/tls.crt": 0o640, "run/vault/tls/tls.key": 0o640, "run/vault/tls/ca.crt": 0o640,
		"run/vault/seal": fs.ModeDir | 0o750, "run/hostcheck/node.json": 0o600, "run/hostcheck/tls": fs.ModeDir | 0o700, "run/hostcheck/tls/tls.key": 0o600,
		"var/lib/hostcheck/node-id": 0o644,
	} {
		info, err := os.Lstat(filepath.Join(o.Root, path))
		if err != nil {
			t.Fatal(err)
		}
		if info.Mode() != mode {
			t.Errorf("%s has mode %v, want %v", path, info.Mode(), mode)
		}
	}
	if got := read(t, o.Root, "run/vault/tls/tls.key"); got != string(creds.Key.Reveal()) {
		t.Error("the key is not the credential")
	}
	if got := read(t, o.Root, "run/vault/vault.hcl"); got != string(configure.ServerConfig(vault, want, node.Seal{}, baked)) {
		t.Errorf("vault.hcl is\n%s", got)
	}
	if fw.elements("monitoring4") != 1 || fw.elements("egress6") != 0 {
		t.Errorf("firewall sets: %v", fw.sets)
	}
	if entries, _ := filepath.Glob(filepath.Join(o.Root, "*/*/.*")); len(entries) > 0 {
		t.Errorf("left behind: %v", entries)
	}
	if key := string(creds.Key.Reveal()); strings.Contains(log.String(), key[30:60]) {
		t.Error("the key is in the log")
	}
}

// An OpenBao node has its files where OpenBao's unit looks for them, and nothing where Vault's would.
func TestRunWritesAnOpenBaoNode(t *testing.T) {
	o, _, _ := machine(t, nodetest.NewCA(t, nodetest.Today()).Credentials(config, "node.example"))
	o.Server = openbao
	result, err := configure.Run(context.Background(), o)
	if err != nil {
		t.Fatal(err)
	}
	if got := read(t, o.Root, "run/openbao/openbao.hcl"); got != string(configure.ServerConfig(openbao, *result, node.Seal{}, baked)) {
		t.Errorf("openbao.hcl is\n%s", got)
	}
	for _, name := range []string{"tls.crt", "tls.key", "ca.crt"} {
		read(t, o.Root, "run/openbao/tls/"+name)
	}
	if _, err := os.Stat(filepath.Join(o.Root, "run/vault")); !errors.Is(err, fs.ErrNotExist) {
		t.Error("something was written for Vault")
	}
}

// A later boot finds everything there, with other randomness: the identity stays, the rest is
// written anew.
func TestRunAgainKeepsTheIdentity(t *testing.T) {
	ca := nodetest.NewCA(t, nodetest.Today())
	o, _, _ := machine(t, ca.Credentials(config, "node.example"))
	first, err := configure.Run(context.Background(), o)
	if err != nil {
		t.Fatal(err)
	}
	renewed := ca.Credentials(config, "node.example")
	o.Credentials = nodetest.WriteCredentials(t, renewed)
	o.Random = strings.NewReader(strings.Repeat("x", 64))
	if err := os.Chmod(filepath.Join(o.Root, "run/vault"), 0o777); err != nil {
		t.Fatal(err)
	}
	second, err := configure.Run(context.Background(), o)
	if err != nil {
		t.Fatal(err)
	}
	if first.NodeID != second.NodeID {
		t.Errorf("node id changed from %s to %s", first.NodeID, second.NodeID)
	}
	if read(t, o.Root, "run/vault/tls/tls.crt") != string(renewed.Cert) {
		t.Error("the renewed certificate was not written")
	}
	if info, _ := os.Stat(filepath.Join(o.Root, "run/vault")); info.Mode().Perm() != 0o750 {
		t.Errorf("/run/vault stayed open: %v", info.Mode())
	}
}

func TestRunRefuses(t *testing.T) {
	ca := nodetest.NewCA(t, nodetest.Today())
	good := ca.Credentials(config, "node.example")
	cases := map[string]struct {
		creds  node.Credentials
		edit   func(*configure.Options)
		want   string
		opened bool // monitoring may ask why
	}{
		"no credentials at all":  {creds: good, edit: func(o *configure.Options) { o.Credentials = "" }, want: "strongroom.node.hcl"},
		"no node.hcl":            {creds: node.Credentials{Material: node.Material{Cert: good.Cert}}, want: "no node.hcl was found"},
		"no key":                 {creds: node.Credentials{Config: good.Config, Material: node.Material{Cert: good.Cert, CA: good.CA}}, want: "credential strongroom.tls.key: it is missing", opened: true},
		"mistake in node.hcl":    {creds: ca.Credentials(config+"\nbogus = 1\n", "node.example"), want: `strongroom.node.hcl:11: unknown key "bogus"`},
		"certificate of another": {creds: ca.Credentials(config, "other.example"), want: "not good for node.example", opened: true},
		"another cluster port":   {creds: good, edit: func(o *configure.Options) { o.Baked.ClusterPort = 18201 }, want: "is not the Raft port 18201 of this image", opened: true},
		"no address":             {creds: good, edit: func(o *configure.Options) { o.Resolve = func(string) (string, error) { return "https://:8201", nil } }, want: `"https://:8201"`, opened: true},
		"two addresses": {creds: good, edit: func(o *configure.Options) {
			o.Resolve = func(string) (string, error) { return "https://10.0.0.1 10.0.0.2:8201", nil }
		}, want: "cluster_addr", opened: true},
		"template that fails": {creds: good, edit: func(o *configure.Options) { o.Resolve = func(string) (string, error) { return "", errors.New("boom") } }, want: "cannot resolve cluster_addr: boom", opened: true},
		"no account":          {creds: good, edit: func(o *configure.Options) { put(t, o.Root, "etc/group", "root:x:0:\n") }, want: "cannot look up vault", opened: true},
		"damaged id": {creds: good, edit: func(o *configure.Options) {
			if err := os.Mkdir(filepath.Join(o.Root, "var/lib/hostcheck"), 0o755); err != nil {
				t.Fatal(err)
			}
			put(t, o.Root, "var/lib/hostcheck/node-id", "node-1\n")
		}, want: "is damaged", opened: true},
		"firewall": {creds: good, edit: func(o *configure.Options) { o.Firewall.(*firewall).err = errors.New("boom") }, want: "cannot fill the firewall's sets: boom", opened: true},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			o, fw, _ := machine(t, c.creds)
			if c.edit != nil {
				c.edit(&o)
			}
			_, err := configure.Run(context.Background(), o)
			if err == nil || !strings.Contains(err.Error(), c.want) {
				t.Errorf("got error %v, want one with %q", err, c.want)
			}
			if opened := fw.elements("monitoring4") == 1; opened != c.opened {
				t.Errorf("monitoring may reach the node: %t, want %t", opened, c.opened)
			}
			if _, err := os.Stat(filepath.Join(o.Root, "run/vault/vault.hcl")); !errors.Is(err, fs.ErrNotExist) {
				t.Error("Vault got a configuration")
			}
			if name == "damaged id" && read(t, o.Root, "var/lib/hostcheck/node-id") != "node-1\n" {
				t.Error("the damaged id was overwritten")
			}
		})
	}
}

// Reading randomness that ends early must not leave an id of zeros.
func TestRunNeedsRandomness(t *testing.T) {
	o, _, _ := machine(t, nodetest.NewCA(t, nodetest.Today()).Credentials(config, "node.example"))
	o.Random = strings.NewReader("short")
	if _, err := configure.Run(context.Background(), o); err == nil {
		t.Fatal("no error")
	}
	if _, err := os.Stat(filepath.Join(o.Root, "var/lib/hostcheck/node-id")); !errors.Is(err, fs.ErrNotExist) {
		t.Error("an id was written")
	}
}

func TestMeasurementsAreHandedOn(t *testing.T) {
	creds := nodetest.NewCA(t, nodetest.Today()).Credentials(config, "node.example")
	const left = "run/hostcheck/strongroom.measurements"
	o, _, _ := machine(t, creds)
	if _, err := configure.Run(t.Context(), o); err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat(filepath.Join(o.Root, left)); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("a statement that nobody has handed over: %v", err)
	}
	put(t, o.Credentials, "strongroom.measurements", `{"schema": "x"}`)
	if _, err := configure.Run(t.Context(), o); err != nil {
		t.Fatal(err)
	}
	if got := read(t, o.Root, left); got != `{"schema": "x"}` {
		t.Errorf("left %q", got)
	}
	info, err := os.Stat(filepath.Join(o.Root, left))
	if err != nil || info.Mode().Perm() != 0o644 {
		t.Errorf("mode %v, error %v", info.Mode(), err)
	}
}
