package distribution

import "slices"

// rhel9 stands for RHEL 9 and what is built from its sources. systemd-networkd is not among its packages, so NetworkManager
// keeps the network, and with it the message bus.
func rhel9() Distribution {
	return Distribution{
		ID: "rhel/9", Name: "RHEL 9 (also Rocky Linux, AlmaLinux, Oracle Linux)", Family: RHEL, Layouts: []string{Installed},
		ReleaseIDs: []string{"rhel", "rocky", "almalinux", "ol", "centos"}, Version: "9",
		Packages: Packages{
			Needed: []string{"acpid", "ca-certificates", "chrony", "kmod", "logrotate", "nftables", "NetworkManager", "selinux-policy-targeted"},
			// semodule(8) and restorecon(8) load the policy of the server and label its files.
			Compilers: []string{"policycoreutils"},
			Forbidden: []string{
				"amazon-ssm-agent", "cloud-init", "cockpit-ws", "dropbear", "google-compute-engine", "google-guest-agent", "google-osconfig-agent", "mosh",
				"open-vm-tools", "puppet-agent", "qemu-guest-agent", "salt-minion", "sssd-common", "telnet-server", "tigervnc-server", "WALinuxAgent", "xrdp", "insights-client",
				"rhc", "subscription-manager-cockpit",
				"at", "cronie", "cronie-anacron", "crontabs", "dnf-automatic", "PackageKit",
				"abrt", "kexec-tools",
				"binutils", "bcc-tools", "bpftrace", "gcc", "gdb", "lftp", "ltrace", "make", "mailx", "s-nail", "nmap", "nmap-ncat", "postfix", "rsync", "sendmail", "socat", "strace",
				"tcpdump", "telnet", "ftp", "tftp", "wget",
				"avahi", "bluez", "docker-ce", "firewalld", "iptables-nft", "iptables-services", "irqbalance", "ModemManager", "device-mapper-multipath", "iscsi-initiator-utils",
				"podman", "rpcbind", "rsyslog", "samba", "systemd-zram-generator", "zram-generator", "udisks2", "vsftpd", "tuned", "rng-tools",
			},
			Session: []string{"openssh-clients", "openssh-server", "sudo"},
		},
		// Boot entries are files with the arguments in them; grubby changes each, and what new kernels start with.
		Boot: Boot{Command: []string{"grubby", "--update-kernel=ALL", "--remove-args=crashkernel resume rhgb quiet", "--args=${ARGUMENTS}"}},
		System: System{
			ChronyUnit: "chronyd.service", ChronyConfig: "/etc/chrony.conf", ChronyDrift: "/var/lib/chrony/drift",
			ShadowMode: "0000", ShadowGroup: "0", Network: "NetworkManager",
		},
		Tenants: Tenants{
			Units: []string{
				// The network, and what it speaks over.
				"NetworkManager.service", "NetworkManager-wait-online.service", "NetworkManager-dispatcher.service", "nm-cloud-setup.service", "nm-cloud-setup.timer",
				"dbus-broker.service", "dbus.socket",
				// Once at boot, and done.
				"dracut-shutdown.service", "import-state.service", "selinux-autorelabel-mark.service", "nis-domainname.service", "sssd-kcm.socket", "loadmodules.service",
				"lvm2-monitor.service", "lvm2-lvmpolld.socket", "blk-availability.service", "dm-event.socket", "dm-event.service", "mdmonitor.service",
				"initrd-cleanup.service", "initrd-parse-etc.service", "initrd-switch-root.service", "initrd-udevadm-cleanup-db.service",
				"systemd-vconsole-setup.service", "systemd-boot-update.service", "plymouth-quit.service", "plymouth-quit-wait.service",
				"plymouth-read-write.service", "plymouth-start.service", "plymouth-switch-root.service", "dracut-cmdline.service", "dracut-initqueue.service",
				"dracut-pre-pivot.service", "dracut-pre-trigger.service", "dracut-pre-udev.service", "auditd.service",
			},
			Groups: []string{"tss"}, // clevis asks the TPM
			Accounts: []string{
				"adm", "shutdown", "halt", "operator", "ftp", "dbus", "polkitd", "tss", "sshd", "chrony", "systemd-coredump", "systemd-oom", "sssd", "unbound", "rpc", "rngd",
				"cockpit-ws", "cockpit-wsinstance", "clevis", "setroubleshoot", "geoclue", "flatpak", "dnsmasq", "tcpdump", "libstoragemgmt",
			},
		},
	}
}

// rhel10 stands for RHEL 10 and what is built from its sources: where it differs from 9. The dump of a crashed kernel has packages of its own, rules of
// the audit are loaded by a unit of their own, and systemd-networkd still is not among the packages.
func rhel10() Distribution {
	d := rhel9()
	d.ID, d.Name, d.Version = "rhel/10", "RHEL 10 (also Rocky Linux, AlmaLinux, Oracle Linux)", "10"
	d.Packages.Forbidden = append(slices.Clone(d.Packages.Forbidden), "kdump-utils", "makedumpfile")
	d.Tenants.Units = append(slices.Clone(d.Tenants.Units), "audit-rules.service")
	return d
}
