package configure_test

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"flag"
	"fmt"
	"maps"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	hcl1 "github.com/hashicorp/hcl"
	"github.com/hashicorp/hcl/v2"
	"github.com/hashicorp/hcl/v2/hclsyntax"

	"github.com/strongroom/strongroom/internal/check/checktest"
	"github.com/strongroom/strongroom/internal/configure"
	"github.com/strongroom/strongroom/internal/control"
	"github.com/strongroom/strongroom/internal/host/hosttest"
	"github.com/strongroom/strongroom/internal/node"
	"github.com/strongroom/strongroom/internal/node/nodetest"
	"github.com/strongroom/strongroom/internal/resource"
	"github.com/strongroom/strongroom/internal/server"
)

var update = flag.Bool("update", false, "rewrite golden files")

var rendered = node.Identity{
	NodeID: "30313233-3435-4637-b839-616263646566", ClusterName: "prod-eu1",
	APIAddr: "https://vault-1.example.net:8200", ClusterAddr: "https://[2001:db8::1]:8201", Raft: node.Raft{PerformanceMultiplier: 1},
}

// audited is what configure makes of it for OpenBao.
var audited = func() node.Identity {
	id := rendered
	id.Audit = []node.AuditDevice{
		{Type: "file", Options: map[string]string{"file_path": "/var/log/openbao/audit.log"}},
		{Type: "syslog", Options: map[string]string{"tag": "openbao-audit"}},
	}
	return id
}()

var baked = configure.Baked{TLSMinVersion: "tls12", DefaultLeaseTTL: "1h", MaxLeaseTTL: "24h", APIPort: 8200, ClusterPort: 8201, LogPort: 19532}

// parsed is node.hcl with one more block.
func parsed(t *testing.T, product server.Product, block string) *node.Config {
	t.Helper()
	c, err := node.Parse("node.hcl", []byte(config+block), node.Image{Server: product.ID, ClusterPort: 8201})
	if err != nil {
		t.Fatal(err)
	}
	return c
}

func TestServerConfigGolden(t *testing.T) {
	locked := baked
	locked.MemoryLock = true
	pushed := audited
	pushed.Telemetry = node.Telemetry{StatsDAddress: "10.3.0.5:8125", DogStatsDAddr: "10.3.0.5:8126", DogStatsDTags: []string{"env:prod", "tier:1"}, MetricsPrefix: "secrets"}
	pushed.Audit = append(slices.Clone(pushed.Audit), node.AuditDevice{Type: "socket", Options: map[string]string{"address": "10.3.0.6:601", "socket_type": "tcp"}})
	golden := map[string][]byte{
		"openbao_telemetry.hcl":       configure.ServerConfig(openbao, pushed, node.Seal{}, baked),
		"vault_memory_lock_false.hcl": configure.ServerConfig(vault, rendered, node.Seal{}, baked),
		"vault_memory_lock_true.hcl":  configure.ServerConfig(vault, rendered, node.Seal{}, locked),
		"openbao.hcl":                 configure.ServerConfig(openbao, audited, node.Seal{}, baked),
	}
	for name, seal := range seals {
		golden["seal_"+name+".hcl"] = configure.ServerConfig(seal.product, audited, parsed(t, seal.product, seal.block).Seal, baked)
	}
	for name, got := range golden {
		path := filepath.Join("testdata", name)
		if *update {
			if err := os.WriteFile(path, got, 0o644); err != nil {
				t.Fatal(err)
			}
		}
		want, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(string(want), string(got)); diff != "" {
			t.Errorf("%s (-want +got; -update rewrites it):\n%s", path, diff)
		}
	}
}

