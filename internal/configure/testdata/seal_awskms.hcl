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

seal "awskms" {
  access_key        = "file:///run/vault/seal/access_key"
  endpoint          = "https://vpce-0e1bb1852241f8cc6-pzi0do8n.kms.us-east-1.vpce.amazonaws.com"
  kms_key_id        = "19ec80b0-dfdd-4d97-8164-c6examplekey"
  region            = "us-east-1"
  role_arn          = "arn:aws:iam::123456789012:role/unseal"
  role_session_name = "node"
  secret_key        = "file:///run/vault/seal/secret_key"
  session_token     = "file:///run/vault/seal/session_token"
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
