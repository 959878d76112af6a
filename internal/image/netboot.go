package image

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"

	"github.com/strongroom/strongroom/internal/datadisk"
	"github.com/strongroom/strongroom/internal/digest"
	"github.com/strongroom/strongroom/internal/install"
	"github.com/strongroom/strongroom/internal/netboot"
)

// Netboot is what the format netboot needs beside the image.
type Netboot struct {
	DataDisk string // which disk of the machine the node may use: internal/datadisk's selector

	// InstallDisk, in its place, is the disk that the machine installs the image to, before it starts from there. InstallURL is the https URL of
	// the directory that the bundle's disk-DIGEST.img is served from.
	InstallDisk, InstallURL string

	// KeyFile and CertificateFile sign for iPXE's imgverify: PEM, the certificate followed by what leads to its authority.
	KeyFile, CertificateFile string
}

// Files of the work directory.
const (
	netbootRoot = "netboot-root.cpio"
	netbootUKI  = "netboot.efi"
)

// validate says what is wrong with the disks of a bundle.
func (n Netboot) validate() error {
	switch {
	case n.InstallDisk == "" && n.InstallURL == "":
		if _, err := datadisk.ParseSelector(n.DataDisk); err != nil {
			return fmt.Errorf("data_disk: %w", err) // the attribute of the builder's block
		}
		return nil
	case n.DataDisk != "":
		return errors.New("a machine runs from memory with a data_disk, or installs to install_disk: leave one out")
	}
	var errs []error
	if _, err := datadisk.ParseSelector(n.InstallDisk); err != nil {
		errs = append(errs, fmt.Errorf("install_disk: %w", err))
	}
	if _, err := install.ParseBase(n.InstallURL); err != nil {
		errs = append(errs, fmt.Errorf("install_url: %w", err))
	}
	return errors.Join(errs...)
}

// planNetboot makes the command line of a bundle: that of the disk, with the devices of the root in memory instead of partitions, and
// the disk for the node's data or the one to install to.
func (a *Assembly) planNetboot(ctx context.Context) error {
	line := a.result.CommandLine + " systemd.verity_root_data=" + netboot.RootDevice + " systemd.verity_root_hash=" + netboot.HashDevice
	if a.spec.Netboot.InstallDisk == "" {
		a.netbootLine = line + " strongroom.data_disk=" + a.spec.Netboot.DataDisk
		return nil
	}
	image, err := a.installed(ctx)
	if err != nil {
		return fmt.Errorf("cannot read the disk that is to be installed: %w", err)
	}
	order := install.Order{Image: image}
	if order.Disk, err = datadisk.ParseSelector(a.spec.Netboot.InstallDisk); err != nil {
		return err
	}
	if order.URL, err = install.ImageURL(a.spec.Netboot.InstallURL, netboot.NameOf(netboot.Disk, image.SHA256)); err != nil {
		return err
	}
	a.netbootLine = line + " " + order.Arguments()
	return nil
}

// openInstalled gives what of the disk is installed: all of it up to the end of the last partition.
func (a *Assembly) openInstalled() (*os.File, int64, error) {
	f, err := a.box.files.Open(diskName(FormatRaw))
	if err != nil {
		return nil, 0, err
	}
	last := a.disk.partitions[len(a.disk.partitions)-1]
	return f, last.Start + last.Size, nil
}

func (a *Assembly) installed(ctx context.Context) (install.Image, error) {
	f, size, err := a.openInstalled()
	if err != nil {
		return install.Image{}, err
	}
	defer f.Close()
	sum, _, err := digest.Of(ctx, io.LimitReader(f, size))
	return install.Image{SHA256: sum, Size: size, Disk: a.disk.size}, err
}

// stageInstalled copies it into the bundle.
func (a *Assembly) stageInstalled(ctx context.Context, dir string) (netboot.File, error) {
	in, size, err := a.openInstalled()
	if err != nil {
		return netboot.File{}, err
	}
	defer in.Close()
	out, err := os.CreateTemp(dir, ".disk-")
	if err != nil {
		return netboot.File{}, err
	}
	defer out.Close()
	size, sum, err := copySparse(ctx, out, io.LimitReader(in, size))
	if err != nil {
		return netboot.File{}, err
	}
	name := netboot.NameOf(netboot.Disk, sum)
	if err := out.Chmod(0o644); err != nil {
		return netboot.File{}, err
	}
	if err := os.Rename(out.Name(), filepath.Join(dir, name)); err != nil {
		return netboot.File{}, err
	}
	return netboot.File{Role: netboot.Disk, Name: name, Size: size, SHA256: sum}, out.Close()
}

// netbootParts makes the files of the bundle that the disk does not have: the root as an archive, and the unified
// kernel image that carries it. So one signature is about everything that the node starts from.
func (a *Assembly) netbootParts(ctx context.Context) error {
	if err := a.packRoot(); err != nil {
		return fmt.Errorf("cannot pack the root for the network: %w", err)
	}
	if err := a.planNetboot(ctx); err != nil {
		return err
	}
	u := uki{name: netbootUKI, commandLine: a.netbootLine, initrd: []string{initrdFile, netbootRoot}}
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
		CommandLine: a.netbootLine,
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
	if a.spec.Netboot.InstallDisk != "" {
		f, err := a.stageInstalled(ctx, dir)
		if err != nil {
			return err
		}
		m.Files = append(m.Files, f)
	}
	m, err := netboot.Finish(ctx, dir, m, a.signer)
	if err != nil {
		return fmt.Errorf("cannot make the netboot bundle: %w", err)
	}
	a.result.Netboot = &m
	return nil
}
