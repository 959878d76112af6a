package rehearse

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"filippo.io/age"
	"github.com/hashicorp/vault/api"

	"github.com/strongroom/strongroom/internal/node"
	"github.com/strongroom/strongroom/internal/snapshot"
)

// program is that of a product, from the environment.
func program(t *testing.T, product string) string {
	t.Helper()
	variable := map[string]string{"vault": "VAULT_BINARY", "openbao": "OPENBAO_BINARY"}[product]
	path := os.Getenv(variable)
	if path == "" {
		t.Skipf("SKIPPED, NOTHING WAS PROVEN: %s is not set", variable)
	}
	return path
}

// transit is a Vault that holds the keys of seals.
func transit(t *testing.T) (block func(key string) string) {
	t.Helper()
	ports, err := freePorts(1)
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(program(t, "vault"), "server", "-dev", "-dev-root-token-id=root", "-dev-no-store-token", "-dev-listen-address="+ports[0])
	cmd.Env = []string{"HOME=" + t.TempDir(), "PATH=/usr/bin:/bin"}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = cmd.Process.Kill(); _ = cmd.Wait() })
	client, err := api.NewClient(&api.Config{Address: "http://" + ports[0]})
	if err != nil {
		t.Fatal(err)
	}
	client.SetToken("root")
	for end := time.Now().Add(time.Minute); ; time.Sleep(pace) {
		if err = client.Sys().Mount("transit", &api.MountInput{Type: "transit"}); err == nil || strings.Contains(err.Error(), "already in use") {
			break
		}
		if time.Now().After(end) {
			t.Fatal(err)
		}
	}
	return func(key string) string {
		if _, err := client.Logical().Write("transit/keys/"+key, map[string]any{}); err != nil {
			t.Fatal(err)
		}
		return fmt.Sprintf("seal \"transit\" {\n  address = \"http://%s\"\n  token = \"root\"\n  key_name = %q\n  mount_path = \"transit/\"\n  disable_renewal = \"true\"\n}\n", ports[0], key)
	}
}

// backup is an archive of a real cluster with one secret.
type backup struct {
	product  string
	path     string
	identity *age.X25519Identity
	keys     []node.Secret // that unseal it
	token    node.Secret   // that may read the secret
	cluster  string
}

// backedUp starts a server, gives it a secret, and lays its snapshot encrypted into a directory, with a manifest.
func backedUp(t *testing.T, product, seal string) backup {
	t.Helper()
	s, err := start(t.Context(), product, program(t, product), t.TempDir(), seal)
	if err != nil {
		t.Fatal(err)
	}
	defer s.stop()
	request := &api.InitRequest{RecoveryShares: 1, RecoveryThreshold: 1}
	if seal == "" {
		request = &api.InitRequest{SecretShares: 3, SecretThreshold: 2}
	}
	made, err := s.client.Sys().Init(request)
	if err != nil {
		t.Fatal(err)
	}
	b := backup{product: product}
	for _, key := range made.KeysB64 {
		if b.keys = append(b.keys, node.NewSecret([]byte(key))); len(b.keys) <= 2 {
			if _, err := s.client.Sys().Unseal(key); err != nil {
				t.Fatal(err)
			}
		}
	}
	s.client.SetToken(made.RootToken)
	r := &run{server: s}
	var health *api.HealthResponse
	if err := s.until(t.Context(), "does not lead", func() (err error) { health, err = r.serving(t.Context()); return err }); err != nil {
		t.Fatal(err)
	}
	if err := s.client.Sys().Mount("kv", &api.MountInput{Type: "kv"}); err != nil {
		t.Fatal(err)
	}
	if _, err := s.client.Logical().Write("kv/canary", map[string]any{"sings": "yes"}); err != nil {
		t.Fatal(err)
	}
	if err := s.client.Sys().PutPolicy("canary", `path "kv/canary" { capabilities = ["read"] }`); err != nil {
		t.Fatal(err)
	}
	token, err := s.client.Auth().Token().CreateOrphan(&api.TokenCreateRequest{Policies: []string{"canary"}, NoDefaultPolicy: true, Period: "720h"})
	if err != nil {
		t.Fatal(err)
	}
	b.token, b.cluster = node.NewSecret([]byte(token.Auth.ClientToken)), health.ClusterID
	var plain bytes.Buffer
	if err := s.client.Sys().RaftSnapshot(&plain); err != nil {
		t.Fatal(err)
	}
	content, err := snapshot.Verify(bytes.NewReader(plain.Bytes()))
	if err != nil {
		t.Fatal(err)
	}
	if b.identity, err = age.GenerateX25519Identity(); err != nil {
		t.Fatal(err)
	}
	var sealed bytes.Buffer
	w, err := age.Encrypt(&sealed, b.identity.Recipient())
	if err != nil {
		t.Fatal(err)
	}
	if _, err := io.Copy(w, bytes.NewReader(plain.Bytes())); err != nil || w.Close() != nil {
		t.Fatal(err)
	}
	b.path = filepath.Join(t.TempDir(), "prod.20261122T203000Z.0a1b2c3d.snap.age")
	now := time.Now().UTC()
	b.write(t, sealed.Bytes(), snapshot.Manifest{Schema: snapshot.Schema, Taken: now, Verified: now, Server: product, ClusterID: b.cluster, Version: health.Version, Content: content})
	return b
}

