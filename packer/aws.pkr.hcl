# Bakes a golden image of Vault and makes what an autoscaling group on AWS starts nodes from: an AMI with UEFI and a
# TPM, and a version of a launch template.
#
#   packer build -var 'security_group_ids=["sg-0123456789abcdef0"]' packer/aws.pkr.hcl                      a dry run
#   packer build -var 'security_group_ids=["sg-0123456789abcdef0"]' -var dry_run=false packer/aws.pkr.hcl   the real thing
#
# Credentials come from where the AWS CLI has them. Copy it, keep what you need. Every attribute: docs/launch-template.md.

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

variable "region" {
  type    = string
  default = "eu-central-1"
}

variable "security_group_ids" {
  type        = list(string)
  description = "Security groups of the nodes."
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
  formats          = ["raw"]
  output_directory = "out/aws"

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

    aws {
      region             = var.region
      security_group_ids = var.security_group_ids
      instance_type      = "m7i.large"
      volume_size        = 20

      # instance_profile = "strongroom-vault"      # for a seal by AWS KMS
      # kms_key_id       = "arn:aws:kms:…:key/…"   # else the account's default key
      # ssm_parameter    = "/strongroom/vault/ami"
    }
  }
}
