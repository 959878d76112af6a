package image

import (
	"context"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"

	"github.com/strongroom/strongroom/internal/lock"
)

const (
	stepBaseTree       = "base tree"
	stepOverlay        = "overlay"
	stepSeal           = "seal"
	stepLeakGate       = "leak gate"
	stepRootFilesystem = "root filesystem"
	stepVerity         = "verity"
	stepInitrd         = "initrd"
	stepUnifiedKernel  = "unified kernel image"
	stepDisk           = "disk"
	stepConvert        = "convert"
	stepManifest       = "manifest"
	stepPublish        = "publish"
)

const treeDir = "tree" // of the work directory

// BaseTree makes the tree of the packages of the lock, from the cache when it holds one, and starts making the
// initrd, which depends on nothing but this tree.
func (a *Assembly) BaseTree(ctx context.Context) error {
	return a.step(ctx, stepBaseTree, "", func(ctx context.Context) error {
		if err := a.takeLock(ctx); err != nil {
			return err
		}
		name := "base-" + a.result.BaseKey + ".tar"
		cached, err := a.cache.open(name, 0)
		if err != nil {
			return err
		}
		if cached != nil {
			defer cached.Close()
			a.result.BaseCached = true
			if err := a.unpack(ctx, treeDir, cached); err != nil {
				return withHint(fmt.Errorf("cannot unpack the cached base tree %s: %w", cached.Name(), err), "remove the file and bake again")
			}
		} else if err := a.bootstrap(ctx, name); err != nil {
			return err
		}
		if err := a.startInitrd(ctx); err != nil {
			return err
		}
		return a.mountKernelFilesystems(ctx, treeDir)
	})
}

// bootstrap makes the tree with mmdebstrap out of the pool, and puts it into the cache.
func (a *Assembly) bootstrap(ctx context.Context, name string) error {
	if err := a.makePool(ctx); err != nil {
		return err
	}
	a.log.InfoContext(ctx, "installing packages", "distribution", a.spec.Distribution, "packages", len(a.lock.Packages))
	cmd := a.box.command(ctx, bootstrapArgs(a.spec.Distribution, a.lock.Packages, a.box.path(poolDir), a.box.path(treeDir))...)
	// INITRD=No tells the kernel's maintainer script to make no initrd: ours is another one.
	cmd.Env = append(cmd.Env, "INITRD=No", fmt.Sprintf("SOURCE_DATE_EPOCH=%d", a.spec.Epoch.Unix()))
	if err := a.box.run(cmd); err != nil {
		return fmt.Errorf("cannot make the base tree: %w", err)
	}
	if err := a.checkInstalled(ctx); err != nil {
		return fmt.Errorf("the base tree is not what the lock says: %w", err)
	}
	if err := a.box.files.RemoveAll(poolDir); err != nil {
		return err
	}
	return a.cache.put(name, func(w io.Writer) error {
		cmd := a.box.command(ctx, "tar", "--create", "--directory="+a.box.path(treeDir), "--numeric-owner", "--sort=name",
			"--exclude=./dev/*", // made by root's bake only; an ordinary user could not unpack them
			"--file=-", ".")
		cmd.Stdout = w
		return a.box.run(cmd)
	})
}

// unpack makes a directory of the work directory from a tar.
func (a *Assembly) unpack(ctx context.Context, dir string, r io.Reader) error {
	if err := a.box.files.Mkdir(dir, 0o755); err != nil {
		return err
	}
	cmd := a.box.command(ctx, "tar", "--extract", "--directory="+a.box.path(dir), "--numeric-owner", "--preserve-permissions", "--file=-")
	cmd.Stdin = r
	return a.box.run(cmd)
}

