package datadisk

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"
)

// prefix begins the names of all partitions of ours, those of a disk image and those that systemd-repart makes.
const prefix = "strongroom-"

// Find is the device of the one disk that a selector names: "/dev/nvme0n1". No disk is an error, and so is more than one: a
// node does not choose. It looks again until ctx ends, since a controller may take its time to show its disks. A
// disk that is named by its id is taken as soon as it is there; for another selector the disks have to be the same in a few looks
// while udev has nothing to do, or one that comes late would not be counted.
func Find(ctx context.Context, root string, s Selector) (string, error) {
	const pause, looks = 500 * time.Millisecond, 8
	same, last := 0, ""
	for {
		d, _, err := find(root, s)
		_, busy := os.Lstat(filepath.Join(root, "run/udev/queue"))
		switch {
		case err != nil || d.name != last:
			same = 0
		case errors.Is(busy, fs.ErrNotExist):
			same++
		}
		last = d.name
		if err == nil && (s.id != "" || same >= looks) {
			return "/dev/" + d.name, nil
		}
		select {
		case <-ctx.Done():
			if err == nil {
				err = errors.New("udev has not come to rest")
			}
			return "", err
		case <-time.After(pause):
		}
	}
}

func find(root string, s Selector) (disk, []disk, error) {
	disks, err := scan(root)
	if err != nil {
		return disk{}, nil, err
	}
	var found []disk
	for _, d := range disks {
		if s.matches(d) {
			found = append(found, d)
		}
	}
	switch len(found) {
	case 1:
		return found[0], disks, nil
	case 0:
		return disk{}, nil, fmt.Errorf("no disk is %s; there is %s", s, list(disks))
	}
	return disk{}, nil, fmt.Errorf("%d disks are %s, and a node does not choose: %s", len(found), s, list(found))
}

func list(disks []disk) string {
	if len(disks) == 0 {
		return "no disk at all"
	}
	var out []string
	for _, d := range disks {
		text := fmt.Sprintf("%s with %d bytes", d.name, d.size)
		if len(d.ids) > 0 {
			text += " (" + strings.Join(d.ids, ", ") + ")"
		}
		out = append(out, text)
	}
	return strings.Join(out, "; ")
}

// Verdict is what may happen to a disk.
type Verdict int

// The zero value permits nothing.
const (
	Foreign    Verdict = iota
	Empty              // partitions may be made on it
	Ours               // it has partitions of ours, and nothing else
	Unfinished         // an installation to it was cut short
	Installed          // it has the image that was to be installed
)

// Judge finds the disk again and says what may happen to it. Signatures is what wipefs(8) has found there, a line for each:
// libblkid knows more kinds of data than we do. An error goes with Foreign alone.
//
// A disk is empty when the kernel sees no partition, libblkid no signature, and the first MiB is zeros, where whatever
// libblkid does not know would begin (a raw database, an encrypted disk without header). Behind it begins the first partition of
// ours, so that a first boot that was cut short leaves an empty disk: systemd-repart writes the table last.
func Judge(root string, s Selector, signatures []byte) (Verdict, string, error) {
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
	if len(d.partitions) > 0 {
		return Ours, device, nil
	}
	if err := d.empty(root, signatures); err != nil {
		return foreign("%w", err)
	}
	return Empty, device, nil
}

// refused says why nothing may ever be written to a disk, whatever for.
func (d disk) refused(disks []disk) error {
	if d.readOnly {
		return errors.New("it is read-only")
	}
	for _, other := range disks {
		if other.name != d.name && slices.ContainsFunc(other.partitions, func(l string) bool { return strings.HasPrefix(l, prefix) }) {
			return fmt.Errorf("%s has partitions of Strongroom too, and only their names tell them apart", other.name)
		}
	}
	for _, label := range d.partitions {
		if !strings.HasPrefix(label, prefix) {
			return fmt.Errorf("it has a partition %q, which is not ours", label)
		}
	}
	return nil
}

// empty says what is on a disk without partitions.
func (d disk) empty(root string, signatures []byte) error {
	if found := bytes.TrimSpace(signatures); len(found) > 0 {
		return fmt.Errorf("it holds data: %s", strings.Join(strings.Fields(string(found)), " "))
	}
	zero, err := beginsWithZeros(filepath.Join(root, "dev", d.name))
	if err != nil {
		return fmt.Errorf("what is on it cannot be read: %w", err)
	}
	if !zero {
		return errors.New("nobody knows what is on it, but its first MiB is not zeros")
	}
	return nil
}

// firstRoom is what of a disk is ours to know: a partition table, and zeros.
const firstRoom = 1 << 20

func beginsWithZeros(path string) (bool, error) {
	f, err := os.Open(path)
	if err != nil {
		return false, err
	}
	defer f.Close()
	first := make([]byte, firstRoom)
	n, err := io.ReadFull(f, first)
	if err != nil && !errors.Is(err, io.ErrUnexpectedEOF) {
		return false, err
	}
	return zero(first[:n]), nil
}

func zero(content []byte) bool {
	return !slices.ContainsFunc(content, func(b byte) bool { return b != 0 })
}

// RepartArguments are those with which systemd-repart works on a disk: its own refusal is one more look, by another
// library. It is about partition tables alone: a disk with a bare file system is empty to --empty=require.
func RepartArguments(v Verdict, device string) string {
	switch v {
	case Empty:
		return "--empty=require " + device
	case Ours:
		return "--empty=refuse " + device
	}
	panic("nothing is made on a foreign disk")
}
