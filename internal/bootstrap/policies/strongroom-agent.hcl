# strongroom-agent: what `hostcheck` may ask.
path "sys/audit" {
  capabilities = ["read", "sudo"]
}
path "sys/auth" {
  capabilities = ["read"]
}
path "auth/token/accessors/" {
  capabilities = ["list", "sudo"]
}
path "auth/token/lookup-accessor" {
  capabilities = ["update"]
}
path "sys/storage/raft/autopilot/configuration" {
  capabilities = ["read"]
}
path "sys/storage/raft/autopilot/state" {
  capabilities = ["read"]
}
path "auth/token/renew-self" {
  capabilities = ["update"]
}
# The server's own metrics, at the agent's /metrics/server.
path "sys/metrics" {
  capabilities = ["read"]
}
# Joining and leaving: who is a member, and this node's own steps. Vault's policies cannot say "only your own id":
# whoever has this token can remove any member. Without what follows, hostcheck neither steps down nor retires a node.
path "sys/storage/raft/configuration" {
  capabilities = ["read"]
}
path "sys/storage/raft/promote" {
  capabilities = ["update"]
}
path "sys/step-down" {
  capabilities = ["update", "sudo"]
}
path "sys/storage/raft/remove-peer" {
  capabilities = ["update"]
}
# One node at a time is retired: the lock is this key, in an engine that holds nothing else.
path "strongroom/data/retire" {
  capabilities = ["create", "read", "update"]
}
