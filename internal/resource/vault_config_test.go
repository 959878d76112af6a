package resource_test

import (
	"strings"
	"testing"

	"github.com/strongroom/strongroom/internal/control"
	"github.com/strongroom/strongroom/internal/host/hosttest"
	"github.com/strongroom/strongroom/internal/resource"
)

func TestVaultConfig(t *testing.T) {
	v := &resource.VaultConfig{Path: "/run/vault/vault.hcl", Name: "x",
		Require: map[string]string{"listener.tcp.tls_min_version": "tls12", "ui": "false"},
		Forbid:  []string{"listener.tcp.tls_disable", "storage.raft.retry_join", "seal.transit.token"}}
	const ui, listener = "ui = false\n", "listener \"tcp\" {\n tls_min_version = \"tls12\"\n}\n"
	for name, c := range map[string]struct {
		config string
		want   control.Outcome
		text   string
	}{
		"as it should be":               {ui + listener, control.Pass, "ui: want false, got false"},
		"a quoted boolean":              {"ui = \"false\"\n" + listener, control.Pass, ""},
		"not set":                       {listener, control.Fail, "ui: want false, got not set"},
		"another value":                 {"ui = true\n" + listener, control.Fail, "want false, got true"},
		"a number":                      {"ui = 0\n" + listener, control.Fail, "got 0"},
		"a list":                        {"ui = [false, true]\n" + listener, control.Fail, "got false, true"},
		"an empty list":                 {"ui = []\n" + listener, control.Fail, "got a tuple"},
		"no value":                      {"ui = null\n" + listener, control.Fail, "got a "},
		"an expression":                 {"ui = x\n" + listener, control.Fail, "not a constant"},
		"another case, as Vault reads":  {"UI = true\n" + listener, control.Fail, "got true"},
		"both cases":                    {ui + "Ui = true\n" + listener, control.Fail, "true"},
		"two listeners":                 {ui + listener + listener, control.Pass, "got tls12, tls12"},
		"a second listener, older":      {ui + listener + "listener \"tcp\" {\n tls_min_version = \"tls10\"\n}\n", control.Fail, "got tls12, tls10"},
		"forbidden":                     {ui + listener + "listener \"tcp\" {\n tls_disable = false\n}\n", control.Fail, "listener.tcp.tls_disable is set"},
		"forbidden, in another case":    {ui + listener + "Listener \"TCP\" {\n TLS_Disable = true\n}\n", control.Fail, "listener.tcp.tls_disable is set"},
		"a forbidden block":             {ui + listener + "storage \"raft\" {\n retry_join {\n  leader_api_addr = \"x\"\n }\n}\n", control.Fail, "storage.raft.retry_join.leader_api_addr is set"},
		"a forbidden block, empty":      {ui + listener + "storage \"raft\" {\n retry_join {}\n}\n", control.Fail, "storage.raft.retry_join is set"},
		"a forbidden block, an object":  {ui + listener + "storage \"raft\" {\n retry_join = { leader_api_addr = \"x\" }\n}\n", control.Fail, "storage.raft.retry_join.leader_api_addr is set"},
		"objects all the way":           {ui + listener + "seal = { transit = { token = \"hvs.secret\" } }\n", control.Fail, "seal.transit.token is set"},
		"a list of objects":             {ui + listener + "seal = [{ transit = [{ Token = \"hvs.secret\" }] }]\n", control.Fail, "seal.transit.token is set"},
		"blocks without labels":         {ui + listener + "seal {\n transit {\n  token = \"hvs.secret\"\n }\n}\n", control.Fail, "seal.transit.token is set"},
		"a name that begins like it":    {ui + listener + "seal \"transit\" {\n token_file = \"x\"\n}\n", control.Pass, ""},
		"a comment":                     {ui + listener + "# seal = { transit = { token = \"x\" } }\n", control.Pass, ""},
		"JSON, which we do not read":    {`{"ui": false, "listener": {"tcp": {"tls_min_version": "tls12"}}}`, control.Unknown, "cannot parse"},
		"quoted names, which we do not": {"\"ui\" = false\n" + listener, control.Unknown, "cannot parse"},
		"set twice":                     {ui + ui + listener, control.Unknown, "cannot parse"},
		"cut off":                       {ui + "listener \"tcp\" {\n", control.Unknown, "cannot parse"},
	} {
		t.Run(name, func(t *testing.T) {
			expect(t, v, hosttest.New().File("/run/vault/vault.hcl", c.config), c.want, c.text)
		})
	}
	expect(t, v, hosttest.New(), control.Fail, "want a configuration, got absent")
	expect(t, v, hosttest.New().FailFile("/run/vault/vault.hcl", errDenied), control.Unknown, "permission denied")
}

