package distribution

import "slices"

// noble has Debian's names, and some tenants of its own: snapd, Livepatch, Pro, Landscape.
func noble() Distribution {
	return Distribution{
		ID: "ubuntu/noble", Name: "Ubuntu 24.04 LTS", Family: Debian, Layouts: []string{Installed},
		ReleaseIDs: []string{"ubuntu"}, Version: "24.04",
		Packages: Packages{
			Needed:    append(slices.Clone(debianNeeded), "cryptsetup-bin"),
			Compilers: debianCompilers,
			Forbidden: slices.Concat(debianForbidden, []string{
				"bolt", "byobu", "fwupd", "landscape-client", "landscape-common", "pollinate", "screen", "thermald", "tmux", "ubuntu-advantage-tools", "ubuntu-pro-client",
				"update-notifier-common",
			}),
			Session: append(slices.Clone(debianSession), "ssh-import-id"),
		},
		Boot: grub, System: debianSystem,
		Tenants: Tenants{
			Units:    slices.Concat(debianUnits, []string{"secureboot-db.service", "finalrd.service", "setvtrgb.service", "plymouth-quit.service", "plymouth-quit-wait.service", "plymouth-read-write.service", "plymouth-start.service"}),
			Groups:   []string{"adm"}, // syslog reads logs
			Accounts: slices.Concat(debianAccounts, []string{"syslog", "usbmux", "landscape", "fwupd-refresh", "pollinate", "lxd"}),
		},
	}
}
