// Package image assembles the golden image without privileges: a Debian tree in a memory file
// system that only the bake's own namespaces can see, the overlay and the binaries on it, and from
// that a read-only root file system, its dm-verity hash tree, an initrd, a unified kernel image
// and a GPT disk. It mounts nothing on the host, needs no loop device, no virtual machine and no
// SSH, and it knows nothing of Packer: internal/plugin calls one method per step.
package image
