package image

import (
	"maps"
	"slices"
)

// distribution is what differs between the releases that an image can stand on.
type distribution struct {
	suite    string
	runtime  []string // packages of the image
	bakeTime []string // packages that only make the initrd and the unified kernel image
}

// The kernel is the cloud flavour: the drivers of hypervisors and clouds, at a third of the size.
// mkfs.ext4 is here because systemd-repart makes the data partitions on the first boot.
var distributions = map[string]distribution{
	"debian/trixie": {
		suite: "trixie",
		runtime: []string{
			"acpid", "ca-certificates", "chrony", "e2fsprogs", "kmod", "linux-image-cloud-amd64", "nftables",
			"systemd", "systemd-cryptsetup", "systemd-repart", "systemd-resolved", "udev",
		},
		bakeTime: []string{"dracut-core", "systemd-boot-efi", "zstd"},
	},
	"debian/bookworm": {
		suite: "bookworm",
		runtime: []string{
			"acpid", "ca-certificates", "chrony", "cryptsetup-bin", "e2fsprogs", "kmod", "linux-image-cloud-amd64",
			"nftables", "systemd", "systemd-resolved", "udev",
		},
		bakeTime: []string{"dracut-core", "systemd-boot-efi", "zstd"},
	},
}

// Distributions lists the distributions that a Spec may name.
func Distributions() []string { return slices.Sorted(maps.Keys(distributions)) }

// bakeOnly are the packages whose files are sealed away: the package manager, what its maintainer
// scripts run on, and the tools of the bake.
var bakeOnly = []string{
	"adduser", "apt", "cpio", "debconf", "debian-archive-keyring", "debianutils", "dpkg", "dracut-core", "dracut-install",
	"init-system-helpers", "libapt-pkg6.0", "libapt-pkg7.0", "linux-base", "login.defs", "passwd", "perl-base",
	"systemd-boot-efi", "systemd-boot-efi-amd64-signed", "tzdata-legacy", "zstd",
}
