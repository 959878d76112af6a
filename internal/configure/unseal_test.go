package configure_test

import (
	"bytes"
	"context"
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

	"github.com/strongroom/strongroom/internal/configure"
	"github.com/strongroom/strongroom/internal/node/nodetest"
	"github.com/strongroom/strongroom/internal/server"
)

// sealed is a seal that a server of this machine can have.
type sealed struct {
	kind        string
	block       string            // of node.hcl
	credentials map[string]string // that it refers to
	replace     []string          // in the server's configuration: what is elsewhere on this machine
	environment []string          // of the server
}

// A server whose configuration and seal files configure has written unseals itself after a restart: with a key that lies
// in another server, in a key service, or in a file.
func TestServerUnsealsByItself(t *testing.T) {
	binaries := map[server.Product]string{vault: os.Getenv("VAULT_BINARY"), openbao: os.Getenv("OPENBAO_BINARY")}
	for _, c := range []struct {
		product server.Product
		kind    string
		begin   func(t *testing.T, binary string) sealed
	}{
		{vault, "transit", beginTransit}, {vault, "awskms", beginAWS},
		{openbao, "transit", beginTransit}, {openbao, "static", beginStatic},
	} {
		t.Run(c.kind+" on "+c.product.ID, func(t *testing.T) {
			binary := binaries[c.product]
			if binary == "" {
				t.Skip("SKIPPED, NOTHING WAS PROVEN: there is no binary of this server")
			}
			unsealsByItself(t, c.product, binary, c.begin(t, binary))
		})
	}
}

func beginTransit(t *testing.T, binary string) sealed {
	keeper := startKeeper(t, binary)
	return sealed{
		kind: "transit",
		block: `
seal "transit" {
  address  = "https://transit.example:8200"
  key_name = "unseal"
  token    = "credential:strongroom.seal.token"
  ca       = "credential:strongroom.seal.ca"
}
`,
		// As a shell writes it: with the end of the line, which must not reach the server.
		credentials: map[string]string{"strongroom.seal.token": keeper.transitToken(t) + "\n", "strongroom.seal.ca": string(keeper.ca)},
		replace:     []string{"https://transit.example:8200", keeper.address},
	}
}

func beginStatic(*testing.T, string) sealed {
	return sealed{
		kind: "static",
		block: `
seal "static" {
  current_key_id = "one"
  current_key    = "credential:strongroom.seal.key"
}
`,
		credentials: map[string]string{"strongroom.seal.key": strings.Repeat("0f", 32) + "\n"},
	}
}

func unsealsByItself(t *testing.T, product server.Product, binary string, seal sealed) {
	ca := nodetest.NewCA(t, nodetest.Today())
	o, _, _ := machine(t, ca.Credentials(config+seal.block, "node.example", "127.0.0.1"))
	o.Server = product
	for name, value := range seal.credentials {
		put(t, o.Credentials, name, value)
	}
	if _, err := configure.Run(t.Context(), o); err != nil {
		t.Fatal(err)
	}
	written := read(t, o.Root, product.Config)
	for name, value := range seal.credentials {
		if strings.Contains(written, strings.TrimSpace(value)) {
			t.Errorf("%s is in the server's configuration", name)
		}
	}
	data, audit := filepath.Join(o.Root, "data"), filepath.Join(o.Root, "audit")
	for _, dir := range []string{data, audit} {
		if err := os.Mkdir(dir, 0o700); err != nil {
			t.Fatal(err)
		}
	}
	api, cluster := nodetest.FreePort(t, "127.0.0.1"), nodetest.FreePort(t, "127.0.0.1")
	path := filepath.Join(o.Root, "server.hcl")
	put(t, o.Root, "server.hcl", strings.NewReplacer(append([]string{
		product.Run, filepath.Join(o.Root, product.Run), `"` + product.Data + `"`, `"` + data + `"`, product.Audit, audit,
		`"[::]:8200"`, fmt.Sprintf(`"127.0.0.1:%d"`, api), `"[::]:8201"`, fmt.Sprintf(`"127.0.0.1:%d"`, cluster),
		"https://10.0.2.15:8201", fmt.Sprintf("https://127.0.0.1:%d", cluster),
		"https://node.example:8200", fmt.Sprintf("https://127.0.0.1:%d", api),
	}, seal.replace...)...).Replace(withoutSyslog(written)))

	node := client{address: fmt.Sprintf("https://127.0.0.1:%d", api), http: trusting(ca.PEM)}
	stop := startServer(t, binary, seal.environment, "-config="+path)
	node.wait(t, http.StatusNotImplemented)
	var keys struct {
		RootToken string `json:"root_token"`
	}
	node.call(t, http.MethodPut, "sys/init", map[string]any{"recovery_shares": 1, "recovery_threshold": 1}, &keys)
	node.wait(t, http.StatusOK)
	stop()

	startServer(t, binary, seal.environment, "-config="+path)
	node.wait(t, http.StatusOK) // nobody has unsealed it
	var status struct {
		Type   string `json:"type"`
		Sealed bool   `json:"sealed"`
	}
	node.token = keys.RootToken
	node.call(t, http.MethodGet, "sys/seal-status", nil, &status)
	if status.Type != seal.kind || status.Sealed {
		t.Errorf("seal status %+v", status)
	}
}

