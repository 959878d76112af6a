package configure

import (
	"fmt"
	"maps"
	"slices"
	"strconv"

	"github.com/hashicorp/hcl/v2/hclsyntax"
	"github.com/hashicorp/hcl/v2/hclwrite"
	"github.com/zclconf/go-cty/cty"

	"github.com/strongroom/strongroom/internal/node"
	"github.com/strongroom/strongroom/internal/server"
)

// ServerConfig renders the configuration of a node's server. Vault and OpenBao read the same language; what only one
// of them knows is in vaultOnly and openBaoOnly.
//
// What is absent is as much a decision as what is there:
//   - no retry_join: the server would join a cluster before anyone has judged the node;
//   - no raw_storage_endpoint, introspection_endpoint, profiling or unauthenticated metrics:
//     doors for debugging;
//   - no x_forwarded_for_*: believing that header from anyone lets a client forge its
//     address in the audit log;
//   - no redact_*: the join compares versions and follows the leader's address, and only the
//     firewall's api_clients can ask;
//   - no tls_cipher_suites: Go's own choice is kept current, a list here would not be;
//   - no plugin_directory: there is nothing in the image that could lie in it.
//
// What the server would do anyway (user lockout) is said aloud, so that an upgrade cannot change it unseen.
func ServerConfig(p server.Product, r node.Identity, seal node.Seal, baked Baked) []byte {
	f := hclwrite.NewEmptyFile()
	body := f.Body()
	body.AppendUnstructuredTokens(hclwrite.Tokens{{
		Type:  hclsyntax.TokenComment,
		Bytes: []byte("# Written at each boot by hostcheck configure, from node.hcl.\n"),
	}})
	set := func(b *hclwrite.Body, name, value string) { b.SetAttributeValue(name, cty.StringVal(value)) }

	set(body, "cluster_name", r.ClusterName)
	set(body, "api_addr", r.APIAddr)
	set(body, "cluster_addr", r.ClusterAddr)
	if p.ID == "vault" {
		vaultOnly(body, baked)
	}
	body.SetAttributeValue("ui", cty.False)
	set(body, "log_level", "info")
	set(body, "default_lease_ttl", baked.DefaultLeaseTTL)
	set(body, "max_lease_ttl", baked.MaxLeaseTTL)

	body.AppendNewline()
	storage := body.AppendNewBlock("storage", []string{"raft"}).Body()
	set(storage, "path", p.Data)
	set(storage, "node_id", r.NodeID)
	set(storage, "performance_multiplier", strconv.Itoa(r.Raft.PerformanceMultiplier))

	sealStanza(p, body, seal)

	body.AppendNewline()
	listener := body.AppendNewBlock("listener", []string{"tcp"}).Body()
	// Both address families; who may connect is the firewall's to say.
	set(listener, "address", fmt.Sprintf("[::]:%d", baked.APIPort))
	set(listener, "cluster_address", fmt.Sprintf("[::]:%d", baked.ClusterPort))
	set(listener, "tls_cert_file", tlsCertPath(p))
	set(listener, "tls_key_file", tlsKeyPath(p))
	set(listener, "tls_min_version", baked.TLSMinVersion)
	headers := listener.AppendNewBlock("custom_response_headers", nil).Body()
	headers.SetAttributeValue("default", cty.ObjectVal(map[string]cty.Value{
		"Strict-Transport-Security": cty.TupleVal([]cty.Value{cty.StringVal("max-age=31536000")}),
	}))

	body.AppendNewline()
	lockout := body.AppendNewBlock("user_lockout", []string{"all"}).Body()
	set(lockout, "lockout_threshold", "5")
	set(lockout, "lockout_duration", "15m")
	set(lockout, "lockout_counter_reset", "15m")
	lockout.SetAttributeValue("disable_lockout", cty.False)

	body.AppendNewline()
	telemetry := body.AppendNewBlock("telemetry", nil).Body()
	set(telemetry, "prometheus_retention_time", "24h")
	// A metric's name must not change with the host's, whatever node.hcl says of those that the agent sends.
	telemetry.SetAttributeValue("disable_hostname", cty.True)
	for _, o := range []struct{ name, value string }{
		{"statsd_address", r.Telemetry.StatsDAddress}, {"dogstatsd_addr", r.Telemetry.DogStatsDAddr}, {"metrics_prefix", r.Telemetry.MetricsPrefix},
	} {
		if o.value != "" {
			set(telemetry, o.name, o.value)
		}
	}
	if tags := r.Telemetry.DogStatsDTags; len(tags) > 0 {
		var list []cty.Value
		for _, tag := range tags {
			list = append(list, cty.StringVal(tag))
		}
		telemetry.SetAttributeValue("dogstatsd_tags", cty.TupleVal(list))
	}
	if p.ID == "openbao" {
		openBaoOnly(body, listener, r.Audit)
	}
	return hclwrite.Format(f.Bytes())
}

// vaultOnly states what OpenBao does not have. Since 1.20 Vault refuses Raft storage when nobody has decided about
// memory locking; OpenBao has none. Vault 1.21.1 warns that it does not know deny_slash_in_templated_paths, and starts;
// releases that fixed CVE-2026-5006 do. OpenBao denies slashes since 2.6 without being told.
func vaultOnly(body *hclwrite.Body, baked Baked) {
	body.SetAttributeValue("disable_mlock", cty.BoolVal(!baked.MemoryLock))
	body.SetAttributeValue("deny_slash_in_templated_paths", cty.True)
}

// openBaoOnly states what Vault does not know. The API of OpenBao creates no audit devices (since 2.3.2), so
// they are stated here; on Vault they are made through the API once there is a cluster. The unauthenticated endpoints are off
// by default since 2.6, and here whatever the version.
func openBaoOnly(body, listener *hclwrite.Body, devices []node.AuditDevice) {
	listener.SetAttributeValue("disable_unauthed_rekey_endpoints", cty.True)
	listener.SetAttributeValue("disable_unauthed_generate_root_endpoints", cty.True)

	for _, device := range devices {
		body.AppendNewline()
		audit := body.AppendNewBlock("audit", []string{device.Type, device.Type}).Body()
		options := audit.AppendNewBlock("options", nil).Body()
		for _, name := range slices.Sorted(maps.Keys(device.Options)) {
			options.SetAttributeValue(name, cty.StringVal(device.Options[name]))
		}
	}
}
