//go:build boot

package check_test

import (
	"bytes"
	"context"
	"crypto/x509"
	"fmt"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	vault "github.com/hashicorp/vault/api"

	"github.com/strongroom/strongroom/internal/baseline"
	"github.com/strongroom/strongroom/internal/check"
	"github.com/strongroom/strongroom/internal/check/checktest"
	"github.com/strongroom/strongroom/internal/configure"
	"github.com/strongroom/strongroom/internal/control"
	"github.com/strongroom/strongroom/internal/host"
	"github.com/strongroom/strongroom/internal/node"
	"github.com/strongroom/strongroom/internal/node/nodetest"
	"github.com/strongroom/strongroom/internal/resource"
	"github.com/strongroom/strongroom/internal/server"
)

// realServer is a Vault that runs with the configuration of a node, on this machine's loopback.
type realServer struct {
	root   string // as / of the node: configuration and TLS material lie where they do there
	logs   string // of the file audit device
	client *vault.Client
}

const realName = "vault-1.example.net"

// startVault writes the configuration that a node has, changed as the test wants it, and starts the real server.
func startVault(t *testing.T, b *baseline.Baseline, change ...string) *realServer {
	t.Helper()
	binary := os.Getenv("VAULT_BINARY")
	if binary == "" {
		t.Fatal("VAULT_BINARY is not set; run `make test`")
	}
	s := &realServer{root: t.TempDir(), logs: t.TempDir()}
	season := nodetest.Validity{From: time.Now().Add(-time.Hour), Until: time.Now().Add(90 * 24 * time.Hour)}
	ca := nodetest.NewCA(t, season)
	cert, key := ca.Issue(season, realName, "127.0.0.1")
	run := filepath.Join(s.root, "run/vault")
	data := filepath.Join(s.root, "var/lib/vault")
	for _, dir := range []string{run + "/tls", data} {
		if err := os.MkdirAll(dir, 0o700); err != nil {
			t.Fatal(err)
		}
	}
	product, err := server.Find("vault")
	if err != nil {
		t.Fatal(err)
	}
	baked, err := configure.BakedFrom(b.Profile.Parameters)
	if err != nil {
		t.Fatal(err)
	}
	api, cluster := nodetest.FreePort(t, "127.0.0.1"), nodetest.FreePort(t, "127.0.0.1")
	// The same file for the server and for the checks, but for where things lie on this machine.
	config := strings.NewReplacer(append(change, `"[::]:8200"`, fmt.Sprintf(`"127.0.0.1:%d"`, api), `"[::]:8201"`, fmt.Sprintf(`"127.0.0.1:%d"`, cluster))...).
		Replace(string(configure.ServerConfig(product, node.Identity{NodeID: "node-1", ClusterName: "prod-eu1", Raft: node.Raft{PerformanceMultiplier: 1},
			APIAddr: "https://" + realName + ":8200", ClusterAddr: "https://127.0.0.1:8201"}, node.Seal{}, baked)))
	moved := strings.NewReplacer(`"/run/vault/`, `"`+run+`/`, `"/var/lib/vault"`, `"`+data+`"`, `127.0.0.1:8201`, fmt.Sprintf("127.0.0.1:%d", cluster)).Replace(config)
	own := filepath.Join(t.TempDir(), "vault.hcl")
	for path, content := range map[string]string{run + "/tls/tls.crt": string(cert), run + "/tls/tls.key": string(key),
		run + "/tls/ca.crt": string(ca.PEM), run + "/vault.hcl": config, own: moved} {
		if err := os.WriteFile(path, []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
	}

	ctx, cancel := context.WithCancel(context.Background())
	var log bytes.Buffer
	process := exec.CommandContext(ctx, binary, "server", "-config="+own)
	process.Stdout, process.Stderr = &log, &log
	if err := process.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		cancel()
		_ = process.Wait()
		if t.Failed() {
			t.Logf("the server's log:\n%s", log.String())
		}
	})
	settings := vault.DefaultConfig()
	settings.Address = fmt.Sprintf("https://127.0.0.1:%d", api)
	settings.MaxRetries = 0
	if err := settings.ConfigureTLS(&vault.TLSConfig{CACertBytes: ca.PEM}); err != nil {
		t.Fatal(err)
	}
	if s.client, err = vault.NewClient(settings); err != nil {
		t.Fatal(err)
	}
	s.client.ClearToken()
	nodetest.Eventually(t, "the server answers", time.Minute, func() error { _, err := s.client.Sys().InitStatus(); return err })
	return s
}

