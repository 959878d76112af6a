package image

import (
	"context"
	"fmt"
	"io"
	"os"
	"strings"
)

// Partition types of the Discoverable Partitions Specification, amd64.
const (
	typeESP        = "c12a7328-f81f-11d2-ba4b-00a0c93ec93b"
	typeRoot       = "4f68bce3-e8cd-4db1-96e7-fbcaf984b709"
	typeRootVerity = "2c7357ed-ebd2-46d9-aec1-23d437ec2bf5"
)

const (
	mebibyte = 1 << 20
	gibibyte = 1 << 30
	sector   = 512
	// espSize leaves room for a second unified kernel image beside the first. It is sparse, and large enough
	// for FAT32 with clusters of 2 KiB: firmware refuses FAT32 with fewer than 65525 clusters.
	espSize = 256 * mebibyte
)

// diskPlan is the layout of the disk: a pure function of the sizes and the root hash.
type diskPlan struct {
	id         string // GUID of the disk
	size       int64
	partitions []Partition
}

// planDisk lays out the EFI system partition, the root and its hash tree, and leaves dataSize bytes free for what
// systemd-repart makes on the first boot: dataSize or more, because the disk is a whole number of GiB. Google Cloud
// takes no other, Azure wants whole MiB, and one disk for all is one digest for all. The UUIDs of root and hash tree are the two halves of the root hash:
// that is how the initrd finds them.
func planDisk(rootHash string, rootSize, veritySize, dataSize int64) diskPlan {
	p := diskPlan{id: uuidOf(derive("disk", []byte(rootHash)))}
	at := int64(mebibyte)
	add := func(label, kind, uuid string, size int64) {
		size = alignUp(size, mebibyte)
		p.partitions = append(p.partitions, Partition{Label: label, Type: kind, UUID: uuid, Start: at, Size: size})
		at += size
	}
	add("strongroom-esp", typeESP, uuidOf(derive("esp", []byte(rootHash))), espSize)
	add("strongroom-root", typeRoot, uuidOf(rootHash[:32]), rootSize)
	add("strongroom-root-verity", typeRootVerity, uuidOf(rootHash[32:]), veritySize)
	p.size = alignUp(at+dataSize+mebibyte, gibibyte) // the last MiB holds the backup table
	return p
}

// script is the plan for sfdisk(8). Root and hash tree are read-only and never grown.
func (p diskPlan) script() string {
	var b strings.Builder
	fmt.Fprintf(&b, "label: gpt\nlabel-id: %s\nunit: sectors\nsector-size: %d\n\n", strings.ToUpper(p.id), sector)
	for _, part := range p.partitions {
		fmt.Fprintf(&b, "start=%d, size=%d, type=%s, uuid=%s, name=\"%s\"", part.Start/sector, part.Size/sector,
			strings.ToUpper(part.Type), strings.ToUpper(part.UUID), part.Label)
		if part.Type != typeESP {
			b.WriteString(`, attrs="GUID:60"`)
		}
		b.WriteString("\n")
	}
	return b.String()
}

// Disk writes the GPT disk image.
func (a *Assembly) Disk(ctx context.Context) error {
	return a.step(ctx, stepDisk, stepUnifiedKernel, func(ctx context.Context) error {
		if err := a.writeDisk(ctx); err != nil {
			return fmt.Errorf("cannot write the disk: %w", err)
		}
		return nil
	})
}

func (a *Assembly) writeDisk(ctx context.Context) error {
	size := map[string]int64{}
	for _, name := range []string{"root.squashfs", "root.verity", diskUKI} {
		st, err := a.box.files.Stat(name)
		if err != nil {
			return err
		}
		size[name] = st.Size()
	}
	if size[diskUKI] > espSize*3/4 {
		return fmt.Errorf("the unified kernel image has %d MiB, the EFI system partition %d", size[diskUKI]>>20, int64(espSize)>>20)
	}
	a.disk = planDisk(a.result.RootHash, size["root.squashfs"], size["root.verity"], a.spec.DataSize)
	a.result.Partitions = a.disk.partitions

	f, err := a.box.files.OpenFile("disk.raw", os.O_CREATE|os.O_EXCL|os.O_RDWR, 0o644)
	if err != nil {
		return err
	}
	defer f.Close()
	if err := f.Truncate(a.disk.size); err != nil {
		return err
	}
	sfdisk := a.box.command(ctx, "sfdisk", "--quiet", "--no-reread", "--no-tell-kernel", a.box.path("disk.raw"))
	sfdisk.Stdin = strings.NewReader(a.disk.script())
	if err := a.box.run(sfdisk); err != nil {
		return err
	}
	if err := a.writeESP(ctx, a.disk.partitions[0]); err != nil {
		return err
	}
	for i, name := range []string{"root.squashfs", "root.verity"} {
		if err := a.copyToDisk(f, name, a.disk.partitions[1+i].Start); err != nil {
			return err
		}
	}
	return f.Close()
}

// writeESP makes the FAT file system in place. The firmware starts the unified kernel image by its fallback
// name: no boot loader, no boot entry in the machine's memory.
func (a *Assembly) writeESP(ctx context.Context, esp Partition) error {
	disk := a.box.path("disk.raw")
	serial := derive("fat serial", []byte(a.result.RootHash))[:8]
	if err := a.box.run(a.box.command(ctx, "mkfs.vfat", "--invariant", "-F", "32", "-s", "4", "-S", fmt.Sprint(sector), "-n", "STRONGROOM",
		"-i", serial, "--offset", fmt.Sprint(esp.Start/sector), disk, fmt.Sprint(esp.Size/1024))); err != nil {
		return err
	}
	image := fmt.Sprintf("%s@@%d", disk, esp.Start)
	for _, argv := range [][]string{
		{"mmd", "-i", image, "::/EFI", "::/EFI/BOOT"},
		{"mcopy", "-i", image, a.box.path(diskUKI), "::/EFI/BOOT/BOOTX64.EFI"},
	} {
		cmd := a.box.command(ctx, argv...)
		cmd.Env = append(cmd.Env, "MTOOLS_SKIP_CHECK=1", "TZ=UTC", fmt.Sprintf("SOURCE_DATE_EPOCH=%d", a.spec.Epoch.Unix()))
		if err := a.box.run(cmd); err != nil {
			return err
		}
	}
	return nil
}

func (a *Assembly) copyToDisk(disk *os.File, name string, at int64) error {
	f, err := a.box.files.Open(name)
	if err != nil {
		return err
	}
	defer f.Close()
	_, err = io.Copy(io.NewOffsetWriter(disk, at), f)
	return err
}