func (b backup) write(t *testing.T, archive []byte, m snapshot.Manifest) {
	t.Helper()
	sum := sha256.Sum256(archive)
	m.Archive, m.Encrypted = filepath.Base(b.path), snapshot.Sum{Size: int64(len(archive)), SHA256: hex.EncodeToString(sum[:])}
	text, err := json.Marshal(m)
	if err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(os.WriteFile(b.path, archive, 0o600), os.WriteFile(b.path+".json", text, 0o600)); err != nil {
		t.Fatal(err)
	}
}

func (b backup) options(t *testing.T, config string) Options {
	return Options{Archive: b.path, Identities: []age.Identity{b.identity}, Program: program(t, b.product), Config: config, Canary: "kv/canary", Token: b.token,
		Directory: t.TempDir(), Within: time.Minute, Say: func(line string) { t.Log(line) }, Now: time.Now}
}

// leftNothing wants the directory of the throw-away server empty.
func leftNothing(t *testing.T, o Options) {
	t.Helper()
	if left, err := os.ReadDir(o.Directory); err != nil || len(left) > 0 {
		t.Errorf("the throw-away server has left %v, %v", left, err)
	}
}

// TestRealVault: what says nothing about the archive of a real server leaves no word about it, and a broken archive does. TestRealVaultRestored restores it.
func TestRealVault(t *testing.T) {
	block := transit(t)
	seal := block("unseal")
	b := backedUp(t, "vault", seal)

	for name, c := range map[string]struct {
		change func(*Options)
		want   string
	}{
		"another seal":       {func(o *Options) { o.Config = "" }, "needs the seal transit, and the throw-away server has shamir"},
		"a stranger":         {func(o *Options) { o.Identities = []age.Identity{stranger(t)} }, "cannot decrypt"},
		"no identity":        {func(o *Options) { o.Identities = nil }, "is encrypted"},
		"no program":         {func(o *Options) { o.Program = "/nonexistent" }, "cannot run /nonexistent"},
		"a program":          {func(o *Options) { o.Program = "/bin/echo" }, "neither Vault nor OpenBao"},
		"no archive":         {func(o *Options) { o.Archive = "/nonexistent" }, "no such file"},
		"a configuration":    {func(o *Options) { o.Config = "nonsense {" }, "the throw-away server has ended"},
		"no room for a file": {func(o *Options) { o.Directory = "/nonexistent" }, "no such file"},
	} {
		t.Run(name, func(t *testing.T) {
			o := b.options(t, seal)
			directory := o.Directory
			c.change(&o)
			r, err := Run(t.Context(), o)
			if err == nil || !strings.Contains(err.Error(), c.want) || !r.At.IsZero() {
				t.Errorf("%+v, %v; want %q and no word about the archive", r, err, c.want)
			}
			o.Directory = directory
			leftNothing(t, o)
		})
	}
	t.Run("a damaged archive", func(t *testing.T) {
		o := b.options(t, seal)
		content, err := os.ReadFile(b.path)
		if err != nil {
			t.Fatal(err)
		}
		damaged := b
		damaged.path = filepath.Join(t.TempDir(), filepath.Base(b.path))
		damaged.write(t, content[:len(content)-1000], snapshot.Manifest{Schema: snapshot.Schema, Verified: time.Now(), Server: "vault", ClusterID: b.cluster})
		o.Archive = damaged.path
		r, err := Run(t.Context(), o)
		if err == nil || r.At.IsZero() || r.Error == "" || r.Archive != filepath.Base(b.path) {
			t.Errorf("%+v, %v", r, err)
		}
	})
}

func stranger(t *testing.T) age.Identity {
	t.Helper()
	id, err := age.GenerateX25519Identity()
	if err != nil {
		t.Fatal(err)
	}
	return id
}

// The end of a log is kept, and of it the last complaint is said.
func TestTail(t *testing.T) {
	var log tail
	for i := range 10000 {
		fmt.Fprintf(&log, "2026-11-22T20:30:00Z [INFO]  line %d\n", i)
	}
	if got := log.last(); got != "the server's log: 2026-11-22T20:30:00Z [INFO]  line 9999" || len(log.b) > maxTail {
		t.Errorf("%q of %d bytes", got, len(log.b))
	}
	fmt.Fprint(&log, "2026-11-22T20:30:01Z [ERROR] core: no key\n2026-11-22T20:30:01Z [INFO]  goes on\n")
	if got := log.last(); !strings.HasSuffix(got, "no key") {
		t.Error(got)
	}
}

// A rehearsal that is ended leaves no server.
func TestEnded(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := start(ctx, "vault", "/bin/true", t.TempDir(), ""); err == nil {
		t.Error("it started")
	}
}