// judge gives the outcome of each control about configuration, listener and API, with the token.
func (s *realServer) judge(t *testing.T, b *baseline.Baseline, stage control.Stage, token string) *check.Report {
	t.Helper()
	pem, err := os.ReadFile(filepath.Join(s.root, "run/vault/tls/ca.crt"))
	if err != nil {
		t.Fatal(err)
	}
	roots := x509.NewCertPool()
	roots.AppendCertsFromPEM(pem)
	api := host.NewAPI(host.APIOptions{Address: s.client.Address(), Authorities: roots, ServerName: realName, Token: bearer(token)})
	h, err := host.Live(host.LiveOptions{Root: s.root, API: api})
	if err != nil {
		t.Fatal(err)
	}
	defer h.Close()
	some := *b
	some.Controls = slices.Clone(b.Controls)
	some.Controls = slices.DeleteFunc(some.Controls, func(c control.Control) bool {
		return !slices.Contains([]string{"api", "tls", "config"}, c.Family) && c.ID != "vault-listener-encrypted"
	})
	for i, c := range some.Controls {
		some.Controls[i].Resources = slices.Clone(c.Resources)
		for j, r := range c.Resources {
			// No test writes below this machine's /var/log.
			if devices, ok := r.(*resource.AuditDevices); ok && devices.FilesBelow != "" {
				moved := *devices
				moved.FilesBelow = s.logs
				some.Controls[i].Resources[j] = &moved
			}
		}
	}
	return check.Run(t.Context(), &some, "digest", h, stage, check.Options{})
}

type bearer string

func (s bearer) Reveal() []byte { return []byte(s) }

// expectFailures names the controls that fail; every other one passes, or says why it does not apply.
func expectFailures(t *testing.T, r *check.Report, ids ...string) {
	t.Helper()
	for _, c := range r.Controls {
		fails := slices.Contains(ids, c.Control.ID)
		if fails != (c.Outcome == control.Fail) || c.Outcome == control.Unknown || c.Outcome == control.Pending {
			t.Errorf("%s is %s, fails should be %t\n%s", c.Control.ID, c.Outcome, fails, complain(r))
		}
	}
}

// agentPolicy is the policy that the documentation tells operators to write.
func agentPolicy(t *testing.T) string {
	t.Helper()
	doc, err := os.ReadFile("../../docs/node.md")
	if err != nil {
		t.Fatal(err)
	}
	_, rest, found := strings.Cut(string(doc), "```hcl\n# strongroom-agent:")
	policy, _, closed := strings.Cut(rest, "```")
	if !found || !closed {
		t.Fatal("docs/node.md has no policy for the agent")
	}
	return "# " + policy
}