func TestVaultConfigComparisons(t *testing.T) {
	v := &resource.VaultConfig{Path: "/run/vault/vault.hcl", Name: "x",
		Match:    map[string]string{"api_addr": "https://.+"},
		AtMost:   map[string]string{"max_lease_ttl": "24h"},
		AtLeast:  map[string]string{"listener.tcp.n": "5"},
		AbsentOr: map[string]string{"listener.*.telemetry.open": "false"},
		Forbid:   []string{"seal.*.pin"},
		Secrets:  []string{"secret_key"}}
	const good = "api_addr = \"https://x\"\nmax_lease_ttl = \"1d\"\nlistener \"tcp\" {\n n = 5\n}\n"
	for name, c := range map[string]struct {
		config string
		want   control.Outcome
		text   string
	}{
		"as it should be":            {good, control.Pass, "max_lease_ttl: want at most 24h, got 1d"},
		"said aloud":                 {good + "listener \"unix\" {\n telemetry {\n  open = false\n }\n}\n", control.Pass, "want not set, or false, got false"},
		"open on one listener":       {good + "listener \"unix\" {\n telemetry {\n  open = true\n }\n}\n", control.Fail, "want not set, or false, got true"},
		"not in each block":          {good + "listener \"tcp\" {\n m = 1\n}\n", control.Fail, "want at least 5, got 5, not set"},
		"not in each block, as JSON": {good + "listener = [{ tcp = { m = 1 } }]\n", control.Fail, "want at least 5, got 5, not set"},
		"too little":                 {strings.Replace(good, "5", "4", 1), control.Fail, "want at least 5, got 4"},
		"one second too long":        {strings.Replace(good, `"1d"`, `"24h1s"`, 1), control.Fail, "got 24h1s"},
		"seconds":                    {strings.Replace(good, `"1d"`, `86400`, 1), control.Pass, "got 86400"},
		"no duration":                {strings.Replace(good, `"1d"`, `"for ever"`, 1), control.Fail, "got for ever"},
		"a name that goes on":        {strings.Replace(good, "https://x", "http://x#https://", 1), control.Fail, "want matches https://.+"},
		"forbidden in any":           {good + "seal \"pkcs11\" {\n pin = \"x\"\n}\n", control.Fail, "seal.pkcs11.pin is set"},
		"a secret somewhere":         {good + "seal \"awskms\" {\n secret_key = \"hush\"\n}\n", control.Fail, "seal.awskms.secret_key is set"},
	} {
		t.Run(name, func(t *testing.T) {
			expect(t, v, hosttest.New().File("/run/vault/vault.hcl", c.config), c.want, c.text)
		})
	}
	for name, wrong := range map[string]*resource.VaultConfig{
		"no bound":               {Path: "/x", Name: "x", AtMost: map[string]string{"a": "soon"}},
		"no expression":          {Path: "/x", Name: "x", Match: map[string]string{"a": "("}},
		"stated twice":           {Path: "/x", Name: "x", Match: map[string]string{"a": "b"}, Forbid: []string{"a"}},
		"half a wildcard":        {Path: "/x", Name: "x", Forbid: []string{"listener.t*p"}},
		"a secret with a dot":    {Path: "/x", Name: "x", Secrets: []string{"seal.pin"}},
		"a bound and its parent": {Path: "/x", Name: "x", AtMost: map[string]string{"a": "1"}, Require: map[string]string{"a": "1"}},
	} {
		if wrong.Validate() == nil {
			t.Errorf("%s is accepted", name)
		}
	}
	if err := v.Validate(); err != nil {
		t.Error(err)
	}
}