// bootstrapArgs is the argv of mmdebstrap. The mode is root in either case: in an ordinary
// user's sandbox, root is the namespace's. Every package is named: nothing is left for apt to choose.
func bootstrapArgs(distribution string, packages []lock.Package, pool, tree string) []string {
	suite := distributions[distribution].suite
	names := make([]string, len(packages))
	for i, p := range packages {
		names[i] = p.Name
	}
	args := []string{
		"mmdebstrap",
		"--mode=root",
		"--format=directory",
		"--variant=essential", // no apt in the tree: it is never in the image, and the host's works as well
		"--architectures=amd64",
		"--include=" + strings.Join(names, ","),
		"--aptopt=Acquire::Languages \"none\"",
		"--aptopt=APT::Install-Recommends \"false\"",
		"--dpkgopt=force-unsafe-io", // the tree is a file system that no crash survives anyway
	}
	for _, p := range unwantedPaths {
		args = append(args, "--dpkgopt=path-exclude="+p)
	}
	args = append(args, "--dpkgopt=path-include="+documentation+"/*/copyright")
	return append(args, suite, tree, poolSource(suite, pool))
}

// documentation is where packages have theirs. Copyright files stay until the seal, for the bill of materials.
const documentation = "/usr/share/doc"

// unwantedPaths are never unpacked.
var unwantedPaths = []string{
	documentation + "/*", "/usr/share/info/*", "/usr/share/lintian/*", "/usr/share/locale/*", "/usr/share/man/*",
	"/usr/share/bash-completion/*", "/usr/share/zsh/*",
}

// mountKernelFilesystems gives commands in the tree what they expect of a running system: proc, the
// harmless devices, a run directory with the host's name servers, a tmp. They are mounts of the
// sandbox, so they end with it, and unmountKernelFilesystems takes them off before the tree becomes
// a file system.
func (a *Assembly) mountKernelFilesystems(ctx context.Context, tree string) error {
	for _, dir := range []string{"proc", "sys", "dev", "run", "tmp"} {
		if err := a.box.run(a.box.command(ctx, "mkdir", "-p", a.box.path(tree, dir))); err != nil {
			return err
		}
	}
	mounts := [][]string{
		{"--rbind", "/proc", a.box.path(tree, "proc")},
		{"-t", "tmpfs", "-o", "mode=0755,nosuid", "strongroom", a.box.path(tree, "dev")},
		{"-t", "tmpfs", "-o", "mode=0755,nosuid,nodev", "strongroom", a.box.path(tree, "run")},
		{"-t", "tmpfs", "-o", "mode=1777,nosuid,nodev", "strongroom", a.box.path(tree, "tmp")},
	}
	for _, m := range mounts {
		if err := a.box.run(a.box.command(ctx, append([]string{"mount"}, m...)...)); err != nil {
			return err
		}
	}
	dev := filepath.Join(tree, "dev")
	for _, d := range []string{"null", "zero", "full", "random", "urandom", "tty"} {
		target := filepath.Join(dev, d)
		f, err := a.box.files.OpenFile(target, os.O_CREATE|os.O_WRONLY, 0o666)
		if err != nil {
			return err
		}
		f.Close()
		if err := a.box.run(a.box.command(ctx, "mount", "--bind", "/dev/"+d, a.box.path(target))); err != nil {
			return err
		}
	}
	for link, target := range map[string]string{"fd": "/proc/self/fd", "stdin": "/proc/self/fd/0", "stdout": "/proc/self/fd/1", "stderr": "/proc/self/fd/2"} {
		if err := a.box.files.Symlink(target, filepath.Join(dev, link)); err != nil {
			return err
		}
	}
	// Where systemd-resolved would write it: the overlay links /etc/resolv.conf there.
	servers, err := os.ReadFile("/etc/resolv.conf")
	if err != nil {
		return nil // a host without name servers; the commands will say so if they want any
	}
	resolve := filepath.Join(tree, "run/systemd/resolve")
	if err := a.box.files.MkdirAll(resolve, 0o755); err != nil {
		return err
	}
	return a.box.files.WriteFile(filepath.Join(resolve, "resolv.conf"), servers, 0o644)
}

func (a *Assembly) unmountKernelFilesystems(ctx context.Context, tree string) error {
	for _, dir := range []string{"tmp", "run", "dev", "proc"} {
		if err := a.box.run(a.box.command(ctx, "umount", "--recursive", "--lazy", a.box.path(tree, dir))); err != nil {
			return err
		}
	}
	return nil
}
