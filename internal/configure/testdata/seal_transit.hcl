# Written at each boot by hostcheck configure, from node.hcl.
cluster_name                  = "prod-eu1"
api_addr                      = "https://vault-1.example.net:8200"
cluster_addr                  = "https://[2001:db8::1]:8201"
disable_mlock                 = true
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

seal "transit" {
  address         = "https://transit.example.net:8200"
  disable_renewal = "false"
  key_id_prefix   = "prod"
  key_name        = "unseal"
  mount_path      = "transit/"
  namespace       = "ns1/"
  tls_ca_cert     = "/run/vault/seal/tls_ca_cert"
  tls_client_cert = "/run/vault/seal/tls_client_cert"
  tls_client_key  = "/run/vault/seal/tls_client_key"
  tls_server_name = "transit.example.net"
  token           = "file:///run/vault/seal/token"
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
