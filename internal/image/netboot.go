package image

import (
	"context"
	"fmt"
	"os"
	"path/filepath"

	"github.com/strongroom/strongroom/internal/netboot"
)

// Netboot is what the format netboot needs beside the image.
type Netboot struct {
	DataDisk string // which disk of the machine the node may use: internal/datadisk's selector

	// KeyFile and CertificateFile sign for iPXE's imgverify: PEM, the certificate followed by what leads to its authority.
	KeyFile, CertificateFile string
}

// Files of the work directory.
const (
	netbootRoot = "netboot-root.cpio"
	netbootUKI  = "netboot.efi"
)

// netbootCommandLine is that of the disk, with the devices of the root in memory instead of partitions, and the
// disk for the node's data.
func (a *Assembly) netbootCommandLine() string {
	return a.result.CommandLine + " systemd.verity_root_data=" + netboot.RootDevice + " systemd.verity_root_hash=" + netboot.HashDevice +
		" strongroom.data_disk=" + a.spec.Netboot.DataDisk
}

// netbootParts makes the files of the bundle that the disk does not have: the root as an archive, and the unified
// kernel image that carries it. So one signature is about everything that the node starts from.
func (a *Assembly) netbootParts(ctx context.Context) error {
	if err := a.packRoot(); err != nil {
		return fmt.Errorf("cannot pack the root for the network: %w", err)
	}
	u := uki{name: netbootUKI, commandLine: a.netbootCommandLine(), initrd: []string{initrdFile, netbootRoot}}
	if err := a.makeUKI(ctx, u); err != nil {
		return fmt.Errorf("cannot make the unified kernel image for the network: %w", err)
	}
	return a.box.files.Remove(netbootUKI + ".initrd") // memory: it holds the root once more
}

func (a *Assembly) packRoot() error {
	root, err := a.box.files.Open("root.squashfs")
	if err != nil {
		return err
	}
	defer root.Close()
	hashes, err := a.box.files.Open("root.verity")
	if err != nil {
		return err
	}
	defer hashes.Close()
	out, err := a.box.files.Create(netbootRoot)
	if err != nil {
		return err
	}
	defer out.Close()
	if err := netboot.WriteRoot(out, root, hashes); err != nil {
		return err
	}
	return out.Close()
}

// stageNetboot puts the bundle into a directory.
func (a *Assembly) stageNetboot(ctx context.Context, dir string) error {
	if err := os.Mkdir(dir, 0o755); err != nil {
		return err
	}
	m := netboot.Manifest{
		Name: a.result.Name, Version: a.result.Version, Profile: a.result.Profile, RootHash: a.result.RootHash, Kernel: a.result.Kernel,
		CommandLine: a.netbootCommandLine(),
	}
	for _, part := range []struct {
		role netboot.Role
		file string
	}{{netboot.UnifiedKernel, netbootUKI}, {netboot.Kernel, kernelFile}, {netboot.Initrd, initrdFile}, {netboot.Root, netbootRoot}} {
		f, err := a.copyOut(ctx, part.file, filepath.Join(dir, part.file))
		if err != nil {
			return err
		}
		name := netboot.NameOf(part.role, f.SHA256)
		if err := os.Rename(filepath.Join(dir, part.file), filepath.Join(dir, name)); err != nil {
			return err
		}
		m.Files = append(m.Files, netboot.File{Role: part.role, Name: name, Size: f.Size, SHA256: f.SHA256})
	}
	m, err := netboot.Finish(ctx, dir, m, a.signer)
	if err != nil {
		return fmt.Errorf("cannot make the netboot bundle: %w", err)
	}
	a.result.Netboot = &m
	return nil
}
