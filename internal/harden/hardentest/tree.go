//go:build bake

// Package hardentest makes the tree that the hardening is tried on: Debian from its packages, as an installer leaves it, without a kernel.
package hardentest

import (
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/strongroom/strongroom/internal/image"
)

// packagesOfTree are what the hardening needs, so that no test downloads anything more, and what it takes away.
var packagesOfTree = []string{
	"acpid", "apparmor", "ca-certificates", "chrony", "cryptsetup-bin", "kmod", "nftables", "openssh-server", "rsync", "sudo", "systemd-resolved", "systemd-sysv", "udev",
}

// stubs are programs that want a kernel, a boot loader or systemd.
var stubs = map[string]string{
	"systemctl":        "case \"$1 $2\" in is-system-running*) echo running ;; esac\n",
	"update-initramfs": "touch /boot/initrd.img-*\n",
	"update-grub":      "echo \" linux x $(cat /usr/lib/strongroom/cmdline.d/*.conf | grep -v '^#' | tr '\\n' ' ')\" >/boot/grub/grub.cfg\n",
}

// Archive is a tar with the tree, made once and kept in the cache.
func Archive(t *testing.T) string {
	t.Helper()
	cache, err := image.UserCache()
	if err != nil {
		t.Fatal(err)
	}
	name := filepath.Join(cache, "harden-bookworm.tar")
	if info, err := os.Stat(name); err == nil && time.Since(info.ModTime()) < 7*24*time.Hour {
		return name
	}
	cmd := exec.Command("mmdebstrap", "--quiet", "--mode=root", "--format=tar", "--variant=important", "--include="+strings.Join(packagesOfTree, ","),
		`--aptopt=APT::Install-Recommends "false"`, "--dpkgopt=force-unsafe-io", "--dpkgopt=path-exclude=/usr/share/locale/*",
		"--dpkgopt=path-exclude=/usr/share/man/*", `--customize-hook=chroot "$1" useradd --create-home --uid 1000 --groups sudo build`, "bookworm", name+".partial")
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	if err := os.Rename(name+".partial", name); err != nil {
		t.Fatal(err)
	}
	return name
}

// Unpack makes the tree in a directory that does not exist yet. What wants a kernel, a boot loader or systemd is a stand-in.
func Unpack(t *testing.T, tree string) {
	t.Helper()
	unpacked := exec.Command("tar", "--extract", "--numeric-owner", "--preserve-permissions", "--directory", tree, "--file", Archive(t))
	if err := errors.Join(os.Mkdir(tree, 0o755), unpacked.Run()); err != nil {
		t.Fatal(err)
	}
	if out, err := exec.Command("cp", "--dereference", "--remove-destination", "/etc/resolv.conf", filepath.Join(tree, "etc/resolv.conf")).CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	if err := os.MkdirAll(filepath.Join(tree, "boot/grub"), 0o755); err != nil { // as the boot loader's package does
		t.Fatal(err)
	}
	for name, text := range stubs {
		if err := os.WriteFile(filepath.Join(tree, "usr/local/sbin", name), []byte("#!/bin/sh\n"+text), 0o755); err != nil {
			t.Fatal(err)
		}
	}
}
