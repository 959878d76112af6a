# Bakes a golden image of Vault and makes what a scale set on Azure starts nodes from: a version of an image in a Compute
# Gallery, and the scale set's model with Trusted Launch.
#
#   packer build -var-file=azure.pkrvars.hcl packer/azure.pkr.hcl                      a dry run
#   packer build -var-file=azure.pkrvars.hcl -var dry_run=false packer/azure.pkr.hcl   the real thing
#
# Credentials come from the environment, a managed identity or the Azure CLI. Copy it, keep what you need. Every attribute: docs/launch-template.md.

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

variable "subscription_id" {
  type = string
}

variable "resource_group" {
  type = string
}

variable "location" {
  type    = string
  default = "germanywestcentral"
}

variable "gallery" {
  type        = string
  description = "A Compute Gallery in the resource group."
}

variable "subnet_id" {
  type        = string
  description = "Id of the subnet of the nodes."
}

variable "node_config" {
  type        = string
  default     = ""
  description = "A node.hcl that every node gets as user data; without secrets. docs/node-config.md"
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
  formats          = ["vhd"]
  output_directory = "out/azure"

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

    azure {
      subscription_id  = var.subscription_id
      resource_group   = var.resource_group
      location         = var.location
      gallery          = var.gallery
      image_definition = "strongroom-vault"
      vm_size          = "Standard_D2s_v5"
      subnet_id        = var.subnet_id
      disk_size        = 20

      # identity_id            = "/subscriptions/…" # for a seal by Key Vault
      # disk_encryption_set_id = "/subscriptions/…" # else Azure's own keys
    }
  }
}
