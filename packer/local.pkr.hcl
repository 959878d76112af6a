# Bakes a golden Vault image on this machine: no privileges, no virtual machine, no SSH.
#
#   packer build -var vault_binary=/usr/local/bin/vault packer/local.pkr.hcl
#
# Copy it, keep what you need. Every attribute: docs/builder.md.

packer {
  required_version = ">= 1.12.0"

  required_plugins {
    strongroom = {
      source  = "github.com/strongroom/strongroom"
      version = ">= 0.1.0"
    }
  }
}

variable "vault_binary" {
  type        = string
  description = "Path of the Vault program that goes into the image (Linux, amd64)."
}

variable "vault_sha256" {
  type        = string
  default     = ""
  description = "Its SHA-256, as in the release's SHA256SUMS; empty trusts the file as it lies there."
}

variable "image_version" {
  type        = string
  default     = "0.1.0"
  description = "Version that the image carries and that a rolling replacement compares."
}

variable "distribution" {
  type    = string
  default = "debian/trixie"
}

variable "memory_lock" {
  type        = string
  default     = "off"
  description = "on: Vault locks its memory; off: there is no swap of any form that it could leave for."
}

variable "output_directory" {
  type    = string
  default = "out/image"
}

source "strongroom-image" "vault" {
  image_name    = "strongroom-vault"
  image_version = var.image_version
  distribution  = var.distribution
  profile       = "vault/vm"

  parameters = {
    memory_lock = var.memory_lock
  }

  vault {
    binary = var.vault_binary
    sha256 = var.vault_sha256
  }

  formats             = ["raw", "qcow2"]
  data_partition_size = "2GiB"
  output_directory    = var.output_directory

  # Uncomment to publish only what has booted here and opened its gate:
  # boot_test {}
}

build {
  sources = ["source.strongroom-image.vault"]

  # Provisioners run inside the tree, before it is sealed. A corporate CA, for example:
  #
  # provisioner "file" {
  #   source      = "ca.pem"
  #   destination = "/etc/ssl/certs/corporate.pem"
  # }
}
