# Hardens a Debian machine on Google Cloud, over SSH, and makes an image of it.
#
#   packer init packer/googlecompute.pkr.hcl
#   packer build -var project=my-project packer/googlecompute.pkr.hcl
#
# packer/gcp.pkr.hcl needs no machine on Google Cloud, and gives a read-only root on dm-verity. Copy it, keep what you need.
# Every attribute: docs/provisioner.md.

packer {
  required_version = ">= 1.12.0"

  required_plugins {
    strongroom = {
      source  = "github.com/strongroom/strongroom"
      version = ">= 0.1.0"
    }
    googlecompute = {
      source  = "github.com/hashicorp/googlecompute"
      version = ">= 1.1.0"
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

variable "project" {
  type = string
}

variable "zone" {
  type    = string
  default = "europe-west3-a"
}

data "strongroom-release" "server" {
  product = "vault"
  version = var.vault_version
}

source "googlecompute" "node" {
  project_id              = var.project
  zone                    = var.zone
  machine_type            = "n2-standard-2"
  source_image_family     = "debian-13"
  source_image_project_id = ["debian-cloud"]
  ssh_username            = "packer"

  # A Shielded VM, as the nodes should be.
  enable_secure_boot          = true
  enable_vtpm                 = true
  enable_integrity_monitoring = true

  image_name   = "strongroom-vault-${replace(var.image_version, ".", "-")}-{{timestamp}}"
  image_family = "strongroom-vault"
  image_labels = {
    image-version = replace(var.image_version, ".", "-")
  }
}

build {
  sources = ["source.googlecompute.node"]

  # Whatever else you provision comes first. This is the last one: what it hardens is reached by nobody after the shutdown.
  provisioner "strongroom-harden" {
    image_name    = "strongroom-vault"
    image_version = var.image_version
    profile       = "vault/cloud"

    vault {
      binary = data.strongroom-release.server.path
      sha256 = data.strongroom-release.server.sha256
    }
  }
}
