# Hardens a Debian machine on AWS, over SSH, makes an AMI of it, and writes down the launch template for it.
#
#   packer init packer/amazon-ebs.pkr.hcl
#   packer build -var 'security_group_ids=["sg-0123456789abcdef0"]' packer/amazon-ebs.pkr.hcl                      no template yet
#   packer build -var 'security_group_ids=["sg-0123456789abcdef0"]' -var dry_run=false packer/amazon-ebs.pkr.hcl   the real thing
#
# packer/aws.pkr.hcl needs no machine on AWS, and gives a read-only root on dm-verity. Copy it, keep what you need. Every
# attribute: docs/provisioner.md and docs/launch-template.md.

packer {
  required_version = ">= 1.12.0"

  required_plugins {
    strongroom = {
      source  = "github.com/strongroom/strongroom"
      version = ">= 0.1.0"
    }
    amazon = {
      source  = "github.com/hashicorp/amazon"
      version = ">= 1.3.0"
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

variable "region" {
  type    = string
  default = "eu-central-1"
}

variable "security_group_ids" {
  type        = list(string)
  description = "Security groups of the nodes that the launch template starts."
}

variable "dry_run" {
  type        = bool
  default     = true
  description = "true writes what would be asked of AWS for the launch template; the AMI is made in any case."
}

data "strongroom-release" "server" {
  product = "vault"
  version = var.vault_version
}

source "amazon-ebs" "node" {
  region        = var.region
  instance_type = "m7i.large"
  ssh_username  = "admin"

  source_ami_filter {
    owners      = ["136693071363"] # Debian
    most_recent = true
    filters = {
      name         = "debian-13-amd64-*"
      architecture = "x86_64"
    }
  }

  # The machine that is hardened, and the AMI: metadata by IMDSv2 only, disks encrypted.
  metadata_options {
    http_endpoint               = "enabled"
    http_tokens                 = "required"
    http_put_response_hop_limit = 1
  }
  imds_support = "v2.0"
  encrypt_boot = true

  ami_name = "strongroom-vault-${var.image_version}-{{timestamp}}"
  tags = {
    "strongroom:image-version" = var.image_version
  }
}

build {
  sources = ["source.amazon-ebs.node"]

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

  post-processor "strongroom-launch-template" {
    name    = "strongroom-vault"
    dry_run = var.dry_run

    aws {
      region             = var.region
      security_group_ids = var.security_group_ids
      instance_type      = "m7i.large"
    }
  }
}