// hostcheck reads the file with HCL 2 and the servers with HCL 1: both must see the same values,
// whatever is in them.
func TestServerConfigQuoting(t *testing.T) {
	r := rendered
	r.ClusterName = `a"b\c`
	src := configure.ServerConfig(vault, r, node.Seal{}, configure.Baked{MemoryLock: true})
	file, diags := hclsyntax.ParseConfig(src, "vault.hcl", hcl.InitialPos)
	if diags.HasErrors() {
		t.Fatalf("HCL 2: %v\n%s", diags, src)
	}
	v, diags := file.Body.(*hclsyntax.Body).Attributes["cluster_name"].Expr.Value(nil)
	if diags.HasErrors() || v.AsString() != r.ClusterName {
		t.Errorf("HCL 2 reads %#v", v)
	}
	var old struct {
		ClusterName  string `hcl:"cluster_name"`
		DisableMlock bool   `hcl:"disable_mlock"`
	}
	if err := hcl1.Decode(&old, string(src)); err != nil {
		t.Fatalf("HCL 1: %v\n%s", err, src)
	}
	if old.ClusterName != r.ClusterName || old.DisableMlock {
		t.Errorf("HCL 1 reads %+v", old)
	}
}

// What configure writes is what the controls of the catalogue ask for, whatever the parameters are.
func TestServerConfigSatisfiesTheCatalogue(t *testing.T) {
	others := map[string]string{"tls_min_version": "tls13", "default_lease_ttl": "15m", "max_lease_ttl": "72h", "api_port": "18200", "cluster_port": "18201", "agent_port": "19810"}
	locked := maps.Clone(others)
	locked["memory_lock"] = "on"
	type kase struct {
		product    server.Product
		parameters map[string]string
		block      string
	}
	cases := []kase{{vault, nil, ""}, {vault, locked, ""}, {openbao, nil, ""}, {openbao, others, ""}}
	for _, seal := range seals {
		cases = append(cases, kase{seal.product, nil, seal.block})
		if seal.product == vault { // OpenBao has the seals of Vault
			cases = append(cases, kase{openbao, nil, seal.block})
		}
	}
	for _, c := range cases {
		p := checktest.Profile()
		p.Server, p.Parameters = c.product.ID, c.parameters
		b := checktest.Compile(t, p)
		with, err := configure.BakedFrom(b.Profile.Parameters)
		if err != nil {
			t.Fatal(err)
		}
		addressed := audited
		addressed.ClusterAddr = fmt.Sprintf("https://[2001:db8::1]:%d", with.ClusterPort)
		h := hosttest.New().File(c.product.Config, string(configure.ServerConfig(c.product, addressed, parsed(t, c.product, c.block).Seal, with)))
		judged := 0
		for _, ctl := range b.Controls {
			for _, r := range ctl.Resources {
				if _, ok := r.(*resource.VaultConfig); !ok {
					continue
				}
				for _, o := range r.Verify(t.Context(), h, control.StageBoot) {
					judged++
					if o.Outcome != control.Pass {
						t.Errorf("%s %v: %s: %s: want %s, got %s (%v)", c.product.ID, c.parameters, ctl.ID, o.Source, o.Want, o.Got, o.Err)
					}
				}
			}
		}
		if judged < 50 {
			t.Errorf("only %d facts were judged", judged)
		}
	}
	if _, err := configure.BakedFrom(map[string]string{"memory_lock": "on"}); err == nil || !strings.Contains(err.Error(), "tls_min_version") {
		t.Errorf("a baseline without parameters: %v", err)
	}
}

// The real server starts with the rendered file, apart from where things lie on this machine,
// and answers as the file says.
func TestServerAcceptsTheConfig(t *testing.T) {
	for _, c := range []struct {
		product       server.Product
		variable, who string
	}{
		{vault, "VAULT_BINARY", "`make test` sets it"},
		{openbao, "OPENBAO_BINARY", "OpenBao cannot be built from its Go module; set it to a bao of 2.6 or later"},
	} {
		t.Run(c.product.ID, func(t *testing.T) {
			binary := os.Getenv(c.variable)
			if binary == "" {
				t.Skipf("SKIPPED, NOTHING WAS PROVEN: %s is not set: %s", c.variable, c.who)
			}
			acceptsTheConfig(t, c.product, binary)
		})
	}
}

