package metal

import (
	"fmt"
	"slices"
	"strings"
)

// diskMark stands for the disk in an autoinstall until the first command has found its device. Subiquity reads /autoinstall.yaml again after the early
// commands, and knows no names below /dev/disk.
const diskMark = "STRONGROOM-DISK"

// RenderAutoinstall renders the answers for Ubuntu's installer, as user data for cloud-init. digest is that of the script.
func RenderAutoinstall(c Config, digest string) []byte {
	var out strings.Builder
	line := func(format string, args ...any) { fmt.Fprintf(&out, format+"\n", args...) }
	script := func(commands []string) {
		line("    - |")
		for _, c := range commands {
			line("      %s", c)
		}
	}
	line("#cloud-config")
	line("# Rendered by imagebuild metal for %s.", c.Distribution.Name)
	line("autoinstall:")
	line("  version: 1")
	line("  interactive-sections: []")
	line("  early-commands:")
	script(slices.Concat([]string{"set -eu"}, checkDisk(c, `echo "strongroom: $reason" >/dev/console; exit 1`),
		[]string{`sed -i "s|` + diskMark + `|$disk|" /autoinstall.yaml`}))
	line("  locale: en_US.UTF-8")
	line("  keyboard: {layout: us}")
	line("  timezone: Etc/UTC")
	line("  source: {id: ubuntu-server-minimal, search_drivers: false}")
	line("  refresh-installer: {update: false}")
	if c.Proxy != "" {
		line("  proxy: %s", c.Proxy)
	}
	line("  network:")
	line("    version: 2")
	line("    ethernets:")
	line("      any:")
	line("        match: {name: \"e*\"}")
	if n := c.Network; n != nil {
		line("        addresses: [%s]", n.Address)
		line("        routes: [{to: default, via: %s}]", n.Gateway)
		line("        nameservers: {addresses: [%s]}", strings.Join(n.Nameserver, ", "))
	} else {
		line("        dhcp4: true")
	}
	line("  ssh: {install-server: false}")
	line("  user-data: {disable_root: true, users: []}")
	line("  storage:")
	line("    swap: {size: 0}")
	line("    config:")
	line("      - {type: disk, id: disk, match: {path: %s}, ptable: gpt, wipe: superblock-recursive}", diskMark)
	volume := func(number int, id, size, more, fstype, where, options string) {
		line("      - {type: partition, id: %s, device: disk, number: %d, size: %s%s}", id, number, size, more)
		line("      - {type: format, id: %s-format, volume: %[1]s, fstype: %s}", id, fstype)
		line("      - {type: mount, id: %s-mount, device: %[1]s-format, path: %s%s}", id, where, options)
	}
	const confined = `, options: "nosuid,nodev,noexec"`
	volume(1, "efi", "512M", ", flag: boot, grub_device: true", "fat32", "/boot/efi", "")
	volume(2, "root", "8G", "", "ext4", "/", "")
	volume(3, "audit", "2G", "", "ext4", c.Audit, confined)
	volume(4, "data", "-1", "", "ext4", c.Data, confined)
	line("  packages: [%s]", strings.Join(slices.Concat(c.Distribution.Packages.Needed, c.Distribution.Packages.Compilers), ", "))
	line("  late-commands:")
	script(append([]string{"set -eu"}, fetchScript(c, digest, "curl")...))
	line("  error-commands:")
	script([]string{"set -eu", "rm -rf /target/boot/efi/* /target/boot/*", "echo " + failedText + " >/dev/console"})
	line("  shutdown: reboot")
	return []byte(out.String())
}
