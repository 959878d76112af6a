# Bakes a golden image of Vault and makes what a managed instance group on Google Cloud starts nodes from: an image with
# UEFI, and an instance template with Shielded VM.
#
#   packer build -var-file=gcp.pkrvars.hcl packer/gcp.pkr.hcl                      a dry run
#   packer build -var-file=gcp.pkrvars.hcl -var dry_run=false packer/gcp.pkr.hcl   the real thing
#
# Credentials are the application default ones (gcloud auth application-default login). Copy it, keep what you need. Every attribute: docs/launch-template.md.

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
  type    = string
  default = "~> 1.21.0"
}

variable "image_version" {
  type    = string
  default = "0.1.0"
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

variable "project" {
  type = string
}

variable "bucket" {
  type        = string
  description = "A bucket of Cloud Storage that the disk goes through."
}

variable "subnetwork" {
  type        = string
  description = "Subnetwork of the nodes: projects/…/regions/…/subnetworks/…"
}

variable "node_config" {
  type        = string
  default     = ""
  description = "A node.hcl that every node gets as metadata; without secrets. docs/node-config.md"
}

variable "dry_run" {
  type    = bool
  default = true
}

data "strongroom-release" "server" {
  product = "vault"
  version = var.vault_version
}

source "strongroom-image" "node" {
  image_name       = "strongroom-vault"
  image_version    = var.image_version
  lock_file        = var.lock_file
  profile          = "vault/cloud"
  formats          = ["raw.tar.gz"]
  output_directory = "out/gcp"

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

build {
  sources = ["source.strongroom-image.node"]

  post-processor "strongroom-launch-template" {
    name        = "strongroom-vault"
    node_config = var.node_config
    dry_run     = var.dry_run

    gcp {
      project      = var.project
      bucket       = var.bucket
      subnetwork   = var.subnetwork
      machine_type = "n2-standard-2"
      disk_size    = 20
      network_tags = ["strongroom-vault"]

      # service_account  = "vault@PROJECT.iam.gserviceaccount.com" # for a seal by Cloud KMS
      # kms_key          = "projects/…/cryptoKeys/…"             # else Google's own
      # storage_location = "europe-west3"
    }
  }
}
