package configure_test

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net/http"
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

// renewing is a configured node whose references can change.
type renewing struct {
	t        *testing.T
	o        configure.Options
	ca       *nodetest.CA
	reloads  int
	failing  error // of a reload
	reloaded func()
}

func newRenewing(t *testing.T, seal string) *renewing {
	r := &renewing{t: t, ca: nodetest.NewCA(t, nodetest.Today())}
	r.o, _, _ = machine(t, r.ca.Credentials(config+seal, "node.example", "127.0.0.1"))
	return r
}

func (r *renewing) configure() {
	r.t.Helper()
	if _, err := configure.Run(r.t.Context(), r.o); err != nil {
		r.t.Fatal(err)
	}
}

func (r *renewing) renew() (configure.Renewal, error) {
	return configure.Renew(r.t.Context(), r.o, func(context.Context) error {
		r.reloads++
		if r.reloaded != nil {
			r.reloaded()
		}
		return r.failing
	})
}

// offer changes what the references give.
func (r *renewing) offer(m node.Material) {
	for name, content := range map[string][]byte{node.CredentialCert: m.Cert, node.CredentialKey: m.Key.Reveal(), node.CredentialCA: m.CA} {
		path := filepath.Join(r.o.Credentials, name)
		os.Remove(path)
		put(r.t, r.o.Credentials, name, string(content))
	}
}

// shown is what server and agent have.
func (r *renewing) shown() (server, agent string) {
	return read(r.t, r.o.Root, "run/vault/tls/tls.crt"), read(r.t, r.o.Root, node.AgentTLS+"/tls.crt")
}

func TestRenew(t *testing.T) {
	r := newRenewing(t, "")
	if _, err := r.renew(); err == nil || !strings.Contains(err.Error(), "has not been configured") {
		t.Errorf("a node that was not configured: %v", err)
	}
	r.configure()
	before, _ := r.shown()
	if done, err := r.renew(); err != nil || done.TLS || done.NotAfter.IsZero() || r.reloads != 0 {
		t.Errorf("nothing is new: %+v, %v, %d reloads", done, err, r.reloads)
	}

	// A reload that fails is made up for.
	fresh := r.ca.Credentials("", "node.example").Material
	r.offer(fresh)
	r.failing = errors.New("boom")
	if done, err := r.renew(); err == nil || done.TLS || !strings.Contains(err.Error(), "cannot have Vault read its new TLS material: boom") {
		t.Errorf("a reload failed: %+v, %v", done, err)
	}
	r.failing = nil
	if done, err := r.renew(); err != nil || !done.TLS || r.reloads != 2 {
		t.Errorf("the next run: %+v, %v, %d reloads", done, err, r.reloads)
	}
	server, agent := r.shown()
	if server != string(fresh.Cert) || agent != string(fresh.Cert) || server == before {
		t.Error("the new certificate is not where it should be")
	}
	if entries, _ := filepath.Glob(filepath.Join(r.o.Root, "run/*/.*")); len(entries) > 0 {
		t.Errorf("left behind: %v", entries)
	}
	info, err := os.Stat(filepath.Join(r.o.Root, "run/vault/tls/tls.key"))
	if err != nil || info.Mode().Perm() != 0o640 {
		t.Errorf("the key: %v, %v", info, err)
	}

	// Another authority: what the agent believes follows.
	other := nodetest.NewCA(t, nodetest.Today())
	r.offer(other.Credentials("", "node.example").Material)
	if done, err := r.renew(); err != nil || !done.TLS || !strings.Contains(read(t, r.o.Root, node.IdentityPath), strings.ReplaceAll(string(other.PEM[30:60]), "\n", `\n`)) {
		t.Errorf("another authority: %+v, %v", done, err)
	}
}