// withoutSyslog leaves out the audit device for which this machine need have no socket.
func withoutSyslog(config string) string {
	before, _, _ := strings.Cut(config, `audit "syslog"`)
	return before
}

// The servers read the configuration of each seal. They would read one with an option that they do not know as well, and no
// cloud can be asked here: that the options are right is seen for those seals only with which a server unseals itself.
func TestServerParsesEachSeal(t *testing.T) {
	binaries := map[string]string{"vault": os.Getenv("VAULT_BINARY"), "openbao": os.Getenv("OPENBAO_BINARY")}
	for name, seal := range seals {
		for _, product := range server.Products {
			if name == "static" && product == vault {
				continue
			}
			t.Run(name+" on "+product.ID, func(t *testing.T) {
				binary := binaries[product.ID]
				if binary == "" {
					t.Skip("SKIPPED, NOTHING WAS PROVEN: there is no binary of this server")
				}
				c := parsed(t, product, seal.block)
				dir := t.TempDir()
				var files []string
				for _, f := range c.Seal.Files {
					content := "x"
					switch f.Option {
					case "current_key":
						content = "MDEyMzQ1Njc4OWFiY2RlZjAxMjM0NTY3ODlhYmNkZWY="
					case "previous_key":
						content = strings.Repeat("ab", 32)
					}
					put(t, dir, f.Option, content)
					files = append(files, f.Option)
				}
				src := strings.ReplaceAll(string(configure.ServerConfig(product, audited, c.Seal, baked)), product.Run+"/seal", dir)
				put(t, dir, "server.hcl", src)
				ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
				defer cancel()
				out, _ := exec.CommandContext(ctx, binary, "operator", "diagnose", "-format=json", "-skip=storage", "-skip=listener", "-skip=autounseal", "-config="+filepath.Join(dir, "server.hcl")).Output()
				var tree diagnosed
				if err := json.Unmarshal(out, &tree); err != nil {
					t.Fatalf("operator diagnose: %v:\n%s", err, out)
				}
				if status := tree.status("Parse Configuration"); status != "ok" {
					t.Errorf("diagnose: Parse Configuration is %q (%v)\n%s", status, files, out)
				}
				if name == "static" && tree.status("Create Core Seals") == "fail" {
					t.Errorf("diagnose refuses the key:\n%s", out)
				}
			})
		}
	}
}

// keeper is the server that has the key.
type keeper struct {
	client
	ca []byte
}

