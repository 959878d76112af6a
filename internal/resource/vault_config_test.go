package resource_test

import (
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
