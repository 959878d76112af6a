package plain

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"time"
)

// Suites are the releases of Debian that a machine can be.
var Suites = []string{"bookworm", "trixie"}

// packages make what the Debian installer and the images of the clouds have in common: those of priority important, a kernel
// with its boot loader, and a way in.
var packages = []string{
	"ca-certificates", "chrony", "dbus", "grub-efi-amd64", "initramfs-tools", "libpam-systemd", "linux-image-cloud-amd64", "nftables",
	"openssh-server", "sudo", "systemd-resolved", "systemd-sysv", "zstd",
}

// maxTreeAge is how long a tree is reused: the archive moves on.
const maxTreeAge = 7 * 24 * time.Hour

// bootstrapArgs is the argv of mmdebstrap, which writes the tree as a tar to its standard output. The hooks give the
// machine its build user: what else it has of its own comes with each disk.
func bootstrapArgs(suite string) []string {
	return []string{
		"mmdebstrap", "--quiet", "--mode=auto", "--format=tar", "--variant=important", "--architectures=amd64",
		"--include=" + strings.Join(packages, ","),
		`--aptopt=Acquire::Languages "none"`,
		`--aptopt=APT::Install-Recommends "false"`,
		`--aptopt=Acquire::Retries "2"`,
		"--dpkgopt=force-unsafe-io",
		"--dpkgopt=path-exclude=/usr/share/locale/*", "--dpkgopt=path-exclude=/usr/share/man/*",
		`--customize-hook=chroot "$1" useradd --create-home --shell /bin/bash --uid ` + buildID + " " + User,
		`--customize-hook=chroot "$1" systemctl enable systemd-networkd.service systemd-resolved.service`,
		suite, "-",
	}
}

// tree is the file with a suite's tree, made if the cache has none that is young enough.
func tree(ctx context.Context, suite, cache string, log *slog.Logger) (string, error) {
	if !slices.Contains(Suites, suite) {
		return "", fmt.Errorf("no machine can be Debian %s: want one of %s", suite, strings.Join(Suites, ", "))
	}
	args := bootstrapArgs(suite)
	recipe := sha256.Sum256([]byte(strings.Join(args, "\x00")))
	path := filepath.Join(cache, "plain-"+suite+"-"+hex.EncodeToString(recipe[:8])+".tar")
	if st, err := os.Stat(path); err == nil && time.Since(st.ModTime()) < maxTreeAge {
		return path, nil
	} else if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return "", fmt.Errorf("cannot read the cache: %w", err)
	}
	if err := os.MkdirAll(cache, 0o755); err != nil {
		return "", fmt.Errorf("cannot make the cache: %w", err)
	}
	log.InfoContext(ctx, "installing packages", "distribution", "debian/"+suite)
	temporary, err := os.CreateTemp(cache, ".partial-plain-*")
	if err != nil {
		return "", fmt.Errorf("cannot write to the cache: %w", err)
	}
	defer os.Remove(temporary.Name())
	defer temporary.Close()
	cmd := exec.CommandContext(ctx, args[0], args[1:]...)
	cmd.Env = append(os.Environ(), "DEBIAN_FRONTEND=noninteractive", "LC_ALL=C.UTF-8")
	cmd.Stdout = temporary
	if err := run(cmd); err != nil {
		return "", err
	}
	if err := errors.Join(temporary.Chmod(0o644), temporary.Close()); err != nil {
		return "", err
	}
	return path, os.Rename(temporary.Name(), path)
}

// run runs a tool. An error has what it wrote last to its standard error.
func run(cmd *exec.Cmd) error {
	var said strings.Builder
	cmd.Stderr = &said
	err := cmd.Run()
	if errors.Is(err, exec.ErrNotFound) {
		return fmt.Errorf("%w\nhint: install what is missing with `make deps`", err)
	}
	if err != nil {
		text := strings.TrimSpace(said.String())
		return fmt.Errorf("%s: %w: %s", cmd.Args[0], err, text[max(0, len(text)-2000):])
	}
	return nil
}
