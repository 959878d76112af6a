# strongroom-admin: looks after the cluster. It cannot read raw storage, make a root token, take an audit device away, or restore a snapshot.
path "*" {
  capabilities = ["create", "read", "update", "patch", "delete", "list"]
}
path "sys/audit" {
  capabilities = ["read", "sudo"]
}
path "sys/audit/*" {
  capabilities = ["deny"]
}
path "sys/raw" {
  capabilities = ["deny"]
}
path "sys/raw/*" {
  capabilities = ["deny"]
}
path "sys/generate-root/*" {
  capabilities = ["deny"]
}
path "sys/generate-root-token/*" {
  capabilities = ["deny"]
}
path "sys/rekey/*" {
  capabilities = ["deny"]
}
path "sys/rekey-recovery-key/*" {
  capabilities = ["deny"]
}
path "sys/rotate/root/*" {
  capabilities = ["deny"]
}
path "sys/rotate/recovery/*" {
  capabilities = ["deny"]
}
path "sys/storage/raft/snapshot" {
  capabilities = ["deny"]
}
path "sys/storage/raft/snapshot-force" {
  capabilities = ["deny"]
}
# What asks for more than the right to change.
path "sys/auth/*" {
  capabilities = ["create", "read", "update", "delete", "sudo"]
}
path "sys/leases/revoke-prefix/*" {
  capabilities = ["update", "sudo"]
}
path "sys/leases/lookup/*" {
  capabilities = ["list", "sudo"]
}
path "auth/token/accessors/" {
  capabilities = ["list", "sudo"]
}
path "sys/step-down" {
  capabilities = ["update", "sudo"]
}
