# Hardens a machine that is there already, over SSH, and leaves it to you to shut it down and make an image of it.
#
#   packer build -var host=192.0.2.10 -var user=admin -var private_key_file=key packer/harden.pkr.hcl
#
# With a builder of your own in place of the null builder (amazon-ebs, qemu, vsphere-iso, googlecompute, azure-arm), copy the
# provisioner into its build block, as the last one. Every attribute: docs/provisioner.md.

packer {
  required_version = ">= 1.12.0"

  required_plugins {
    strongroom = {
      source  = "github.com/strongroom/strongroom"
      version = ">= 0.1.0"
    }
  }
}

variable "host" {
  type        = string
  description = "The machine: Debian 12 or 13, Ubuntu 24.04, or RHEL 9 and its kin."
}

variable "port" {
  type    = number
  default = 22
}

variable "user" {
  type        = string
  description = "The account to connect as. At the shutdown it is removed from the machine, with its home."
}

variable "private_key_file" {
  type        = string
  description = "Its private key."
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

variable "signing_key" {
  type        = string
  default     = ""
  description = "Signs the baseline: a PEM file, or vault:MOUNT/KEY. Empty: it is not signed. docs/statement.md"
}

data "strongroom-release" "server" {
  product = "vault"
  version = var.vault_version
}

source "null" "machine" {
  ssh_host             = var.host
  ssh_port             = var.port
  ssh_username         = var.user
  ssh_private_key_file = var.private_key_file
}

build {
  sources = ["source.null.machine"]

  # The last provisioner: what it hardens is reached by nobody after the next shutdown.
  provisioner "strongroom-harden" {
    image_name    = "strongroom-vault"
    image_version = var.image_version
    profile       = "vault/vm"

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

    # Where sudo asks for a password, from a variable that is sensitive:
    # execute_command = "echo '${var.password}' | sudo -S env {{ .Vars }} sh {{ .Path }}"
  }
}
