package metal

import (
	"fmt"
	"net/url"
	"slices"
	"strings"
)

// question is a line of a preseed.
type question struct{ owner, name, kind, value string }

// RenderPreseed renders the answers for Debian's installer. digest is that of the script.
func RenderPreseed(c Config, digest string) []byte {
	source, err := url.Parse(c.Source)
	if err != nil {
		panic(err) // checked by Complete
	}
	suite := strings.TrimPrefix(c.Distribution.ID, "debian/")
	packages := slices.Concat(c.Distribution.Packages.Needed, c.Distribution.Packages.Compilers)
	q := func(name, kind, value string) question { return question{"d-i", name, kind, value} }
	lines := []question{
		q("debian-installer/language", "string", "C"),
		q("debian-installer/country", "string", "US"),
		q("debian-installer/locale", "string", "C"),
		q("keyboard-configuration/xkb-keymap", "select", "us"),
		q("hw-detect/firmware-lookup", "string", "never"),
		q("netcfg/choose_interface", "select", "auto"),
		q("netcfg/get_hostname", "string", "strongroom"),
		q("netcfg/get_domain", "string", "unassigned-domain"),
	}
	if n := c.Network; n != nil {
		lines = append(lines,
			q("netcfg/disable_autoconfig", "boolean", "true"),
			q("netcfg/get_ipaddress", "string", n.address()),
			q("netcfg/get_netmask", "string", n.netmask()),
			q("netcfg/get_gateway", "string", n.Gateway),
			q("netcfg/get_nameservers", "string", strings.Join(n.Nameserver, " ")),
			q("netcfg/confirm_static", "boolean", "true"))
	}
	lines = append(lines,
		q("mirror/country", "string", "manual"),
		q("mirror/protocol", "string", source.Scheme),
		q("mirror/"+source.Scheme+"/hostname", "string", source.Host),
		q("mirror/"+source.Scheme+"/directory", "string", source.Path),
		q("mirror/"+source.Scheme+"/proxy", "string", c.Proxy),
		// Not what the archive calls stable on the day of the installation.
		q("mirror/suite", "string", suite),
		q("mirror/udeb/suite", "string", suite),
		q("passwd/root-login", "boolean", "true"),
		// Not "!", at which the installer asks for one.
		q("passwd/root-password-crypted", "password", "*"),
		q("passwd/make-user", "boolean", "false"),
		q("clock-setup/utc", "boolean", "true"),
		q("clock-setup/ntp", "boolean", "false"),
		q("time/zone", "string", "Etc/UTC"),
		// A refusal never comes back: the installer would go on after an error.
		q("partman/early_command", "string", statements("sh -c '", slices.Concat([]string{"set -eu"},
			checkDisk(c, `echo "strongroom: $reason" >/dev/console; logger -t strongroom -- "$reason"; while :; do sleep 3600; done`),
			[]string{"debconf-set partman-auto/disk $disk", "debconf-set grub-installer/bootdev $disk"}), "'")),
		q("partman-auto/method", "string", "regular"),
		q("partman-auto/expert_recipe", "string", recipe(c)),
		q("partman-auto/choose_recipe", "select", "strongroom"),
		q("partman-basicfilesystems/no_swap", "boolean", "false"),
		q("partman-partitioning/choose_label", "string", "gpt"),
		q("partman-partitioning/default_label", "string", "gpt"),
		q("partman-efi/non_efi_system", "boolean", "true"),
		q("partman-partitioning/confirm_write_new_label", "boolean", "true"),
		q("partman/mount_style", "select", "uuid"),
		q("partman/choose_partition", "select", "finish"),
		q("partman/confirm", "boolean", "true"),
		q("partman/confirm_nooverwrite", "boolean", "true"),
		q("base-installer/install-recommends", "boolean", "false"),
		q("base-installer/kernel/image", "string", "linux-image-amd64"),
		q("apt-setup/contrib", "boolean", "false"),
		q("apt-setup/non-free", "boolean", "false"),
		q("apt-setup/non-free-firmware", "boolean", "false"),
		q("apt-setup/disable-cdrom-entries", "boolean", "true"),
		q("apt-setup/services-select", "multiselect", "security, updates"),
		q("apt-setup/security_host", "string", securityHost(c, source)),
		question{"tasksel", "tasksel/first", "multiselect", ""},
		q("pkgsel/run_tasksel", "boolean", "false"),
		q("pkgsel/include", "string", strings.Join(packages, " ")),
		q("pkgsel/upgrade", "select", "full-upgrade"),
		q("pkgsel/update-policy", "select", "none"),
		question{"popularity-contest", "popularity-contest/participate", "boolean", "false"},
		// Nothing looks into other disks.
		q("grub-installer/only_debian", "boolean", "true"),
		q("grub-installer/with_other_os", "boolean", "false"),
		q("grub-installer/enable_os_prober_otheros_no", "boolean", "false"),
		q("grub-installer/enable_os_prober_otheros_yes", "boolean", "false"),
		q("grub-installer/force-efi-extra-removable", "boolean", "true"),
		q("preseed/late_command", "string", statements("sh -c '", append([]string{"set -eu"}, fetchScript(c, digest, "wget")...), "'")),
		q("cdrom-detect/eject", "boolean", "false"),
		q("finish-install/reboot_in_progress", "note", ""),
	)
	var out strings.Builder
	fmt.Fprintf(&out, "# Rendered by imagebuild metal: answers for the installer of %s.\n", c.Distribution.Name)
	for _, l := range lines {
		out.WriteString(strings.TrimSpace(l.owner+" "+l.name+" "+l.kind+" "+l.value) + "\n")
	}
	return []byte(out.String())
}

// statements joins commands to one value over several lines.
func statements(before string, commands []string, after string) string {
	return before + strings.Join(commands, "; \\\n  ") + after
}

// securityHost is where security updates come from: the CDN of Debian has them, and a mirror of one's own is taken to have them too.
func securityHost(_ Config, source *url.URL) string { return source.Host }

// recipe is the partition table: numbers are MB, smallest, priority, largest.
func recipe(c Config) string {
	volume := func(size, where, options string) string {
		return size + " ext4 method{ format } format{ } use_filesystem{ } filesystem{ ext4 } mountpoint{ " + where + " }" + options + " ."
	}
	const confined = " options/nosuid{ nosuid } options/nodev{ nodev } options/noexec{ noexec }"
	return strings.Join([]string{
		"strongroom ::",
		"512 512 512 free $iflabel{ gpt } method{ efi } format{ } .",
		volume("8192 8192 8192", "/", ""),
		volume("1024 2048 8192", c.Audit, confined),
		volume("1024 4096 -1", c.Data, confined),
	}, " \\\n  ")
}
