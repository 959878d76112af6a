package configure_test

import "github.com/strongroom/strongroom/internal/server"

// aSeal is what node.hcl says of a seal, and which server can have it.
type aSeal struct {
	product server.Product
	block   string
}

// seals have each option once, so that a test of one judges all of them.
var seals = map[string]aSeal{
	"transit": {vault, `seal "transit" {
  address         = "https://transit.example.net:8200"
  key_name        = "unseal"
  mount_path      = "transit/"
  namespace       = "ns1/"
  disable_renewal = false
  key_id_prefix   = "prod"
  server_name     = "transit.example.net"
  token           = "credential:strongroom.seal.token"
  ca              = "credential:strongroom.seal.ca"
  client_cert     = "credential:strongroom.seal.client.crt"
  client_key      = "credential:strongroom.seal.client.key"
}`},
	"awskms": {vault, `seal "awskms" {
  kms_key_id        = "19ec80b0-dfdd-4d97-8164-c6examplekey"
  region            = "us-east-1"
  endpoint          = "https://vpce-0e1bb1852241f8cc6-pzi0do8n.kms.us-east-1.vpce.amazonaws.com"
  role_arn          = "arn:aws:iam::123456789012:role/unseal"
  role_session_name = "node"
  access_key        = "credential:strongroom.seal.id"
  secret_key        = "credential:strongroom.seal.secret"
  session_token     = "credential:strongroom.seal.session"
}`},
	"gcpckms": {vault, `seal "gcpckms" {
  project     = "vault-project"
  region      = "global"
  key_ring    = "vault-keyring"
  crypto_key  = "vault-key"
  credentials = "credential:strongroom.seal.credentials"
}`},
	"azurekeyvault": {vault, `seal "azurekeyvault" {
  tenant_id     = "46646709-b63e-4747-be42-516edeaf1e14"
  vault_name    = "hc-vault"
  key_name      = "vault_key"
  environment   = "AZUREPUBLICCLOUD"
  resource      = "vault.azure.net"
  client_id     = "03dc33fc-16d9-4b77-8152-3ec568f8af6e"
  client_secret = "credential:strongroom.seal.secret"
}`},
	"ocikms": {vault, `seal "ocikms" {
  key_id              = "ocid1.key.oc1.iad.afnxza26aag4s.abzwkljsbapzb2nrha5nt3s7s7p42ctcrcj72vn3kq5qx"
  crypto_endpoint     = "https://afnxza26aag4s-crypto.kms.us-ashburn-1.oraclecloud.com"
  management_endpoint = "https://afnxza26aag4s-management.kms.us-ashburn-1.oraclecloud.com"
}`},
	"static": {openbao, `seal "static" {
  current_key_id  = "20260606-1"
  current_key     = "credential:strongroom.seal.key"
  previous_key_id = "20260306-1"
  previous_key    = "credential:strongroom.seal.previous"
}`},
}
