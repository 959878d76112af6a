# Hardens a clone of a template of yours on vSphere, over SSH, and makes a template of it.
#
#   packer init packer/vsphere.pkr.hcl
#   PKR_VAR_password=… packer build -var vcenter=vcenter.example.com -var user=packer@vsphere.local … packer/vsphere.pkr.hcl
#
# For a disk with a read-only root on dm-verity give packer/local.pkr.hcl the format vmdk. Copy it, keep what you need. Every
# attribute: docs/provisioner.md.

packer {
  required_version = ">= 1.12.0"

  required_plugins {
    strongroom = {
      source  = "github.com/strongroom/strongroom"
      version = ">= 0.1.0"
    }
    vsphere = {
      source  = "github.com/hashicorp/vsphere"
      version = ">= 1.4.0"
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

variable "vcenter" {
  type        = string
  description = "Host name of the vCenter server."
}

variable "user" {
  type = string
}

variable "password" {
  type      = string
  sensitive = true
}

variable "datacenter" {
  type = string
}

variable "cluster" {
  type = string
}

variable "datastore" {
  type = string
}

variable "template" {
  type        = string
  description = "A virtual machine or template with Debian 12 or 13, Ubuntu 24.04, or RHEL 9 and its kin, and with open-vm-tools."
}

variable "ssh_user" {
  type        = string
  description = "An account of the template that may use sudo. At the shutdown it is removed, with its home."
}

variable "ssh_private_key_file" {
  type = string
}

data "strongroom-release" "server" {
  product = "vault"
  version = var.vault_version
}

source "vsphere-clone" "node" {
  vcenter_server = var.vcenter
  username       = var.user
  password       = var.password
  datacenter     = var.datacenter
  cluster        = var.cluster
  datastore      = var.datastore

  template            = var.template
  vm_name             = "strongroom-vault-${var.image_version}"
  convert_to_template = true

  communicator         = "ssh"
  ssh_username         = var.ssh_user
  ssh_private_key_file = var.ssh_private_key_file
  shutdown_command     = "sudo -n shutdown -P now"
  shutdown_timeout     = "15m" # hardening is activated at the shutdown
}

build {
  sources = ["source.vsphere-clone.node"]

  # Whatever else you provision comes first. This is the last one: what it hardens is reached by nobody after the shutdown.
  provisioner "strongroom-harden" {
    image_name    = "strongroom-vault"
    image_version = var.image_version
    profile       = "vault/vm"

    vault {
      binary = data.strongroom-release.server.path
      sha256 = data.strongroom-release.server.sha256
    }
  }
}
