# strongroom-break-glass: with enough key holders, a new root token or new keys. Vault asks for a token beside the keys since 2.0, OpenBao by default.
path "sys/generate-root/*" {
  capabilities = ["create", "read", "update", "delete", "sudo"]
}
path "sys/generate-root-token/*" {
  capabilities = ["create", "read", "update", "delete", "sudo"]
}
path "sys/rekey/*" {
  capabilities = ["create", "read", "update", "delete", "sudo"]
}
path "sys/rekey-recovery-key/*" {
  capabilities = ["create", "read", "update", "delete", "sudo"]
}
path "sys/rotate/root/*" {
  capabilities = ["create", "read", "update", "delete", "sudo"]
}
path "sys/rotate/recovery/*" {
  capabilities = ["create", "read", "update", "delete", "sudo"]
}
path "auth/token/lookup-self" {
  capabilities = ["read"]
}
path "auth/token/revoke-self" {
  capabilities = ["update"]
}
