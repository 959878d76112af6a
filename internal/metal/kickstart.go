package metal

import (
	"fmt"
	"slices"
	"strings"
)

// RenderKickstart renders the answers for Anaconda. digest is that of the script.
func RenderKickstart(c Config, digest string) []byte {
	disk := strings.TrimPrefix(c.Disk, "/dev/")
	proxy := ""
	if c.Proxy != "" {
		proxy = " --proxy=" + c.Proxy
	}
	var out strings.Builder
	line := func(format string, args ...any) { fmt.Fprintf(&out, format+"\n", args...) }
	line("#version=RHEL%s", c.Distribution.Version)
	line("# Rendered by imagebuild metal for %s. Boot the installer with inst.nosave=all, or it copies this file and its logs into the verified system.", c.Distribution.Name)
	line("cmdline")
	line("url --url=%s%s", c.Source, proxy)
	line("repo --name=AppStream --baseurl=%s%s", strings.Replace(c.Source, "/BaseOS/", "/AppStream/", 1), proxy)
	line("lang en_US.UTF-8")
	line("keyboard us")
	line("timezone UTC --utc")
	if n := c.Network; n != nil {
		line("network --bootproto=static --device=link --ip=%s --netmask=%s --gateway=%s --nameserver=%s --noipv6 --activate --onboot=yes",
			n.address(), n.netmask(), n.Gateway, strings.Join(n.Nameserver, ","))
	} else {
		line("network --bootproto=dhcp --device=link --activate --onboot=yes")
	}
	line("rootpw --lock")
	line("firewall --enabled")
	line("selinux --enforcing")
	line("firstboot --disable")
	line("skipx")
	line("zerombr")
	line("ignoredisk --only-use=%s", disk)
	line("clearpart --all --drives=%s --initlabel --disklabel=gpt", disk)
	line("bootloader --boot-drive=%s", disk)
	line("part /boot/efi --fstype=efi --size=512 --ondisk=%s", disk)
	line("part /boot --fstype=xfs --size=1024 --ondisk=%s", disk)
	line("part / --fstype=xfs --size=8192 --ondisk=%s", disk)
	const confined = "--fsoptions=defaults,nosuid,nodev,noexec"
	line("part %s --fstype=xfs --size=1024 --maxsize=8192 --grow %s --ondisk=%s", c.Audit, confined, disk)
	line("part %s --fstype=xfs --size=1024 --grow %s --ondisk=%s", c.Data, confined, disk)
	line("reboot")
	line("")
	line("%%packages --exclude-weakdeps --excludedocs --inst-langs=en")
	line("@core")
	for _, p := range slices.Concat(c.Distribution.Packages.Needed, c.Distribution.Packages.Compilers) {
		line("%s", p)
	}
	line("-openssh-server")
	line("%%end")
	line("")
	line("%%pre --erroronfail --log=/tmp/strongroom-pre.log")
	section(&out, append([]string{"set -eu"}, checkDisk(c, `echo "strongroom: $reason" >/dev/console; exit 1`)...))
	line("%%end")
	line("")
	line("%%post --nochroot --erroronfail --log=/tmp/strongroom-post.log")
	section(&out, append([]string{"set -eu"}, fetchScript(c, digest, "curl")...))
	line("%%end")
	line("")
	line("%%onerror --log=/tmp/strongroom-error.log")
	section(&out, []string{"set -eu", "rm -rf /mnt/sysimage/boot/efi/* /mnt/sysimage/boot/*", "echo " + failedText + " >/dev/console"})
	line("%%end")
	return []byte(out.String())
}

func section(out *strings.Builder, commands []string) {
	for _, c := range commands {
		out.WriteString(c + "\n")
	}
}
