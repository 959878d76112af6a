package configure

import (
	"fmt"
	"maps"
	"slices"
	"strconv"

	"github.com/strongroom/strongroom/internal/node"
	"github.com/strongroom/strongroom/internal/server"
)

// ServerConfig renders the configuration of a node's server. Vault and OpenBao read the same language; what only one
// of them knows is in vaultOnly, listener and auditStanzas.
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
	w := &hclWriter{}
	w.comment("Written at each boot by hostcheck configure, from node.hcl.")
	w.set("cluster_name", r.ClusterName)
	w.set("api_addr", r.APIAddr)
	w.set("cluster_addr", r.ClusterAddr)
	if p.ID == "vault" {
		vaultOnly(w, baked)
	}
	w.set("ui", false)
	w.set("log_level", "info")
	w.set("default_lease_ttl", baked.DefaultLeaseTTL)
	w.set("max_lease_ttl", baked.MaxLeaseTTL)

	w.newline()
	w.block("storage", []string{"raft"}, func() {
		w.set("path", p.Data)
		w.set("node_id", r.NodeID)
		w.set("performance_multiplier", strconv.Itoa(r.Raft.PerformanceMultiplier))
	})

	sealStanza(p, w, seal)

	w.newline()
	w.block("listener", []string{"tcp"}, func() { listener(p, w, baked) })

	w.newline()
	w.block("user_lockout", []string{"all"}, func() {
		w.set("lockout_threshold", "5")
		w.set("lockout_duration", "15m")
		w.set("lockout_counter_reset", "15m")
		w.set("disable_lockout", false)
	})

	w.newline()
	w.block("telemetry", nil, func() { telemetry(w, r.Telemetry) })

	if p.ID == "openbao" {
		auditStanzas(w, r.Audit)
	}
	return w.bytes()
}

func listener(p server.Product, w *hclWriter, baked Baked) {
	// Both address families; who may connect is the firewall's to say.
	w.set("address", fmt.Sprintf("[::]:%d", baked.APIPort))
	w.set("cluster_address", fmt.Sprintf("[::]:%d", baked.ClusterPort))
	w.set("tls_cert_file", tlsCertPath(p))
	w.set("tls_key_file", tlsKeyPath(p))
	w.set("tls_min_version", baked.TLSMinVersion)
	w.block("custom_response_headers", nil, func() {
		w.object("default", func() { w.set("Strict-Transport-Security", []string{"max-age=31536000"}) })
	})
	if p.ID == "openbao" {
		// Off by default since 2.6, and here whatever the version.
		w.set("disable_unauthed_rekey_endpoints", true)
		w.set("disable_unauthed_generate_root_endpoints", true)
	}
}

func telemetry(w *hclWriter, t node.Telemetry) {
	w.set("prometheus_retention_time", "24h")
	// A metric's name must not change with the host's, whatever node.hcl says of those that the agent sends.
	w.set("disable_hostname", true)
	for _, o := range []struct{ name, value string }{
		{"statsd_address", t.StatsDAddress}, {"dogstatsd_addr", t.DogStatsDAddr}, {"metrics_prefix", t.MetricsPrefix},
	} {
		if o.value != "" {
			w.set(o.name, o.value)
		}
	}
	if len(t.DogStatsDTags) > 0 {
		w.set("dogstatsd_tags", t.DogStatsDTags)
	}
}

// vaultOnly states what OpenBao does not have. Since 1.20 Vault refuses Raft storage when nobody has decided about
// memory locking; OpenBao has none. Vault 1.21.1 warns that it does not know deny_slash_in_templated_paths, and starts;
// releases that fixed CVE-2026-5006 do. OpenBao denies slashes since 2.6 without being told.
func vaultOnly(w *hclWriter, baked Baked) {
	w.set("disable_mlock", !baked.MemoryLock)
	w.set("deny_slash_in_templated_paths", true)
}

// auditStanzas are stated for OpenBao, whose API creates none (since 2.3.2); on Vault they are made through the API once
// there is a cluster.
func auditStanzas(w *hclWriter, devices []node.AuditDevice) {
	for _, device := range devices {
		w.newline()
		w.block("audit", []string{device.Type, device.Type}, func() {
			w.block("options", nil, func() {
				for _, name := range slices.Sorted(maps.Keys(device.Options)) {
					w.set(name, device.Options[name])
				}
			})
		})
	}
}
