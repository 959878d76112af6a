# Written at each boot by hostcheck configure, from node.hcl.
cluster_name                  = "prod-eu1"
api_addr                      = "https://vault-1.example.net:8200"
cluster_addr                  = "https://[2001:db8::1]:8201"
disable_mlock                 = false
deny_slash_in_templated_paths = true
ui                            = false
log_level                     = "info"
default_lease_ttl             = "1h"
max_lease_ttl                 = "24h"

storage "raft" {
  path                   = "/var/lib/vault"
  node_id                = "30313233-3435-4637-b839-616263646566"
  performance_multiplier = "1"
}

listener "tcp" {
  address         = "[::]:8200"
  cluster_address = "[::]:8201"
  tls_cert_file   = "/run/vault/tls/tls.crt"
  tls_key_file    = "/run/vault/tls/tls.key"
  tls_min_version = "tls12"
  custom_response_headers {
    default = {
      Strict-Transport-Security = ["max-age=31536000"]
    }
  }
}

user_lockout "all" {
  lockout_threshold     = "5"
  lockout_duration      = "15m"
  lockout_counter_reset = "15m"
  disable_lockout       = false
}

telemetry {
  prometheus_retention_time = "24h"
  disable_hostname          = true
}
