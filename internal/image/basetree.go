package image

import (
	"context"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"regexp"
	"strings"
)

const (
	stepBaseTree       = "base tree"
	stepOverlay        = "overlay"
	stepSeal           = "seal"
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

// BaseTree makes the tree of packages, from the cache when it holds one, and starts making the
// initrd, which depends on nothing but this tree.
func (a *Assembly) BaseTree(ctx context.Context) error {
	return a.step(ctx, stepBaseTree, "", func(ctx context.Context) error {
		name := "base-" + a.result.BaseKey + ".tar"
		maxAge := maxBaseAge
		if a.spec.Snapshot != "" {
			maxAge = 0
		}
		cached, err := a.cache.open(name, maxAge)
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

// bootstrap makes the tree with mmdebstrap and puts it into the cache.
func (a *Assembly) bootstrap(ctx context.Context, name string) error {
	a.log.InfoContext(ctx, "installing packages", "distribution", a.spec.Distribution, "archive", archiveName(a.spec))
	cmd := a.box.command(ctx, bootstrapArgs(a.spec, a.box.path(treeDir))...)
	// INITRD=No tells the kernel's maintainer script to make no initrd: ours is another one.
	cmd.Env = append(cmd.Env, "INITRD=No", fmt.Sprintf("SOURCE_DATE_EPOCH=%d", a.spec.Epoch.Unix()))
	if err := a.box.run(cmd); err != nil {
		return explainBootstrap(err, a.spec)
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
// user's sandbox, root is the namespace's.
func bootstrapArgs(s Spec, tree string) []string {
	d := distributions[s.Distribution]
	args := []string{
		"mmdebstrap",
		"--mode=root",
		"--format=directory",
		"--variant=essential", // no apt in the tree: it is never in the image, and the host's works as well
		"--architectures=amd64",
		"--include=" + strings.Join(packagesOf(s), ","),
		"--aptopt=Acquire::Languages \"none\"",
		"--aptopt=APT::Install-Recommends \"false\"",
		"--aptopt=Acquire::Retries \"2\"",
		"--aptopt=Acquire::http::Timeout \"20\"",
		"--dpkgopt=force-unsafe-io", // the tree is a file system that no crash survives anyway
	}
	for _, p := range unwantedPaths {
		args = append(args, "--dpkgopt=path-exclude="+p)
	}
	args = append(args, "--dpkgopt=path-include="+documentation+"/*/copyright")
	if s.Snapshot != "" {
		args = append(args, "--aptopt=Acquire::Check-Valid-Until \"false\"")
	}
	args = append(args, d.suite, tree)
	return append(args, sources(s)...)
}

// documentation is where packages have theirs. Copyright files stay until the seal, for the bill of materials.
const documentation = "/usr/share/doc"

// unwantedPaths are never unpacked.
var unwantedPaths = []string{
	documentation + "/*", "/usr/share/info/*", "/usr/share/lintian/*", "/usr/share/locale/*", "/usr/share/man/*",
	"/usr/share/bash-completion/*", "/usr/share/zsh/*",
}

const snapshotArchive = "http://snapshot.debian.org/archive"

// archiveName is the archive as a message names it.
func archiveName(s Spec) string {
	if s.Snapshot != "" {
		return firstOf(s.Mirror, snapshotArchive) + " of " + s.Snapshot
	}
	return firstOf(s.Mirror, "the distribution's own mirror")
}

// sources are the lines of sources.list; none means mmdebstrap's own for the suite.
func sources(s Spec) []string {
	suite := distributions[s.Distribution].suite
	lines := func(main, security string) []string {
		return []string{
			"deb " + main + " " + suite + " main",
			"deb " + main + " " + suite + "-updates main",
			"deb " + security + " " + suite + "-security main",
		}
	}
	switch {
	case s.Snapshot != "":
		root := strings.TrimSuffix(firstOf(s.Mirror, snapshotArchive), "/")
		return lines(root+"/debian/"+s.Snapshot+"/", root+"/debian-security/"+s.Snapshot+"/")
	case s.Mirror != "":
		return []string{"deb " + s.Mirror + " " + suite + " main"}
	default:
		return nil
	}
}

var (
	unknownPackage = regexp.MustCompile(`(?:Unable to locate package|Version '[^']*' for '|Couldn't find any package by (?:glob|regex) ')\s*([^\s';]+)|Package '?([^\s';]+)'? has no installation candidate`)
	unreachable    = regexp.MustCompile(`(?:Could not resolve|Could not connect to|Unable to connect to|Failed to fetch|Cannot initiate the connection to|Connection failed|does not have a Release file)[^;]*`)
)

// explainBootstrap turns what apt said into the place and the way out.
func explainBootstrap(err error, s Spec) error {
	text := err.Error()
	if m := unknownPackage.FindStringSubmatch(text); m != nil {
		return withHint(fmt.Errorf("package %s is not in the archive of %s: %w", firstOf(m[1], m[2]), s.Distribution, err),
			"correct the name in the list of packages, or choose a mirror or snapshot that has it")
	}
	if m := unreachable.FindString(text); m != "" {
		return withHint(fmt.Errorf("cannot reach the package archive (%s): %s", archiveName(s), m),
			"look at the network and at http_proxy, or choose another mirror")
	}
	return fmt.Errorf("cannot make the base tree: %w", err)
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