// What is not good is refused, whatever is wrong with it, and the old stays.
func TestRenewRefuses(t *testing.T) {
	year := 365 * 24 * time.Hour
	for name, c := range map[string]struct {
		offer func(r *renewing) node.Material
		want  string
	}{
		"another host": {func(r *renewing) node.Material { return r.ca.Credentials("", "other.example").Material }, "not good for node.example"},
		"another authority's certificate": {func(r *renewing) node.Material {
			m := nodetest.NewCA(t, nodetest.Today()).Credentials("", "node.example").Material
			m.CA = r.ca.PEM
			return m
		}, "does not lead to"},
		"key of another": {func(r *renewing) node.Material {
			m := r.ca.Credentials("", "node.example").Material
			m.Key = r.ca.Credentials("", "node.example").Key
			return m
		}, "does not match"},
		"expired": {func(r *renewing) node.Material {
			cert, key := r.ca.Issue(nodetest.Validity{From: time.Now().Add(-2 * time.Hour), Until: time.Now().Add(-time.Hour)}, "node.example")
			return node.Material{Cert: cert, Key: node.NewSecret(key), CA: r.ca.PEM}
		}, "expired at"},
		"of next year": {func(r *renewing) node.Material {
			future := nodetest.NewCA(t, nodetest.Validity{From: time.Now().Add(year), Until: time.Now().Add(2 * year)})
			cert, key := future.Issue(nodetest.Validity{From: time.Now().Add(year), Until: time.Now().Add(2 * year)}, "node.example")
			return node.Material{Cert: cert, Key: node.NewSecret(key), CA: future.PEM}
		}, "not valid before"},
		"nothing": {func(*renewing) node.Material { return node.Material{} }, "it is empty"},
		"damaged": {func(r *renewing) node.Material {
			m := r.ca.Credentials("", "node.example").Material
			m.Cert = []byte("x")
			return m
		}, "no certificate"},
	} {
		t.Run(name, func(t *testing.T) {
			r := newRenewing(t, "")
			r.configure()
			before, _ := r.shown()
			r.offer(c.offer(r))
			if done, err := r.renew(); err == nil || done.TLS || !strings.Contains(err.Error(), c.want) {
				t.Errorf("got %+v, %v; want an error with %q", done, err, c.want)
			}
			if server, agent := r.shown(); server != before || agent != before || r.reloads != 0 {
				t.Error("the old material did not stay")
			}
		})
	}
}

// A token of the seal that was renewed is there when the server starts again; a seal of another kind waits for the next boot.
func TestRenewSeal(t *testing.T) {
	r := newRenewing(t, seals["transit"].block)
	for _, name := range []string{"strongroom.seal.ca", "strongroom.seal.client.crt"} {
		put(t, r.o.Credentials, name, string(r.ca.PEM))
	}
	_, key := r.ca.Issue(nodetest.Today(), "a")
	put(t, r.o.Credentials, "strongroom.seal.client.key", string(key))
	put(t, r.o.Credentials, "strongroom.seal.token", "first")
	r.configure()
	put(t, r.o.Credentials, "strongroom.seal.token", "second")
	if done, err := r.renew(); err != nil || !done.Seal || done.TLS || r.reloads != 0 {
		t.Errorf("got %+v, %v", done, err)
	}
	if got := read(t, r.o.Root, "run/vault/seal/token"); got != "second" {
		t.Errorf("the token is %q", got)
	}
	put(t, r.o.Root, "run/hostcheck/node.hcl", config)
	if done, err := r.renew(); err != nil || done.Seal || read(t, r.o.Root, "run/vault/seal/token") != "second" {
		t.Errorf("another seal: %+v, %v", done, err)
	}
}

// A real server shows the renewed certificate after SIGHUP, which is how its unit is reloaded, and does not restart.
func TestServerShowsTheRenewedCertificate(t *testing.T) {
	binary := os.Getenv("VAULT_BINARY")
	if binary == "" {
		t.Skip("SKIPPED, NOTHING WAS PROVEN: VAULT_BINARY is not set")
	}
	r := newRenewing(t, "")
	r.configure()
	if err := os.Mkdir(filepath.Join(r.o.Root, "data"), 0o700); err != nil {
		t.Fatal(err)
	}
	api, cluster := nodetest.FreePort(t, "127.0.0.1"), nodetest.FreePort(t, "127.0.0.1")
	put(t, r.o.Root, "server.hcl", strings.NewReplacer(
		vault.Run, filepath.Join(r.o.Root, vault.Run), `"`+vault.Data+`"`, `"`+filepath.Join(r.o.Root, "data")+`"`,
		`"[::]:8200"`, fmt.Sprintf(`"127.0.0.1:%d"`, api), `"[::]:8201"`, fmt.Sprintf(`"127.0.0.1:%d"`, cluster),
	).Replace(read(t, r.o.Root, vault.Config)))
	server := exec.Command(binary, "server", "-config="+filepath.Join(r.o.Root, "server.hcl"))
	if err := server.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = server.Process.Kill(); _ = server.Wait() })
	c := client{address: fmt.Sprintf("https://127.0.0.1:%d", api), http: trusting(r.ca.PEM)}
	c.wait(t, http.StatusNotImplemented)
	serial := func() string {
		conn, err := tls.Dial("tcp", fmt.Sprintf("127.0.0.1:%d", api), c.http.Transport.(*http.Transport).TLSClientConfig)
		if err != nil {
			t.Fatal(err)
		}
		defer conn.Close()
		return conn.ConnectionState().PeerCertificates[0].SerialNumber.String()
	}
	before := serial()
	r.offer(r.ca.Credentials("", "node.example", "127.0.0.1").Material)
	r.reloaded = func() { r.failing = server.Process.Signal(syscall.SIGHUP) }
	if done, err := r.renew(); err != nil || !done.TLS {
		t.Fatal(done, err)
	}
	for deadline := time.Now().Add(20 * time.Second); serial() == before; time.Sleep(50 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatal("the server still shows the old certificate")
		}
	}
}
