# Bakes a golden image with a release of Vault that the plugin fetches and verifies.
#
#   packer build packer/release.pkr.hcl
#   packer build -var 'vault_version=1.21.1' packer/release.pkr.hcl
#
# Copy it, keep what you need. Every attribute: docs/release.md and docs/builder.md.

packer {
  required_version = ">= 1.12.0"

  required_plugins {
    strongroom = {
      source  = "github.com/strongroom/strongroom"
      version = ">= 0.1.0"
    }
  }
}

variable "vault_version" {
  type        = string
  default     = "~> 1.21.0"
  description = "A version, or a constraint: the newest release that fits."
}

variable "image_version" {
  type        = string
  default     = "0.1.0"
  description = "Version that the image carries and that a rolling replacement compares."
}

variable "lock_file" {
  type        = string
  default     = ""
  description = "Path of strongroom.lock: the first bake writes it, later ones take in nothing else. Empty: what the archive has today."
}

variable "signing_key" {
  type        = string
  default     = ""
  description = "Signs the statement of the bake and the baseline: a PEM file, or vault:MOUNT/KEY. Empty: neither. docs/statement.md"
}

# For OpenBao: product = "openbao", and the block openbao in place of vault below.
data "strongroom-release" "server" {
  product = "vault"
  version = var.vault_version

  # A mirror inside, with the vendor's files:
  # mirror    = "https://mirror.example.com/vault"
  # mirror_ca = "ca.pem"
}

source "strongroom-image" "node" {
  image_name    = "strongroom-vault"
  image_version = var.image_version
  lock_file     = var.lock_file

  vault {
    binary = data.strongroom-release.server.path
    sha256 = data.strongroom-release.server.sha256
  }

  dynamic "signing" {
    for_each = var.signing_key == "" ? [] : [var.signing_key]
    content {
      key = signing.value
    }
  }

  output_directory = "out/image"
}

build {
  sources = ["source.strongroom-image.node"]
}
