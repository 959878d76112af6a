# Bakes a golden image of Vault or OpenBao on this machine: no privileges, no virtual machine, no SSH.
#
#   packer build -var server_binary=/usr/local/bin/vault packer/local.pkr.hcl
#   packer build -var server=openbao -var server_binary=/usr/local/bin/bao packer/local.pkr.hcl
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

variable "server" {
  type        = string
  default     = "vault"
  description = "The server of the image: vault or openbao."

  validation {
    condition     = var.server == "vault" || var.server == "openbao"
    error_message = "The server is vault or openbao."
  }
}

variable "server_binary" {
  type        = string
  description = "Path of the server's program, vault or bao, that goes into the image (Linux, amd64)."
}

variable "server_sha256" {
  type        = string
  default     = ""
  description = "Its SHA-256, as in the release's SHA256SUMS; empty trusts the file as it lies there."
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

variable "distribution" {
  type    = string
  default = "debian/trixie"
}

variable "memory_lock" {
  type        = string
  default     = "off"
  description = "on: Vault locks its memory (OpenBao cannot); off: there is no swap of any form that it could leave for."
}

variable "output_directory" {
  type    = string
  default = "out/image"
}

source "strongroom-image" "node" {
  image_name    = "strongroom-${var.server}"
  image_version = var.image_version
  lock_file     = var.lock_file
  distribution  = var.distribution
  profile       = "${var.server}/vm"

  parameters = {
    memory_lock = var.memory_lock
  }

  # In a template for one server, write one block: vault { binary = "…" } or openbao { binary = "…" }.
  dynamic "vault" {
    for_each = var.server == "vault" ? [1] : []
    content {
      binary = var.server_binary
      sha256 = var.server_sha256
    }
  }
  dynamic "openbao" {
    for_each = var.server == "openbao" ? [1] : []
    content {
      binary = var.server_binary
      sha256 = var.server_sha256
    }
  }

  dynamic "signing" {
    for_each = var.signing_key == "" ? [] : [var.signing_key]
    content {
      key = signing.value
    }
  }

  formats             = ["raw", "qcow2"] # also vmdk (vSphere), vhd (Azure), raw.tar.gz (Google Cloud)
  data_partition_size = "2GiB"
  output_directory    = var.output_directory

  # Uncomment to publish only what has booted here and opened its gate:
  # boot_test {}
}

build {
  sources = ["source.strongroom-image.node"]

  # Provisioners run inside the tree, before it is sealed. A corporate CA, for example:
  #
  # provisioner "file" {
  #   source      = "ca.pem"
  #   destination = "/etc/ssl/certs/corporate.pem"
  # }
}
