package image

import (
	"archive/tar"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"path"
	"slices"
	"strings"
)

// kernelFiles is what the unified kernel image needs of the tree, taken out before it is sealed.
type kernelFiles struct {
	release     string
	osRelease   string
	commandLine []string // pieces of the tree, in order
}

// commandLineDir holds the pieces of the kernel command line that the image's controls state.
const commandLineDir = "/usr/lib/strongroom/cmdline.d"

// sealedPaths go whatever package they are of. They are find(1) start points, removed with all that is below.
var sealedPaths = []string{
	"/boot", "/vmlinuz", "/vmlinuz.old", "/initrd.img", "/initrd.img.old", // the kernel is in the unified kernel image
	"/etc/apparmor", "/etc/apparmor.d", "/etc/apt", "/etc/dpkg", "/etc/debconf.conf", "/etc/kernel", "/etc/initramfs-tools", "/etc/dracut.conf", "/etc/dracut.conf.d",
	"/etc/init.d", "/etc/rc0.d", "/etc/rc1.d", "/etc/rc2.d", "/etc/rc3.d", "/etc/rc4.d", "/etc/rc5.d", "/etc/rc6.d", "/etc/rcS.d",
	"/etc/cron.d", "/etc/cron.daily", "/etc/cron.hourly", "/etc/cron.monthly", "/etc/cron.weekly", "/etc/logrotate.d",
	"/etc/passwd-", "/etc/group-", "/etc/shadow-", "/etc/gshadow-", "/etc/subuid-", "/etc/subgid-", "/etc/.pwd.lock",
	"/etc/hostname", "/etc/ssh", "/root/.bash_history", "/root/.cache", "/root/.gnupg", "/root/.ssh",
	"/usr/share/doc", "/usr/share/info", "/usr/share/lintian", "/usr/share/locale", "/usr/share/man", "/usr/share/doc-base",
	"/usr/share/bash-completion", "/usr/share/zsh", "/usr/share/bug", "/usr/share/common-licenses", "/usr/share/perl5", "/usr/share/debconf",
	"/usr/src",
	"/usr/lib/systemd/systemd-journal-gatewayd", "/usr/lib/systemd/systemd-journal-remote", // a node ships its journal, and receives none
	"/usr/lib/udev/hwdb.d", // hwdb.bin is what udev reads
	// Nobody logs in, becomes somebody else, or looks into a file system past its mount.
	"/usr/bin/login", "/usr/bin/newgrp", "/usr/bin/run0", "/usr/bin/sg", "/usr/bin/su", "/usr/sbin/agetty", "/usr/sbin/debugfs", "/usr/sbin/getty", "/usr/sbin/runuser", "/usr/sbin/sulogin",
}

// emptiedPaths stay as empty directories: mount points of the running system, and places where state of the
// bake must not travel. /var is a partition of its own that tmpfiles.d fills on the first boot.
var emptiedPaths = []string{"/efi", "/home", "/media", "/mnt", "/var"}

// mountPoints are where the kernel's file systems lie in the running system.
var mountPoints = []string{"/dev", "/proc", "/run", "/sys", "/tmp"}

// danglingPaths may keep links to what has been sealed away, such as the units of apt's timers.
var danglingPaths = []string{"/etc/alternatives", "/etc/systemd", "/usr/bin", "/usr/sbin", "/usr/lib/systemd"}

// Seal writes down the packages, takes out the kernel, and removes what an image must not carry:
// the package manager, caches, logs, documentation, identities, set-id bits. After it the tree
// is what the node will see.
func (a *Assembly) Seal(ctx context.Context) error {
	return a.step(ctx, stepSeal, stepOverlay, func(ctx context.Context) error {
		if err := a.takeKernel(ctx); err != nil {
			return fmt.Errorf("cannot take the kernel out of the tree: %w", err)
		}
		if err := a.listPackages(ctx); err != nil {
			return fmt.Errorf("cannot list the packages: %w", err)
		}
		if err := a.writeBill(ctx); err != nil {
			return fmt.Errorf("cannot write the bill of materials: %w", err)
		}
		if err := a.sealPackages(ctx); err != nil {
			return fmt.Errorf("cannot seal the packages away: %w", err)
		}
		if err := a.writeIdentity(ctx); err != nil {
			return fmt.Errorf("cannot write the image's identity: %w", err)
		}
		find := func(start []string, expression ...string) error {
			return a.box.run(a.Command(ctx, slices.Concat([]string{"find"}, start, []string{"-xdev"}, expression)...))
		}
		if err := a.box.run(a.Command(ctx, append([]string{"rm", "-rf", "--one-file-system", "--"}, sealedPaths...)...)); err != nil {
			return err
		}
		if err := a.box.run(a.Command(ctx, append([]string{"mkdir", "-p", "--"}, emptiedPaths...)...)); err != nil {
			return err
		}
		if err := find(emptiedPaths, "-mindepth", "1", "-delete"); err != nil {
			return err
		}
		if err := find(danglingPaths, "-xtype", "l", "-delete"); err != nil {
			return err
		}
		if err := find([]string{"/"}, "-perm", "/6000", "-type", "f", "-exec", "chmod", "a-s", "--", "{}", "+"); err != nil {
			return err
		}
		if err := a.unmountKernelFilesystems(ctx, treeDir); err != nil {
			return err
		}
		// What lay below the mounts: device nodes of mmdebstrap, where it could make any.
		return find(mountPoints, "-mindepth", "1", "-delete")
	})
}

