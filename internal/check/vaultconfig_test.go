package check_test

import (
	"errors"
	"slices"
	"strings"
	"testing"

	"github.com/strongroom/strongroom/internal/baseline"
	"github.com/strongroom/strongroom/internal/check/checktest"
	"github.com/strongroom/strongroom/internal/control"
	"github.com/strongroom/strongroom/internal/host"
)

var errNotNow = errors.New("not now")

// onlyFails expects the named controls to fail and every other to pass.
func onlyFails(t *testing.T, b *baseline.Baseline, h host.Host, stage control.Stage, ids ...string) {
	t.Helper()
	r := run(t, b, h, stage)
	for _, got := range r.Controls {
		if fails := slices.Contains(ids, got.Control.ID); (got.Outcome == control.Fail) != fails || got.Outcome == control.Unknown {
			t.Errorf("%s is %s\n%s", got.Control.ID, got.Outcome, complain(r))
		}
	}
}

func replace(t *testing.T, text, old, with string) string {
	t.Helper()
	out := strings.Replace(text, old, with, 1)
	if out == text {
		t.Fatalf("%q is not in\n%s", old, text)
	}
	return out
}

// Each setting of Vault's configuration that a control states is broken once, and that control notices.
func TestBrokenVaultConfigurationClosesTheGate(t *testing.T) {
	b := checktest.Compile(t, checktest.Profile())
	for name, c := range map[string]struct {
		control   string
		old, new_ string // of the configuration that is right
		secret    string // must not be in the report
	}{
		"an address in the clear":          {control: "vault-addresses-encrypted", old: `"https://vault-1`, new_: `"http://vault-1`},
		"no cluster address":               {control: "vault-addresses-encrypted", old: `cluster_addr = "https://10.1.2.3:8201"`},
		"the log tells all":                {control: "vault-debugging-off", old: `"info"`, new_: `"trace"`},
		"no log level":                     {control: "vault-debugging-off", old: `log_level = "info"`},
		"an experiment":                    {control: "vault-debugging-off", new_: `experiments = ["events.alpha1"]`},
		"a trace of unsealing":             {control: "vault-debugging-off", new_: `enable_post_unseal_trace = true`},
		"tokens live for months":           {control: "vault-leases-bounded", old: `max_lease_ttl = "24h"`, new_: `max_lease_ttl = "2400h"`},
		"tokens live as long as ever":      {control: "vault-leases-bounded", old: `default_lease_ttl = "1h"`},
		"no lease at all":                  {control: "vault-leases-bounded", old: `default_lease_ttl = "1h"`, new_: `default_lease_ttl = "0"`},
		"a lease of no known length":       {control: "vault-leases-bounded", old: `default_lease_ttl = "1h"`, new_: `default_lease_ttl = "-1h"`},
		"a slash widens a policy":          {control: "vault-templates-strict", old: `templated_paths = true`, new_: `templated_paths = false`},
		"a hundred tries":                  {control: "vault-user-lockout-configured", old: `threshold = "5"`, new_: `threshold = "100"`},
		"locked for a second":              {control: "vault-user-lockout-configured", old: `lockout_duration = "15m"`, new_: `lockout_duration = "1s"`},
		"no lockout":                       {control: "vault-user-lockout-configured", old: `disable_lockout = false`, new_: `disable_lockout = true`},
		"no lockout for one method":        {control: "vault-user-lockout-configured", new_: "user_lockout \"userpass\" {\n disable_lockout = \"true\"\n lockout_threshold = 5\n}"},
		"metrics are not kept":             {control: "vault-telemetry-kept", old: `retention_time = "24h"`, new_: `retention_time = "0s"`},
		"metrics carry the host's name":    {control: "vault-telemetry-kept", old: `disable_hostname = true`},
		"a proxy is believed":              {control: "vault-listener-believes-nobody", old: "  address =", new_: "  proxy_protocol_behavior = \"use_always\"\n  address ="},
		"a header is believed":             {control: "vault-listener-believes-nobody", old: "  address =", new_: "  x_forwarded_for_authorized_addrs = \"0.0.0.0/0\"\n  address ="},
		"requests of any size":             {control: "vault-requests-limited", old: "  address =", new_: "  max_request_size = -1\n  address ="},
		"requests without end":             {control: "vault-requests-limited", new_: `default_max_request_duration = "24h"`},
		"metrics for everybody":            {control: "vault-endpoints-authenticated", old: "  address =", new_: "  telemetry {\n unauthenticated_metrics_access = true\n}\n  address ="},
		"profiles for everybody":           {control: "vault-endpoints-authenticated", old: "  address =", new_: "  profiling {\n unauthenticated_pprof_access = true\n}\n  address ="},
		"requests in flight for everybody": {control: "vault-endpoints-authenticated", old: "  address =", new_: "  inflight_requests_logging {\n unauthenticated_in_flight_requests_access = true\n}\n  address ="},
		"new root tokens for everybody":    {control: "vault-endpoints-authenticated", new_: `enable_unauthenticated_access = ["generate-root"]`},
		"plugins from disk":                {control: "vault-plugins-absent", new_: `plugin_directory = "/var/log/vault"`},
		"audit logs with a prefix":         {control: "vault-plugins-absent", new_: `allow_audit_log_prefixing = true`},
		"raw storage":                      {control: "vault-config-strict", new_: `raw_storage_endpoint = true`},
		"a list of ciphers":                {control: "vault-listener-encrypted", old: "  address =", new_: "  tls_cipher_suites = \"TLS_RSA_WITH_AES_128_CBC_SHA\"\n  address ="},
		"a key of the cloud":               {control: "vault-config-secretless", new_: "seal \"awskms\" {\n access_key = \"AKIAIOSFODNN7EXAMPLE\"\n secret_key = \"wJalrXUtnFEMI\"\n}", secret: "wJalrXUtnFEMI"},
		"a seal that believes anybody":     {control: "vault-seal-authenticated", new_: "seal \"transit\" {\n tls_skip_verify = \"true\"\n}"},
		"a seal in the clear":              {control: "vault-seal-authenticated", new_: "seal \"transit\" {\n address = \"http://10.0.0.1:8200\"\n}"},
		"a PIN":                            {control: "vault-config-secretless", new_: "seal \"pkcs11\" {\n pin = \"4711\"\n}", secret: "4711"},
		"a secret in a string of several": {control: "vault-config-secretless", secret: "wJalrXUtnFEMI",
			new_: `cloud_auto_join = "provider=aws tag_key=vault secret_access_key=wJalrXUtnFEMI"`},
		"a token under another name": {control: "vault-config-secretless", new_: `note = "hvs.CAESIJ1234567890abcdefghij"`, secret: "CAESIJ"},
		"a password in a URL":        {control: "vault-config-secretless", new_: "telemetry {\n x = \"https://me:hunter2@stats.example.net\"\n prometheus_retention_time = \"24h\"\n disable_hostname = true\n}", secret: "hunter2"},
	} {
		t.Run(name, func(t *testing.T) {
			config := checktest.VaultConfig + c.new_ + "\n"
			if c.old != "" {
				config = replace(t, checktest.VaultConfig, c.old, c.new_)
			}
			h := checktest.Node(t, b)
			vaultConfig(h, config)
			onlyFails(t, b, h, control.StageBoot, c.control)
			if c.secret != "" && strings.Contains(complain(run(t, b, h, control.StageBoot)), c.secret) {
				t.Error("the report holds the secret")
			}
		})
	}
	h := checktest.Node(t, b).File("/run/vault/extra.HCL", "raw_storage_endpoint = true\n")
	onlyFails(t, b, h, control.StageBoot, "vault-config-single")
	h = checktest.Node(t, b).FailFile("/run/vault", errNotNow)
	if got := outcome(run(t, b, h, control.StageBoot), "vault-config-single"); got != control.Unknown {
		t.Errorf("a directory that cannot be read: vault-config-single is %s", got)
	}
}

// A reference to where a secret is kept is none.
func TestReferencesAreNoSecrets(t *testing.T) {
	b := checktest.Compile(t, checktest.Profile())
	h := checktest.Node(t, b)
	vaultConfig(h, checktest.VaultConfig+"seal \"static\" {\n current_key = \"file:///run/credentials/vault.service/seal\"\n previous_key = \"env://SEAL\"\n credentials = \"/run/credentials/vault.service/gcp.json\"\n token = \"\"\n}\n")
	onlyFails(t, b, h, control.StageBoot)
}
