package inspect

import (
	"bytes"
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"

	"github.com/strongroom/strongroom/internal/inspect/disk"
	"github.com/strongroom/strongroom/internal/inspect/fat"
	"github.com/strongroom/strongroom/internal/inspect/gpt"
)

// Types of the Discoverable Partitions Specification that an image may have, and those that others make.
const (
	typeESP        = "c12a7328-f81f-11d2-ba4b-00a0c93ec93b"
	typeRoot       = "4f68bce3-e8cd-4db1-96e7-fbcaf984b709"
	typeRootVerity = "2c7357ed-ebd2-46d9-aec1-23d437ec2bf5"
)

var typeNames = map[string]string{
	typeESP: "esp", typeRoot: "root-x86-64", typeRootVerity: "root-x86-64-verity",
	"41092b05-9fc8-4523-994f-2def0408b176": "root-x86-64-verity-sig",
	"8484680c-9521-48c6-9c11-b0720656f69e": "usr-x86-64",
	"77ff5f63-e7b6-4633-acf4-1565b864c0e6": "usr-x86-64-verity",
	"bc13c2ff-59e6-4262-a352-b275fd6f7172": "xbootldr",
	"0657fd6d-a4ab-43c4-84e5-0933c84b4f4f": "swap",
	"933ac7e1-2eb4-4f13-b844-0e14e2aef915": "home",
	"3b8f8425-20e0-4f3b-907f-1a25a76f98e8": "srv",
	"4d21b016-b534-45c2-a9fb-5c16e091fd2d": "var",
	"0fc63daf-8483-4772-8e79-3d69d8477de4": "linux-generic",
	"21686148-6449-6e6f-744e-656564454649": "bios-boot",
	"ebd0a0a2-b9e5-4433-87c0-68b6b72699c7": "basic-data",
	"ca7d7ccb-63ed-4c53-861c-1742536059cc": "luks",
	"e6d6d379-f507-44c2-a23c-238f2a3df928": "lvm",
}

// labelPrefix is that of the partitions of a bake.
const labelPrefix = "strongroom-"

// disk looks at the partition table and sorts out the partitions.
func (in *inspector) disk(ctx context.Context, d *disk.Disk) {
	t, err := gpt.Read(d, d.Size)
	if err != nil {
		in.add("partition-table", Unknown, "", "%v: the disk begins as %s", err, probe(io.NewSectionReader(d, 0, d.Size)))
		return
	}
	in.judge("partition-table-primary", "", t.PrimaryErr, "its checksums hold")
	in.judge("partition-table-backup", "", t.BackupErr, "its checksums hold")
	if t.Primary != nil && t.Backup != nil {
		in.judge("partition-table-copies", "", t.Protection, "both say the same")
	}
	in.judge("protective-mbr", "", t.Protective, "it keeps old tools off the disk")
	best := t.Best()
	if best == nil {
		return
	}
	in.Table = &Table{Disk: best.Disk}
	parts := slices.Clone(best.Partitions)
	slices.SortFunc(parts, func(a, b gpt.Partition) int { return cmp.Compare(a.Start, b.Start) })
	for _, p := range parts {
		in.ours = in.ours || strings.HasPrefix(p.Label, labelPrefix)
	}
	for _, p := range parts {
		dev := partitionDevice(d, p)
		out := Partition{
			Number: p.Number, Label: p.Label, Type: p.Type, Name: cmp.Or(typeNames[p.Type], "unknown"), UUID: p.UUID, Start: p.Start, Size: p.Size,
			Content: probe(dev.SectionReader),
		}
		if p.Attributes != 0 {
			out.Flags = fmt.Sprintf("%#x", p.Attributes)
		}
		switch p.Type {
		case typeESP:
			in.esp(dev, &out)
		case typeRoot:
			in.root = cmp.Or(in.root, dev)
		case typeRootVerity:
			in.hashes = cmp.Or(in.hashes, dev)
		}
		in.Table.Partitions = append(in.Table.Partitions, out)
	}
	in.promises(parts)
	in.unallocated(ctx, d, t, parts)
}

// promises takes the root hash that the numbers of root and hash tree are the two halves of.
func (in *inspector) promises(parts []gpt.Partition) {
	find := func(kind string) string {
		i := slices.IndexFunc(parts, func(p gpt.Partition) bool { return p.Type == kind })
		if i < 0 {
			return ""
		}
		return strings.ReplaceAll(parts[i].UUID, "-", "")
	}
	if root, tree := find(typeRoot), find(typeRootVerity); root != "" && tree != "" {
		in.said = append(in.said, Said{"the UUIDs of the partitions", root + tree})
	}
}