// takeKernel copies the kernel and the boot stub into the work directory and reads what will be
// measured beside them.
func (a *Assembly) takeKernel(ctx context.Context) error {
	releases, err := a.box.output(a.Command(ctx, "ls", "/usr/lib/modules"))
	if err != nil {
		return err
	}
	if a.kernel.release, err = oneKernel(string(releases)); err != nil {
		return err
	}
	a.result.Kernel = a.kernel.release
	for name, src := range map[string]string{
		kernelFile: "/boot/vmlinuz-" + a.kernel.release,
		"stub.efi": "/usr/lib/systemd/boot/efi/linuxx64.efi.stub",
	} {
		f, err := a.box.files.Create(name)
		if err != nil {
			return err
		}
		if err := errors.Join(a.Download(ctx, src, f), f.Close()); err != nil {
			return err
		}
	}
	if err := a.box.run(a.Command(ctx, "test", "-s", "/usr/lib/modules/"+a.kernel.release+"/modules.dep")); err != nil {
		return fmt.Errorf("no modules.dep of kernel %s: depmod has not run", a.kernel.release)
	}
	if a.box.run(a.Command(ctx, "test", "-d", commandLineDir)) != nil {
		return nil // an overlay without kernel arguments
	}
	var pieces bytes.Buffer
	if err := a.DownloadTar(ctx, commandLineDir, &pieces); err != nil {
		return err
	}
	a.kernel.commandLine, err = commandLinePieces(&pieces)
	return err
}

// commandLinePieces reads the *.conf files of a tar in name order: arguments separated by white
// space, comments from '#' at the start of a line.
func commandLinePieces(r io.Reader) ([]string, error) {
	files := map[string]string{}
	for t := tar.NewReader(r); ; {
		h, err := t.Next()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			return nil, err
		}
		if h.Typeflag != tar.TypeReg || path.Ext(h.Name) != ".conf" {
			continue
		}
		text, err := io.ReadAll(t)
		if err != nil {
			return nil, err
		}
		files[h.Name] = string(text)
	}
	var names, args []string
	for name := range files {
		names = append(names, name)
	}
	slices.Sort(names)
	for _, name := range names {
		args = append(args, KernelArguments(files[name])...)
	}
	return args, nil
}

// KernelArguments reads one piece of the kernel command line: arguments separated by white space, comments from '#' at the start
// of a line.
func KernelArguments(text string) []string {
	var args []string
	for line := range strings.Lines(text) {
		if line = strings.TrimSpace(line); !strings.HasPrefix(line, "#") {
			args = append(args, strings.Fields(line)...)
		}
	}
	return args
}

// writeIdentity names the image in os-release and leaves the machine without a name of its own.
func (a *Assembly) writeIdentity(ctx context.Context) error {
	text, err := a.box.output(a.Command(ctx, "cat", "/usr/lib/os-release"))
	if err != nil {
		return err
	}
	a.kernel.osRelease = osRelease(string(text), a.spec.Name, a.spec.Version)
	if err := a.Upload(ctx, "/usr/lib/os-release", 0o644, strings.NewReader(a.kernel.osRelease)); err != nil {
		return err
	}
	// Empty and not absent: a read-only root gives systemd no place to make it, only one to mount over.
	return a.Upload(ctx, "/etc/machine-id", 0o444, strings.NewReader(""))
}

// osRelease sets the image's id and version in an os-release(5).
func osRelease(text, id, version string) string {
	var out strings.Builder
	for line := range strings.Lines(text) {
		if !strings.HasPrefix(line, "IMAGE_ID=") && !strings.HasPrefix(line, "IMAGE_VERSION=") {
			out.WriteString(strings.TrimSuffix(line, "\n") + "\n")
		}
	}
	fmt.Fprintf(&out, "IMAGE_ID=%s\nIMAGE_VERSION=%s\n", id, version)
	return out.String()
}
