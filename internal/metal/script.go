package metal

import (
	_ "embed" // the script
	"fmt"
	"strings"

	"github.com/strongroom/strongroom/internal/distribution"
	"github.com/strongroom/strongroom/internal/harden"
)

//go:embed install.sh
var installScript string

// target is where an installer has mounted what it installs.
func target(installer string) string {
	if installer == Kickstart {
		return "/mnt/sysimage"
	}
	return "/target"
}

// Script is the script that an installer runs as its last act. It fetches the files, unpacks and activates the hardening, and has hostcheck verify it.
func Script(c Config, files []Served) []byte {
	installer := Installer(c.Distribution)
	target, console := target(installer), "/dev/console"
	if c.root != "" {
		target, console = c.root, c.console
	}
	var list strings.Builder
	for i, f := range files {
		if i > 0 {
			list.WriteByte('\n')
		}
		fmt.Fprintf(&list, "%s %s %s", f.SHA256, f.Name, f.Place)
	}
	var out strings.Builder
	out.WriteString("#!/bin/sh\n# Rendered by imagebuild metal for " + c.Distribution.Name + ".\n")
	for _, v := range []struct{ name, value string }{
		{"INSTALLER", installer}, {"TARGET", target}, {"CONSOLE", console}, {"URL", c.URL}, {"CA", c.CA}, {"FILES", list.String()},
		{"STEPS", strings.Join(harden.KitSteps, " ")}, {"NETWORK", networkFile(c)},
	} {
		out.WriteString(v.name + "=" + quote(v.value) + "\n")
	}
	out.WriteString("\n" + installScript)
	return []byte(out.String())
}

// networkFile is what systemd-networkd reads of a static address. The RHEL family keeps NetworkManager, which Anaconda sets up.
func networkFile(c Config) string {
	if c.Network == nil || c.Distribution.Family == distribution.RHEL {
		return ""
	}
	text := fmt.Sprintf("[Match]\nType=ether\n\n[Network]\nAddress=%s\nGateway=%s\nLinkLocalAddressing=no\nIPv6AcceptRA=no\n", c.Network.Address, c.Network.Gateway)
	for _, s := range c.Network.Nameserver {
		text += "DNS=" + s + "\n"
	}
	return text
}

// quote makes one word of the shell of a text.
func quote(s string) string { return "'" + strings.ReplaceAll(s, "'", `'\''`) + "'" }

const (
	scriptFile = "/tmp/strongroom-install.sh"
	caFile     = "/tmp/strongroom-ca.pem"
	failedText = "strongroom: THE INSTALLATION HAS FAILED, and the disk has nothing to boot"
)

// fetchScript are the commands of an installer's file that get the script, pinned by its digest, and run it. None has a single quote in it, so that the whole
// fits between two. They are run under set -eu.
func fetchScript(c Config, digest, program string) []string {
	target := target(Installer(c.Distribution))
	var out []string
	authority := ""
	if c.CA != "" {
		var words []string
		for line := range strings.Lines(strings.TrimSpace(c.CA)) {
			words = append(words, `"`+strings.TrimSpace(line)+`"`)
		}
		out = append(out, "for line in "+strings.Join(words, " ")+"; do echo \"$line\"; done >"+caFile)
		authority = map[string]string{"wget": " --ca-certificate=" + caFile, "curl": " --cacert " + caFile}[program]
	}
	command := "wget --no-verbose --https-only --max-redirect=0 --tries=4 --timeout=60" + authority + " -O " + scriptFile + " " + c.URL + "/" + ScriptName
	if program == "curl" {
		command = "curl --fail --silent --show-error --proto =https --max-redirs 0 --retry 3 --connect-timeout 60" + authority + " --output " + scriptFile + " " + c.URL + "/" + ScriptName
	}
	return append(append([]string{fmt.Sprintf(`trap "rm -rf %s/boot/efi/* %[1]s/boot/*; echo %s >/dev/console" EXIT`, target, failedText)}, out...),
		command,
		fmt.Sprintf(`echo "%s  %s" | sha256sum -c`, digest, scriptFile),
		"sh "+scriptFile,
		"trap - EXIT")
}

// checkDisk are the commands that look at the disk before anything is written, and refuse one that holds data. They set $disk to its device. refuse is what to
// do with $reason then. None has a single quote or a backslash in it.
func checkDisk(c Config, refuse string) []string {
	out := []string{
		"reason=\"the look at " + c.Disk + " has failed\"",
		"refuse() { " + refuse + "; }",
		"trap refuse EXIT",
		"udevadm settle",
		"if ! [ -b " + c.Disk + " ]; then reason=\"there is no disk " + c.Disk + "\"; exit 1; fi",
		"disk=$(readlink -f " + c.Disk + ")",
		"name=${disk##*/}",
		"sectors=$(cat /sys/block/$name/size)",
	}
	if !c.Overwrite {
		// A partition, or one byte that is not zero where file systems, RAID, LVM, LUKS and partition tables have their marks: at both ends.
		out = append(out,
			"reason=\"the disk "+c.Disk+" has partitions and is left alone: wipe it (blkdiscard), or allow overwriting it\"",
			"for part in /sys/block/$name/$name*; do if [ -e $part ]; then exit 1; fi; done",
			"reason=\"the disk "+c.Disk+" holds data and is left alone: wipe it (blkdiscard), or allow overwriting it\"",
			"dd if=/dev/zero of=/tmp/strongroom-zero bs=512 count=8192 2>/dev/null",
			"dd if=$disk of=/tmp/strongroom-head bs=512 count=8192 2>/dev/null",
			"dd if=$disk of=/tmp/strongroom-tail bs=512 count=8192 skip=$((sectors - 8192)) 2>/dev/null",
			"cmp -s /tmp/strongroom-zero /tmp/strongroom-head",
			"cmp -s /tmp/strongroom-zero /tmp/strongroom-tail",
			"rm -f /tmp/strongroom-zero /tmp/strongroom-head /tmp/strongroom-tail")
	}
	return append(out, "trap - EXIT")
}