func TestRealServerAsAMember(t *testing.T) {
	b := checktest.Compile(t, checktest.Profile())
	s := startVault(t, b)
	must := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	sealed := s.judge(t, b, control.StageMember, "hvs.none")
	for _, c := range sealed.Controls {
		want := control.Pass
		if c.Control.Family == "api" {
			want = control.Pending
		}
		if c.Outcome != want {
			t.Errorf("not initialised: %s is %s\n%s", c.Control.ID, c.Outcome, complain(sealed))
		}
	}

	sys := s.client.Sys()
	keys, err := sys.Init(&vault.InitRequest{SecretShares: 1, SecretThreshold: 1})
	must(err)
	_, err = sys.Unseal(keys.Keys[0])
	must(err)
	s.client.SetToken(keys.RootToken)
	nodetest.Eventually(t, "the server is active", time.Minute, func() error {
		health, err := sys.Health()
		if err == nil && health.Standby {
			err = fmt.Errorf("standby")
		}
		return err
	})

	sink, err := net.Listen("tcp", "127.0.0.1:0") // where the socket device writes to
	must(err)
	defer sink.Close()
	go func() {
		for {
			conn, err := sink.Accept()
			if err != nil {
				return
			}
			defer conn.Close()
		}
	}()
	fileOptions := map[string]string{"file_path": filepath.Join(s.logs, "audit.log"), "mode": "0600"}
	socketOptions := map[string]string{"address": sink.Addr().String(), "socket_type": "tcp"}
	must(sys.EnableAuditWithOptions("file", &vault.EnableAuditOptions{Type: "file", Options: fileOptions}))
	must(sys.EnableAuditWithOptions("socket", &vault.EnableAuditOptions{Type: "socket", Options: socketOptions}))
	must(sys.EnableAuthWithOptions("userpass", &vault.EnableAuthOptions{Type: "userpass"}))
	autopilot := func(cleanup bool, quorum int, dead string) {
		t.Helper()
		_, err := s.client.Logical().Write("sys/storage/raft/autopilot/configuration", map[string]any{
			"cleanup_dead_servers": cleanup, "min_quorum": quorum, "dead_server_last_contact_threshold": dead})
		must(err)
	}
	autopilot(true, 3, "24h")
	must(sys.PutPolicy("strongroom-agent", agentPolicy(t)))
	must(sys.PutPolicy("admin", `path "*" { capabilities = ["create", "read", "update", "delete", "list", "sudo"] }`))
	create := func(policy string) string {
		t.Helper()
		made, err := s.client.Auth().Token().CreateOrphan(&vault.TokenCreateRequest{Policies: []string{policy}, Period: "1h", NoDefaultPolicy: true, DisplayName: policy})
		must(err)
		return made.Auth.ClientToken
	}
	agent, admin := create("strongroom-agent"), create("admin")
	nodetest.Eventually(t, "autopilot is healthy", time.Minute, func() error {
		state, err := sys.RaftAutopilotState()
		if err == nil && (state == nil || !state.Healthy) {
			err = fmt.Errorf("not healthy: %+v", state)
		}
		return err
	})

	expectFailures(t, s.judge(t, b, control.StageMember, agent), "api-root-tokens-none")
	must(s.client.Auth().Token().RevokeSelf(""))
	s.client.SetToken(admin)
	expectFailures(t, s.judge(t, b, control.StageMember, agent))

	for _, c := range []struct {
		name       string
		fails      string
		break_, to func()
	}{
		{"one audit device", "api-audit-devices-two", func() { must(sys.DisableAudit("socket")) }, func() {
			must(sys.EnableAuditWithOptions("socket", &vault.EnableAuditOptions{Type: "socket", Options: socketOptions}))
		}},
		{"an audit device in clear text", "api-audit-values-hashed", func() {
			must(sys.EnableAuditWithOptions("raw", &vault.EnableAuditOptions{Type: "file", Options: map[string]string{
				"file_path": filepath.Join(s.logs, "raw.log"), "log_raw": "true"}}))
		}, func() { must(sys.DisableAudit("raw")) }},
		{"an audit file elsewhere", "api-audit-files-confined", func() {
			must(sys.EnableAuditWithOptions("else", &vault.EnableAuditOptions{Type: "file", Options: map[string]string{
				"file_path": filepath.Join(s.root, "else.log")}}))
		}, func() { must(sys.DisableAudit("else")) }},
		{"no lockout", "api-user-lockout-effective", func() {
			off := true
			must(sys.TuneMountAllowNil("auth/userpass", vault.TuneMountConfigInput{UserLockoutConfig: &vault.TuneUserLockoutConfigInput{DisableLockout: &off}}))
		}, func() {
			off := false
			must(sys.TuneMountAllowNil("auth/userpass", vault.TuneMountConfigInput{UserLockoutConfig: &vault.TuneUserLockoutConfigInput{DisableLockout: &off}}))
		}},
		{"no cleanup", "api-autopilot-cleanup-bounded", func() { autopilot(false, 3, "24h") }, func() { autopilot(true, 3, "24h") }},
		{"a reboot is a death", "api-autopilot-thresholds-sane", func() { autopilot(true, 3, "1m") }, func() { autopilot(true, 3, "24h") }},
	} {
		t.Run(c.name, func(t *testing.T) {
			c.break_()
			expectFailures(t, s.judge(t, b, control.StageMember, agent), c.fails)
			c.to()
			expectFailures(t, s.judge(t, b, control.StageMember, agent))
		})
	}

	refused := s.judge(t, b, control.StageMember, "hvs.CAESIJnobodyKnowsThisToken12345")
	for _, c := range refused.Controls {
		if c.Control.Family == "api" && c.Outcome != control.Unknown {
			t.Errorf("a token that is refused: %s is %s\n%s", c.Control.ID, c.Outcome, complain(refused))
		}
	}
	if said := complain(refused); !strings.Contains(said, "HTTP status 403") || strings.Contains(said, "nobodyKnows") {
		t.Errorf("a token that is refused:\n%s", said)
	}

	// The policy is enough to keep the token alive, and not for more than what docs/node.md says.
	s.client.SetToken(agent)
	renewed, err := s.client.Auth().Token().RenewSelf(0)
	if err != nil || renewed.Auth.LeaseDuration != 3600 {
		t.Errorf("renewed: %+v, %v", renewed, err)
	}
	if _, err := s.client.Logical().Read("sys/storage/raft/configuration"); err != nil {
		t.Errorf("the agent may not read who is a member: %v", err)
	}
	for _, path := range []string{"sys/policies/acl/admin", "secret/data/x", "sys/storage/raft/snapshot"} {
		if _, err := s.client.Logical().Read(path); err == nil || !strings.Contains(err.Error(), fmt.Sprint(http.StatusForbidden)) {
			t.Errorf("the agent may read %s: %v", path, err)
		}
	}
}

