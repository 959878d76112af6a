package datadisk

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
)

// Blocks is the size of a disk's block that the tables of our images are made for: on a disk with another one nothing finds them.
const Blocks = 512

// behindTables is where a partition table ends for certain: 34 blocks, and what systemd or a firmware may round them up to.
const behindTables = 64 << 10

// UnfinishedMark is the first block of a disk from the first write of an installation until the last one. It is no boot record, so that
// neither a firmware nor the kernel sees a partition table behind it. The last write puts the image's first block in its place.
func UnfinishedMark() []byte {
	b := make([]byte, Blocks)
	copy(b, "Strongroom is being installed to this disk and has not finished. It is not started from; the next start over the network begins anew.\n")
	return b
}

// JudgeInstall finds the disk again and says what an installation may do to it. It may write to one that is Empty, and to one that
// another installation has left Unfinished; one that is Installed has the image already. The image is named by the UUID of the partition with
// its hash tree, which is half of its root hash. An error goes with Foreign alone.
func JudgeInstall(root string, s Selector, signatures []byte, hashTree string) (Verdict, string, error) {
	d, disks, err := find(root, s)
	if err != nil {
		return Foreign, "", err
	}
	device := "/dev/" + d.name
	foreign := func(format string, args ...any) (Verdict, string, error) {
		return Foreign, device, fmt.Errorf("%s is not touched: "+format, append([]any{device}, args...)...)
	}
	if err := d.refused(disks); err != nil {
		return foreign("%w", err)
	}
	blocks, err := number(filepath.Join(root, "sys/block", d.name), "queue/logical_block_size")
	if err != nil {
		return foreign("the size of its blocks cannot be read: %w", err)
	}
	if blocks != Blocks {
		return foreign("its blocks have %d bytes, and the image is made for %d", blocks, Blocks)
	}
	if len(d.partitions) > 0 {
		if installed, err := d.installed(root, hashTree); err != nil {
			return foreign("what it starts cannot be told: %w", err)
		} else if installed {
			return Installed, device, nil
		}
		return foreign("it has partitions of another image, and maybe data: empty it first (docs/netboot.md) if nothing of it is needed")
	}
	unfinished, err := d.unfinished(root)
	if err != nil {
		return foreign("what is on it cannot be read: %w", err)
	}
	if unfinished {
		if kind := other(signatures, "gpt"); kind != "" {
			return foreign("an installation was not finished there, and it holds data since: %s", kind)
		}
		return Unfinished, device, nil
	}
	if err := d.empty(root, signatures); err != nil {
		return foreign("%w", err)
	}
	return Empty, device, nil
}

// installed reports whether one of the disk's partitions has this UUID, and udev's links tell.
func (d disk) installed(root, uuid string) (bool, error) {
	target, err := os.Readlink(filepath.Join(root, "dev/disk/by-partuuid", uuid))
	if errors.Is(err, os.ErrNotExist) {
		return false, nil
	}
	if err != nil {
		return false, err
	}
	_, err = os.Stat(filepath.Join(root, "sys/block", d.name, filepath.Base(target), "partition"))
	if errors.Is(err, os.ErrNotExist) {
		return false, nil
	}
	return err == nil, err
}

// unfinished reports whether the disk begins with the mark and has nothing but a partition table behind it, as far as one reaches into
// the first MiB.
func (d disk) unfinished(root string) (bool, error) {
	f, err := os.Open(filepath.Join(root, "dev", d.name))
	if err != nil {
		return false, err
	}
	defer f.Close()
	first := make([]byte, firstRoom)
	if _, err := io.ReadFull(f, first); err != nil && !errors.Is(err, io.ErrUnexpectedEOF) {
		return false, err
	}
	return bytes.Equal(first[:Blocks], UnfinishedMark()) && zero(first[behindTables:]), nil
}

// other gives a line of wipefs about something that is not of the kind.
func other(signatures []byte, kind string) string {
	lines := strings.Split(strings.TrimSpace(string(signatures)), "\n")
	i := slices.IndexFunc(lines, func(line string) bool {
		fields := strings.Fields(line)
		return len(fields) > 0 && fields[0] != kind
	})
	if i < 0 {
		return ""
	}
	return strings.Join(strings.Fields(lines[i]), " ")
}
