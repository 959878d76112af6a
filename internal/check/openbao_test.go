package check_test

import (
	"strings"
	"testing"

	"github.com/strongroom/strongroom/internal/check"
	"github.com/strongroom/strongroom/internal/check/checktest"
	"github.com/strongroom/strongroom/internal/control"
	"github.com/strongroom/strongroom/internal/host"
	"github.com/strongroom/strongroom/internal/host/hosttest"
)

// What only OpenBao's configuration can say is broken once, and the control that states it notices.
func TestBrokenOpenBaoConfigurationClosesTheGate(t *testing.T) {
	b := checktest.Compile(t, checktest.OpenBaoProfile())
	for name, c := range map[string]struct {
		control, old, new_ string
		secret             string // must not be in the report
	}{
		"audit devices through the API":   {control: "openbao-audit-declared", new_: "unsafe_allow_api_audit_creation = true"},
		"one audit device only":           {control: "openbao-audit-declared", old: `audit "syslog" "syslog"`, new_: `audit "file" "second"`},
		"the audit log goes elsewhere":    {control: "openbao-audit-declared", old: "/var/log/openbao/audit.log", new_: "/var/lib/openbao/audit.log"},
		"rekeying without a token":        {control: "openbao-unauthenticated-closed", old: "disable_unauthed_rekey_endpoints = true", new_: "disable_unauthed_rekey_endpoints = false"},
		"root tokens without a token":     {control: "openbao-unauthenticated-closed", old: "disable_unauthed_generate_root_endpoints = true"},
		"a second listener leaves it out": {control: "openbao-unauthenticated-closed", new_: secondListener},
		"workflows without a token":       {control: "openbao-unauthenticated-closed", new_: "allow_unauthenticated_workflows = true"},
		"plugins from the network":        {control: "openbao-plugins-baked", new_: "plugin_auto_download = true"},
		"relative request paths":          {control: "openbao-config-safe", new_: "unsafe_relative_paths = true"},
		"self-initialisation":             {control: "openbao-config-safe", new_: "initialize \"a\" {\n request \"b\" {\n path = \"sys/x\"\n }\n}"},
		"a static key by environment":     {control: "openbao-static-seal-by-file", new_: "seal \"static\" {\n current_key_id = \"1\"\n current_key = \"env://SEAL\"\n}"},
	} {
		t.Run(name, func(t *testing.T) {
			config := checktest.OpenBaoConfig + c.new_ + "\n"
			if c.old != "" {
				if config = strings.Replace(checktest.OpenBaoConfig, c.old, c.new_, 1); config == checktest.OpenBaoConfig {
					t.Fatalf("%q is not in the configuration", c.old)
				}
			}
			h := checktest.Node(t, b)
			openBaoConfig(h, config)
			onlyFails(t, b, h, control.StageBoot, c.control)
		})
	}
	h := checktest.Node(t, b)
	openBaoConfig(h, checktest.OpenBaoConfig+"seal \"static\" {\n current_key_id = \"1\"\n current_key = \"file:///run/credentials/openbao.service/seal\"\n}\n")
	onlyFails(t, b, h, control.StageBoot)
}

const secondListener = `listener "tcp" {
  tls_cert_file = "/run/openbao/tls/tls.crt"
  tls_key_file = "/run/openbao/tls/tls.key"
  tls_min_version = "tls12"
  disable_unauthed_generate_root_endpoints = true
}`

// A static key that stands in the configuration is seen by two controls, and by nobody who reads the report.
func TestStaticKeyInTheConfigurationIsNotRepeated(t *testing.T) {
	b := checktest.Compile(t, checktest.OpenBaoProfile())
	h := checktest.Node(t, b)
	const key = "VGhpcyBpcyBhIGtleSBvZiAzMiBieXRlcy4uLi4uLi4="
	openBaoConfig(h, checktest.OpenBaoConfig+"seal \"static\" {\n current_key_id = \"1\"\n current_key = \""+key+"\"\n}\n")
	onlyFails(t, b, h, control.StageBoot, "openbao-static-seal-by-file", "vault-config-secretless")
	if strings.Contains(complain(run(t, b, h, control.StageBoot)), key) {
		t.Error("the report holds the key")
	}
}

func openBaoConfig(h *hosttest.Host, content string) {
	h.File("/run/openbao/openbao.hcl", content).Chmod("/run/openbao/openbao.hcl", 0o640).Chown("/run/openbao/openbao.hcl", 0, 800)
}

// A capability in OpenBao's unit has no use but an intruder's.
func TestOpenBaoHoldsNoCapability(t *testing.T) {
	b := checktest.Compile(t, checktest.OpenBaoProfile())
	h := checktest.Node(t, b)
	u, err := h.Unit(t.Context(), "openbao.service")
	if err != nil {
		t.Fatal(err)
	}
	u.Properties["CapabilityBoundingSet"] = "cap_ipc_lock"
	h.SetUnit(u)
	onlyFails(t, b, h, control.StageBoot, "openbao-memory-unprivileged")
}

// A node of one server is not a node of the other, whatever else is right.
func TestAVaultNodeIsNoOpenBaoNode(t *testing.T) {
	b := checktest.Compile(t, checktest.OpenBaoProfile())
	vault := checktest.Node(t, checktest.Compile(t, checktest.Profile())).
		SetNoUnit("openbao.service").SetUnits(host.UnitStatus{Name: "vault.service", LoadState: "loaded", ActiveState: "active"})
	if r := run(t, b, vault, control.StageBoot); r.Verdict != check.Fail {
		t.Errorf("verdict %s\n%s", r.Verdict, complain(r))
	}
}
