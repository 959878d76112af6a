package datadisk

import (
	"bufio"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
)

// disk is one whole disk as the kernel and udev show it.
type disk struct {
	name       string // "nvme0n1"
	size       uint64 // bytes
	readOnly   bool
	ids        []string // links below /dev/disk/by-id that are about the whole disk
	partitions []string // their names in the GPT, "" for one without
}

func (d disk) hasID(id string) bool           { return slices.Contains(d.ids, id) }
func (d disk) hasPartition(label string) bool { return slices.Contains(d.partitions, label) }

// notDisks are block devices that stand on something else, or hold what somebody has put in.
var notDisks = []string{"dm-", "fd", "loop", "md", "nbd", "ram", "sr", "zram"}

// scan lists the disks of a machine in the order of their names. root is "/" on a node.
func scan(root string) ([]disk, error) {
	entries, err := os.ReadDir(filepath.Join(root, "sys/block"))
	if err != nil {
		return nil, fmt.Errorf("cannot list the disks: %w", err)
	}
	ids, err := identifiers(root)
	if err != nil {
		return nil, err
	}
	var disks []disk
	for _, e := range entries {
		name := e.Name()
		if slices.ContainsFunc(notDisks, func(p string) bool { return strings.HasPrefix(name, p) }) {
			continue
		}
		d := disk{name: name, ids: ids[name]}
		dir := filepath.Join(root, "sys/block", name)
		if hidden, err := number(dir, "hidden"); err == nil && hidden != 0 {
			continue // a path of a multipath NVMe disk, which has a name of its own
		}
		sectors, err := number(dir, "size")
		if err != nil {
			return nil, fmt.Errorf("cannot tell the size of %s: %w", name, err)
		}
		if sectors == 0 {
			continue // an empty card reader
		}
		d.size = sectors * 512 // whatever the disk's own sectors are
		readOnly, err := number(dir, "ro")
		if err != nil {
			return nil, fmt.Errorf("cannot tell whether %s can be written to: %w", name, err)
		}
		d.readOnly = readOnly != 0
		if d.partitions, err = partitions(dir, name); err != nil {
			return nil, fmt.Errorf("cannot list the partitions of %s: %w", name, err)
		}
		disks = append(disks, d)
	}
	return disks, nil
}

func number(dir, name string) (uint64, error) {
	text, err := os.ReadFile(filepath.Join(dir, name))
	if err != nil {
		return 0, err
	}
	return strconv.ParseUint(strings.TrimSpace(string(text)), 10, 64)
}

// identifiers are the names that udev gives whole disks.
func identifiers(root string) (map[string][]string, error) {
	dir := filepath.Join(root, "dev/disk/by-id")
	entries, err := os.ReadDir(dir)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil // no disk has one
	}
	if err != nil {
		return nil, fmt.Errorf("cannot list the names of the disks: %w", err)
	}
	ids := map[string][]string{}
	for _, e := range entries {
		target, err := os.Readlink(filepath.Join(dir, e.Name()))
		if err != nil {
			return nil, fmt.Errorf("cannot list the names of the disks: %w", err)
		}
		name := filepath.Base(target)
		ids[name] = append(ids[name], e.Name())
	}
	return ids, nil
}

// partitions are the names that the kernel has found in a GPT. One of another table has no name.
func partitions(dir, disk string) ([]string, error) {
	entries, err := os.ReadDir(dir)
	if err != nil {
		return nil, err
	}
	var names []string
	for _, e := range entries {
		if !strings.HasPrefix(e.Name(), disk) {
			continue
		}
		text, err := os.Open(filepath.Join(dir, e.Name(), "uevent"))
		if err != nil {
			return nil, err
		}
		label := ""
		for s := bufio.NewScanner(text); s.Scan(); {
			if value, ok := strings.CutPrefix(s.Text(), "PARTNAME="); ok {
				label = value
			}
		}
		text.Close()
		names = append(names, label)
	}
	return names, nil
}