func acceptsTheConfig(t *testing.T, product server.Product, binary string) {
	dir := t.TempDir()
	// diagnose warns of a certificate that ends within a month.
	season := nodetest.Validity{From: time.Now().Add(-time.Hour), Until: time.Now().Add(90 * 24 * time.Hour)}
	ca := nodetest.NewCA(t, season)
	cert, key := ca.Issue(season, "vault-1.example.net", "127.0.0.1")
	for path, content := range map[string][]byte{"tls.crt": cert, "tls.key": key} {
		if err := os.WriteFile(filepath.Join(dir, path), content, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.Mkdir(filepath.Join(dir, "raft"), 0o700); err != nil {
		t.Fatal(err)
	}
	api, cluster := nodetest.FreePort(t, "127.0.0.1"), nodetest.FreePort(t, "127.0.0.1")
	config := strings.NewReplacer(
		`"`+product.Data+`"`, `"`+filepath.Join(dir, "raft")+`"`,
		`"`+product.Run+`/tls/`, `"`+dir+"/",
		`"[::]:8200"`, fmt.Sprintf(`"127.0.0.1:%d"`, api), `"[::]:8201"`, fmt.Sprintf(`"127.0.0.1:%d"`, cluster),
	).Replace(string(configure.ServerConfig(product, rendered, node.Seal{}, baked)))
	path := filepath.Join(dir, "server.hcl")
	if err := os.WriteFile(path, []byte(config), 0o600); err != nil {
		t.Fatal(err)
	}

	diagnosis, err := exec.Command(binary, "operator", "diagnose", "-format=json", "-skip=storage", "-config="+path).Output()
	var tree diagnosed
	if jsonErr := json.Unmarshal(diagnosis, &tree); jsonErr != nil {
		t.Fatalf("operator diagnose: %v, %v:\n%s", err, jsonErr, diagnosis)
	}
	// Not "Check Telemetry": in 1.21 it fails for every telemetry stanza (it takes the unset
	// stackdriver_debug_logs for a setting and asks for the project).
	for _, name := range []string{"Parse Configuration", "Determine Redirect Address", "Check Cluster Address", "Start Listeners"} {
		if status := tree.status(name); status != "ok" {
			t.Errorf("diagnose: %s is %q\n%s", name, status, diagnosis)
		}
	}

	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	var log strings.Builder
	server := exec.CommandContext(ctx, binary, "server", "-config="+path)
	server.Stdout, server.Stderr = &log, &log
	if err := server.Start(); err != nil {
		t.Fatal(err)
	}
	exited := make(chan error, 1)
	go func() { exited <- server.Wait() }()
	t.Cleanup(func() { _ = server.Process.Kill() })

	roots := x509.NewCertPool()
	roots.AppendCertsFromPEM(ca.PEM)
	client := &http.Client{Timeout: 5 * time.Second, Transport: &http.Transport{TLSClientConfig: &tls.Config{RootCAs: roots}}}
	for {
		resp, err := client.Get(fmt.Sprintf("https://127.0.0.1:%d/v1/sys/health", api))
		if err == nil {
			defer resp.Body.Close()
			if resp.StatusCode != http.StatusNotImplemented {
				t.Errorf("health of a fresh node is %d, want 501 (not initialised)", resp.StatusCode)
			}
			if got := resp.Header.Get("Strict-Transport-Security"); got != "max-age=31536000" {
				t.Errorf("Strict-Transport-Security is %q", got)
			}
			break
		}
		select {
		case err := <-exited:
			t.Fatalf("the server ended: %v\n%s", err, log.String())
		case <-ctx.Done():
			t.Fatalf("the server does not answer: %v", err)
		case <-time.After(100 * time.Millisecond):
		}
	}
	old := &tls.Config{RootCAs: roots, MinVersion: tls.VersionTLS10, MaxVersion: tls.VersionTLS11}
	if conn, err := tls.Dial("tcp", fmt.Sprintf("127.0.0.1:%d", api), old); err == nil {
		conn.Close()
		t.Error("the server speaks TLS 1.1")
	}
}

// diagnosed is a node of diagnose's result tree.
type diagnosed struct {
	Name     string      `json:"name"`
	Status   string      `json:"status"`
	Children []diagnosed `json:"children"`
}

// status is empty when diagnose did not get as far as the step.
func (d diagnosed) status(name string) string {
	if d.Name == name {
		return d.Status
	}
	for _, c := range d.Children {
		if s := c.status(name); s != "" {
			return s
		}
	}
	return ""
}
