# Writes what an installer needs to make a node of a physical machine: preseed, kickstart or autoinstall, and what they fetch.
#
#   packer build -var url=https://srv.example/node -var disk=/dev/disk/by-id/ata-MODEL_SERIAL packer/metal.pkr.hcl
#
# Serve the directory by HTTPS at that URL. Every attribute: docs/metal.md.

packer {
  required_version = ">= 1.12.0"

  required_plugins {
    strongroom = {
      source  = "github.com/strongroom/strongroom"
      version = ">= 0.1.0"
    }
  }
}

variable "url" {
  type        = string
  description = "Where the directory will be served: https://host/path."
}

variable "disk" {
  type        = string
  description = "The one disk to install on, below /dev/disk/by-id."
}

variable "distribution" {
  type    = string
  default = "debian/trixie"
}

variable "vault_version" {
  type        = string
  default     = "~> 1.21.0"
  description = "A version, or a constraint: the newest release that fits."
}

variable "image_version" {
  type    = string
  default = "0.1.0"
}

variable "signing_key" {
  type        = string
  default     = ""
  description = "Signs the baseline: a PEM file, or vault:MOUNT/KEY. Empty: it is not signed. docs/statement.md"
}

data "strongroom-release" "server" {
  product = "vault"
  version = var.vault_version
}

source "null" "none" {
  communicator = "none"
}

build {
  sources = ["source.null.none"]

  post-processor "strongroom-metal" {
    image_name       = "strongroom-vault"
    image_version    = var.image_version
    profile          = "vault/metal"
    distribution     = var.distribution
    url              = var.url
    disk             = var.disk
    output_directory = "output-metal"

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
  }
}