// unallocated looks at the room that is no partition's. A bake leaves it empty; what others have there is theirs.
func (in *inspector) unallocated(ctx context.Context, d *disk.Disk, t *gpt.Table, parts []gpt.Partition) {
	type run struct{ start, end int64 }
	taken := []run{{0, 512}}
	for _, c := range []*gpt.Copy{t.Primary, t.Backup} {
		if c != nil {
			taken = append(taken, run{c.At, c.At + t.Sector}, run{c.EntriesAt, c.EntriesAt + c.EntriesLen})
		}
	}
	if !in.ours || t.Primary == nil || t.Backup == nil {
		return
	}
	for _, p := range parts {
		taken = append(taken, run{p.Start, p.Start + p.Size})
	}
	slices.SortFunc(taken, func(a, b run) int { return cmp.Compare(a.start, b.start) })
	taken = append(taken, run{d.Size, d.Size})
	if at, code := gpt.MBRCode(d); code {
		in.add("unallocated", Fail, fmt.Sprintf("byte %d", at), "the first sector has code in it, which a bake does not put there")
		return
	}
	at := int64(0)
	for _, r := range taken {
		if r.start > at {
			found, bad, err := nonZero(d, at, r.start)
			if err != nil {
				in.add("unallocated", Fail, "", "%v", err)
				return
			}
			if bad {
				in.add("unallocated", Fail, fmt.Sprintf("byte %d", found), "something is written where there is no partition")
				return
			}
		}
		if ctx.Err() != nil {
			return
		}
		at = max(at, r.end)
	}
	in.add("unallocated", Pass, "", "nothing is written outside of the partitions")
}

// esp looks at the EFI system partition and its programs.
func (in *inspector) esp(dev *device, p *Partition) {
	f, err := fat.Read(dev, dev.Size())
	if err != nil {
		in.add("esp", Fail, dev.name, "%v", err)
		return
	}
	findings, err := f.Verify(dev.nonZero)
	if err != nil {
		in.add("esp", Fail, dev.name, "%v", err)
		return
	}
	bad := 0
	for _, finding := range findings {
		if finding.Unused && !in.ours {
			continue
		}
		bad++
		in.add("esp", Fail, dev.place(finding.At), "%s", finding.Says)
	}
	if bad == 0 {
		in.add("esp", Pass, dev.name, "FAT%d, both tables are the same, and every cluster is accounted for", f.Bits)
	}
	for _, file := range f.Files {
		sum, err := sumOf(file.Reader())
		if err != nil {
			in.add("esp", Fail, dev.name, "cannot read /%s: %v", file.Path, err)
			continue
		}
		p.Files = append(p.Files, File{file.Path, file.Size, sum})
		switch {
		case strings.EqualFold(file.Path, bootPath), strings.HasPrefix(strings.ToUpper(file.Path), "EFI/LINUX/"):
			in.kernel("/"+file.Path, file.Reader())
		case in.ours:
			in.add("esp-files", Fail, dev.place(file.At(0)), "/%s is there, and a bake puts %s there and nothing else", file.Path, bootPath)
		}
	}
	if _, ok := f.Find(bootPath); in.ours && !ok {
		in.add("esp-files", Fail, dev.name, "/%s is not there: the firmware finds nothing to start", bootPath)
	} else if in.ours {
		in.add("esp-files", Pass, dev.name, "/%s", bootPath)
	}
}

// bootPath is what firmware starts when nothing tells it otherwise.
const bootPath = "EFI/BOOT/BOOTX64.EFI"

// probe names what begins at a device, by its magic numbers.
func probe(r *io.SectionReader) string {
	for _, m := range []struct {
		at    int64
		magic string
		name  string
	}{
		{0, "hsqs", "squashfs"}, {0, "verity\x00\x00", "verity"}, {0, "LUKS\xba\xbe", "luks"}, {0, "XFSB", "xfs"}, {1024 + 56, "\x53\xef", "ext"},
		{0x10040, "_BHRfS_M", "btrfs"}, {1024, "\xe2\xe1\xf5\xe0", "erofs"}, {4096 - 10, "SWAPSPACE2", "swap"}, {512, "LABELONE", "lvm"},
		{32769, "CD001", "iso9660"}, {82, "FAT32", "fat"}, {54, "FAT1", "fat"},
	} {
		b := make([]byte, len(m.magic))
		if _, err := r.ReadAt(b, m.at); err == nil && string(b) == m.magic {
			return m.name
		}
	}
	head := make([]byte, 64<<10)
	n, err := r.ReadAt(head, 0)
	if err != nil && !errors.Is(err, io.EOF) {
		return "unknown"
	}
	if len(bytes.TrimLeft(head[:n], "\x00")) == 0 {
		return "empty"
	}
	return "unknown"
}
