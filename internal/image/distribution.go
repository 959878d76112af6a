package image

import (
	"maps"
	"slices"
)

// distribution is what differs between the releases that an image can stand on.
type distribution struct {
	suite    string
	runtime  []string // packages of the image
	initrd   []string // further modules of dracut
	bakeTime []string // packages that only make the initrd, the unified kernel image and the AppArmor policy
}

// mkfs.ext4 is here because systemd-repart makes the data partitions on the first boot. libtss2 is what systemd speaks to a TPM with,
// by dlopen: its packages do not depend on it. systemd-sysv stands in for the cron that logrotate depends on otherwise.
var distributions = map[string]distribution{
	"debian/trixie": {
		suite: "trixie",
		runtime: []string{
			"acpid", "ca-certificates", "chrony", "e2fsprogs", "kmod", "libtss2-esys-3.0.2-0t64", "libtss2-rc0t64", cloudKernel, "logrotate", "nftables",
			"systemd", "systemd-cryptsetup", "systemd-repart", "systemd-resolved", "udev",
		},
		initrd:   []string{"systemd-pcrphase"},
		bakeTime: []string{"apparmor", "dracut-core", "systemd-boot-efi", "systemd-sysv", "zstd"},
	},
	"debian/bookworm": {
		suite: "bookworm",
		runtime: []string{
			"acpid", "ca-certificates", "chrony", "cryptsetup-bin", "e2fsprogs", "kmod", cloudKernel,
			"logrotate", "nftables", "systemd", "systemd-resolved", "udev",
		},
		bakeTime: []string{"apparmor", "dracut-core", "systemd-boot-efi", "systemd-sysv", "zstd"},
	},
}

const (
	cloudKernel = "linux-image-cloud-amd64"
	fullKernel  = "linux-image-amd64"
)

// packagesOf are those of the image and of the bake, in order.
func packagesOf(s Spec) []string {
	return sortedNames(slices.Concat(builderPackages(s), s.Packages))
}

// builderPackages are those that every image of this kind needs.
func builderPackages(s Spec) []string {
	d := distributions[s.Distribution]
	packages := slices.Concat(d.runtime, d.bakeTime)
	if i := slices.Index(packages, cloudKernel); i >= 0 && s.Hardware {
		packages[i] = fullKernel
	}
	if s.ShipsLogs {
		packages = append(packages, "systemd-journal-remote")
	}
	return sortedNames(packages)
}

func sortedNames(names []string) []string {
	slices.Sort(names)
	return slices.Compact(names)
}

// Distributions lists the distributions that a Spec may name.
func Distributions() []string { return slices.Sorted(maps.Keys(distributions)) }

// bakeOnly are the packages whose files are sealed away: the package manager, what maintainer
// scripts run on, the tools of the bake, the kernel's own initrd generator, the D-Bus daemon that
// systemd-resolved depends on and works without, and what libtss2-esys depends on and a TPM of the machine does not need: ways to
// emulated TPMs and to TPMs behind commands, and the rule that gives the TPM to an account besides root.
var bakeOnly = []string{
	"adduser", "apparmor", "apt", "busybox", "cpio", "dbus", "dbus-bin", "dbus-daemon", "dbus-session-bus-common", "dbus-system-bus-common",
	"debconf", "debian-archive-keyring", "debianutils", "diffutils", "dpkg", "dracut-core", "dracut-install", "gcc-12-base",
	"gcc-14-base", "init-system-helpers", "initramfs-tools", "initramfs-tools-bin", "initramfs-tools-core", "klibc-utils",
	"libapt-pkg6.0", "libapt-pkg7.0", "libfile-find-rule-perl", "libgdbm-compat4", "libgdbm6", "libklibc", "libnumber-compare-perl", "libperl5.36",
	"libsemanage-common", "libsemanage2", "libsepol2", "libtss2-tcti-cmd0t64", "libtss2-tcti-mssim0t64", "libtss2-tcti-swtpm0t64", "libtext-charwidth-perl", "libtext-glob-perl", "libtext-iconv-perl", "libtext-wrapi18n-perl", "linux-base", "logsave",
	"passwd", "perl", "perl-base", "perl-modules-5.36", "runit-helper", "sensible-utils", "systemd-boot-efi", "systemd-boot-efi-amd64-signed", "systemd-sysv", "sysvinit-utils",
	"tpm-udev", "ucf", "usr-is-merged", "usrmerge", "zstd",
}
