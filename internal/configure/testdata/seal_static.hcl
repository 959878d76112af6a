# Written at each boot by hostcheck configure, from node.hcl.
cluster_name      = "prod-eu1"
api_addr          = "https://vault-1.example.net:8200"
cluster_addr      = "https://[2001:db8::1]:8201"
ui                = false
log_level         = "info"
default_lease_ttl = "1h"
max_lease_ttl     = "24h"

storage "raft" {
  path                   = "/var/lib/openbao"
  node_id                = "30313233-3435-4637-b839-616263646566"
  performance_multiplier = "1"
}

seal "static" {
  current_key     = "file:///run/openbao/seal/current_key"
  current_key_id  = "20260606-1"
  previous_key    = "file:///run/openbao/seal/previous_key"
  previous_key_id = "20260306-1"
}

listener "tcp" {
  address         = "[::]:8200"
  cluster_address = "[::]:8201"
  tls_cert_file   = "/run/openbao/tls/tls.crt"
  tls_key_file    = "/run/openbao/tls/tls.key"
  tls_min_version = "tls12"
  custom_response_headers {
    default = {
      Strict-Transport-Security = ["max-age=31536000"]
    }
  }
  disable_unauthed_rekey_endpoints         = true
  disable_unauthed_generate_root_endpoints = true
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

audit "file" "file" {
  options {
    file_path = "/var/log/openbao/audit.log"
  }
}

audit "syslog" "syslog" {
  options {
    tag = "openbao-audit"
  }
}
