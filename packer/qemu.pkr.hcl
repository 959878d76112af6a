# Hardens a Debian machine in QEMU, from Debian's own cloud image, over SSH. Whoever wants a read-only root on dm-verity, and
# no virtual machine for it, bakes with packer/local.pkr.hcl instead.
#
#   packer init packer/qemu.pkr.hcl
#   packer build packer/qemu.pkr.hcl
#
# Needs qemu-system-x86_64, OVMF and xorriso; KVM if it is to be quick. Copy it, keep what you need. Every attribute:
# docs/provisioner.md.

packer {
  required_version = ">= 1.12.0"

  required_plugins {
    strongroom = {
      source  = "github.com/strongroom/strongroom"
      version = ">= 0.1.0"
    }
    qemu = {
      source  = "github.com/hashicorp/qemu"
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

variable "ovmf" {
  type        = string
  default     = "/usr/share/OVMF"
  description = "Where OVMF_CODE_4M.fd and OVMF_VARS_4M.fd lie."
}

data "strongroom-release" "server" {
  product = "vault"
  version = var.vault_version
}

# The password of one build: the account goes away with the shutdown.
locals {
  password = uuidv4()
}

source "qemu" "node" {
  iso_url      = "https://cloud.debian.org/images/cloud/trixie/latest/debian-13-genericcloud-amd64.qcow2"
  iso_checksum = "file:https://cloud.debian.org/images/cloud/trixie/latest/SHA512SUMS"
  disk_image   = true
  disk_size    = "20G"

  machine_type      = "q35"
  cpu_model         = "max"
  cpus              = 2
  memory            = 2048
  efi_boot          = true
  efi_firmware_code = "${var.ovmf}/OVMF_CODE_4M.fd"
  efi_firmware_vars = "${var.ovmf}/OVMF_VARS_4M.fd"
  headless          = true

  # cloud-init's seed: nobody needs a key.
  cd_label = "cidata"
  cd_content = {
    "meta-data" = ""
    "user-data" = <<-END
      #cloud-config
      password: ${local.password}
      chpasswd: {expire: false}
      ssh_pwauth: true
    END
  }

  communicator     = "ssh"
  ssh_username     = "debian"
  ssh_password     = local.password
  ssh_timeout      = "20m"
  shutdown_command = "sudo -n shutdown -P now"
  shutdown_timeout = "15m" # hardening is activated at the shutdown

  vm_name          = "disk.qcow2"
  output_directory = "out/qemu"
}

build {
  sources = ["source.qemu.node"]

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