func startKeeper(t *testing.T, binary string) keeper {
	t.Helper()
	dir := t.TempDir()
	port := nodetest.FreePort(t, "127.0.0.1")
	startServer(t, binary, nil, "-dev-tls", "-dev-tls-cert-dir="+dir, "-dev-root-token-id=root", "-dev-no-store-token", fmt.Sprintf("-dev-listen-address=127.0.0.1:%d", port))
	var ca []byte
	for range 200 {
		found, err := filepath.Glob(filepath.Join(dir, "*-ca.pem"))
		if err == nil && len(found) == 1 {
			if ca, err = os.ReadFile(found[0]); err == nil && bytes.Contains(ca, []byte("END CERTIFICATE")) {
				break
			}
		}
		time.Sleep(50 * time.Millisecond)
	}
	k := keeper{client{fmt.Sprintf("https://127.0.0.1:%d", port), "root", trusting(ca)}, ca}
	k.wait(t, http.StatusOK)
	return k
}

// transitToken makes the key, and a token that may use it and nothing else.
func (k keeper) transitToken(t *testing.T) string {
	t.Helper()
	k.call(t, http.MethodPost, "sys/mounts/transit", map[string]any{"type": "transit"}, nil)
	k.call(t, http.MethodPost, "transit/keys/unseal", nil, nil)
	k.call(t, http.MethodPut, "sys/policies/acl/unseal", map[string]any{"policy": `
path "transit/encrypt/unseal" { capabilities = ["update"] }
path "transit/decrypt/unseal" { capabilities = ["update"] }`}, nil)
	var made struct {
		Auth struct {
			Token string `json:"client_token"`
		} `json:"auth"`
	}
	k.call(t, http.MethodPost, "auth/token/create-orphan", map[string]any{"policies": []string{"unseal"}, "period": "1h"}, &made)
	return made.Auth.Token
}

// startServer runs a server until the test ends, or until it is stopped as systemd does.
func startServer(t *testing.T, binary string, environment []string, args ...string) (stop func()) {
	t.Helper()
	var log bytes.Buffer
	cmd := exec.Command(binary, append([]string{"server"}, args...)...)
	cmd.Stdout, cmd.Stderr = &log, &log
	cmd.Env = append(append(os.Environ(), "HOME="+t.TempDir()), environment...)
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	done := make(chan struct{})
	go func() { _ = cmd.Wait(); close(done) }()
	stop = func() {
		_ = cmd.Process.Signal(os.Interrupt)
		select {
		case <-done:
		case <-time.After(30 * time.Second):
			_ = cmd.Process.Kill()
			<-done
		}
	}
	t.Cleanup(func() {
		stop()
		if t.Failed() {
			t.Logf("%s:\n%s", cmd, log.String())
		}
	})
	return stop
}

// client talks to one server.
type client struct {
	address string
	token   string
	http    *http.Client
}

func trusting(ca []byte) *http.Client {
	roots := x509.NewCertPool()
	roots.AppendCertsFromPEM(ca)
	return &http.Client{Timeout: 20 * time.Second, Transport: &http.Transport{TLSClientConfig: &tls.Config{RootCAs: roots}, DisableKeepAlives: true}}
}

// wait asks for the health until it is what it should become.
func (c client) wait(t *testing.T, want int) {
	t.Helper()
	var last string
	for deadline := time.Now().Add(time.Minute); time.Now().Before(deadline); time.Sleep(100 * time.Millisecond) {
		resp, err := c.http.Get(c.address + "/v1/sys/health")
		if err != nil {
			last = err.Error()
			continue
		}
		resp.Body.Close()
		if resp.StatusCode == want {
			return
		}
		last = resp.Status
	}
	t.Fatalf("%s: health is %s, want %d", c.address, last, want)
}

func (c client) call(t *testing.T, method, path string, in, out any) {
	t.Helper()
	body, err := json.Marshal(in)
	if err != nil {
		t.Fatal(err)
	}
	request, err := http.NewRequestWithContext(t.Context(), method, c.address+"/v1/"+path, bytes.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	request.Header.Set("X-Vault-Token", c.token)
	resp, err := c.http.Do(request)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	if resp.StatusCode >= 300 {
		t.Fatalf("%s %s: %s", method, path, resp.Status)
	}
	if out != nil {
		if err := json.NewDecoder(resp.Body).Decode(out); err != nil {
			t.Fatal(err)
		}
	}
}
