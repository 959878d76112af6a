package distribution

import "slices"

// The packages of a Debian machine. nftables, chrony, acpid and logrotate are what a node stands on; systemd-resolved answers names;
// ca-certificates are the authorities of clouds. apparmor stays: its compiler makes the policies at hardening.
var (
	debianNeeded    = []string{"acpid", "ca-certificates", "chrony", "kmod", "logrotate", "nftables", "systemd-resolved", "udev"}
	debianCompilers = []string{"apparmor"}
	debianSession   = []string{"openssh-client", "openssh-server", "openssh-sftp-server", "sudo"}

	// Each is a program or a service that a control wants absent. A package that is not installed costs nothing to name.
	debianForbidden = []string{
		// Ways in, and what sets a machine up from outside.
		"amazon-ssm-agent", "cloud-guest-utils", "cloud-init", "cockpit-ws", "dropbear-bin", "google-compute-engine", "google-guest-agent", "google-osconfig-agent",
		"inetutils-telnetd", "mosh", "open-vm-tools", "puppet-agent", "qemu-guest-agent", "salt-minion", "sssd-common", "telnetd", "tigervnc-standalone-server", "waagent",
		"walinuxagent", "xrdp",
		// What runs at a time of its own, or changes the machine behind its operator's back.
		"anacron", "at", "cron", "cron-daemon-common", "needrestart", "packagekit", "unattended-upgrades",
		// Core dumps and crash kernels.
		"apport", "apport-core-dump-handler", "kdump-tools", "kexec-tools", "systemd-coredump",
		// Debuggers, compilers, downloads, mail.
		"binutils", "bpfcc-tools", "bpftrace", "build-essential", "curl", "exim4-base", "gcc", "gdb", "lftp", "ltrace", "make", "mailutils", "bsd-mailx", "nmap", "ncat",
		"netcat-openbsd", "netcat-traditional", "nullmailer", "postfix", "rsync", "sendmail-bin", "socat", "ssmtp", "msmtp", "strace", "tcpdump", "telnet",
		"inetutils-telnet", "ftp", "tnftp", "wget",
		// Another firewall, another clock, another network, a bus for people, swap in memory, other tenants.
		"avahi-daemon", "bluez", "containerd", "cups-daemon", "docker.io", "firewalld", "ifupdown", "iptables", "irqbalance", "lxd-installer", "modemmanager",
		"multipath-tools", "network-manager", "ntp", "ntpsec", "ntpsec-ntpdate", "open-iscsi", "policykit-1", "polkitd", "rpcbind", "rsyslog", "samba", "snapd",
		"systemd-timesyncd", "systemd-zram-generator", "zram-tools", "ufw", "udisks2", "upower", "vsftpd",
	}
)

// debianSystem is the same on Debian and Ubuntu.
var debianSystem = System{
	ChronyUnit: "chrony.service", ChronyConfig: "/etc/chrony/chrony.conf", ChronyDrift: "/var/lib/chrony/chrony.drift",
	ShadowMode: "0640", ShadowGroup: "42", Network: "systemd-networkd",
}

// grub is the boot loader of Debian and Ubuntu: update-grub reads the drop-in, the last of all by its name, which reads what the controls have rendered.
var grub = Boot{DropIn: "/etc/default/grub.d/zz-strongroom.cfg", Command: []string{"update-grub"}}

func trixie() Distribution {
	return Distribution{
		ID: "debian/trixie", Name: "Debian 13", Family: Debian, Layouts: []string{Sealed, Installed},
		ReleaseIDs: []string{"debian"}, Version: "13",
		Packages: Packages{Needed: append(slices.Clone(debianNeeded), "systemd-cryptsetup"), Compilers: debianCompilers, Forbidden: debianForbidden, Session: debianSession},
		Boot:     grub, System: debianSystem,
		Tenants: Tenants{Units: debianUnits, Accounts: debianAccounts},
	}
}

func bookworm() Distribution {
	return Distribution{
		ID: "debian/bookworm", Name: "Debian 12", Family: Debian, Layouts: []string{Sealed, Installed},
		ReleaseIDs: []string{"debian"}, Version: "12",
		Packages: Packages{Needed: append(slices.Clone(debianNeeded), "cryptsetup-bin"), Compilers: debianCompilers, Forbidden: debianForbidden, Session: debianSession},
		Boot:     grub, System: debianSystem,
		Tenants: Tenants{Units: debianUnits, Accounts: debianAccounts},
	}
}

// debianUnits are what an installed Debian runs beside what the sealed image runs too.
var debianUnits = []string{
	// Keyboard and font of a console on which nobody can log in; they run once and are done.
	"console-setup.service", "keyboard-setup.service",
	// The initrd's own, which the sealed image does not have.
	"initrd-cleanup.service", "initrd-parse-etc.service", "initrd-switch-root.service", "initrd-udevadm-cleanup-db.service",
	"lvm2-monitor.service", "blk-availability.service", "lvm2-lvmpolld.socket", "dm-event.socket", "dm-event.service", "mdmonitor.service",
	"systemd-quotacheck.service", "systemd-quotacheck-root.service",
	// The boot loader remembers that the start succeeded.
	"grub-common.service", "grub-initrd-fallback.service", "systemd-bless-boot.service",
	// Network configuration that netplan has written is networkd's to apply.
	"netplan-configure.service",
}

// debianAccounts are those that packages of a Debian machine make, beside those of the sealed image.
var debianAccounts = []string{"sshd", "_ssh", "tss", "uuidd", "systemd-coredump", "polkitd", "_dhcpcd", "dhcpcd", "tcpdump"}