// A server whose configuration is broken shows it in the handshake, whoever reads the file.
func TestRealServerWithBrokenTLS(t *testing.T) {
	b := checktest.Compile(t, checktest.Profile())
	for name, c := range map[string]struct {
		change []string
		fails  []string
	}{
		"as a node has it":        {nil, nil},
		"TLS 1.0":                 {[]string{`"tls12"`, `"tls10"`}, []string{"tls-versions-new", "vault-listener-encrypted"}},
		"a weak suite":            {[]string{`"tls12"`, "\"tls12\"\n  tls_cipher_suites = \"TLS_ECDHE_ECDSA_WITH_AES_128_CBC_SHA256,TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256\""}, []string{"tls-suites-strong", "vault-listener-encrypted"}},
		"HSTS for a minute":       {[]string{"max-age=31536000", "max-age=60"}, []string{"tls-headers-strict"}},
		"another name":            {[]string{"https://" + realName, "https://vault-2.example.net"}, []string{"tls-certificate-names"}},
		"the version is not told": {[]string{`"tls12"`, "\"tls12\"\n  redact_version = true"}, nil},
	} {
		t.Run(name, func(t *testing.T) {
			r := startVault(t, b, c.change...).judge(t, b, control.StageRun, "")
			r.Controls = slices.DeleteFunc(r.Controls, func(c check.ControlResult) bool { return c.Control.Family == "api" })
			expectFailures(t, r, c.fails...)
		})
	}
}
