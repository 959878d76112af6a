package lab

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strings"

	"github.com/strongroom/strongroom/internal/image"
)

// Disk is the disk of one machine: a copy-on-write layer over an image that is never written
// to. A machine that boots twice on the same Disk finds what it left there.
type Disk struct {
	Path   string // qcow2
	Serial string // by which the guest finds it, as /dev/disk/by-id/virtio-SERIAL; at most 20 letters
}

// NewDisk puts a fresh layer over an image (raw, qcow2, vmdk or vhd, by its suffix) into dir. The layer
// and everything the guest writes go with dir.
func NewDisk(ctx context.Context, dir, base string) (*Disk, error) {
	base, err := filepath.Abs(base) // a relative backing file is looked up beside the layer
	if err != nil {
		return nil, err
	}
	if _, err := os.Stat(base); errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("no image at %s\nhint: bake it with `make image`", base)
	} else if err != nil {
		return nil, fmt.Errorf("cannot read the image: %w", err)
	}
	driver := image.QEMUDriver(strings.TrimPrefix(filepath.Ext(base), "."))
	if driver == "" {
		return nil, fmt.Errorf("cannot boot %s: a disk is one of raw, qcow2, vmdk and vhd", base)
	}
	file, err := os.CreateTemp(dir, "disk-*.qcow2")
	if err != nil {
		return nil, fmt.Errorf("cannot create a disk: %w", err)
	}
	file.Close()
	disk := &Disk{Path: file.Name()}
	return disk, run(ctx, "qemu-img", "create", "-q", "-f", "qcow2", "-b", base, "-F", driver, disk.Path)
}

// NewEmptyDisk makes a disk of zeros in dir.
func NewEmptyDisk(ctx context.Context, dir, serial string, bytes int64) (*Disk, error) {
	file, err := os.CreateTemp(dir, "disk-*.qcow2")
	if err != nil {
		return nil, fmt.Errorf("cannot create a disk: %w", err)
	}
	file.Close()
	disk := &Disk{Path: file.Name(), Serial: serial}
	return disk, run(ctx, "qemu-img", "create", "-q", "-f", "qcow2", disk.Path, fmt.Sprint(bytes))
}

// FlipByte inverts one byte of the disk, leaving the image below as it is.
func (d *Disk) FlipByte(ctx context.Context, offset int64) error {
	value, err := d.readByte(ctx, offset)
	if err != nil {
		return err
	}
	return run(ctx, "qemu-io", "-f", "qcow2", "-c", fmt.Sprintf("write -P %d %d 1", ^value, offset), d.Path)
}

// readByte asks qemu-io, which prints a dump: "00002000:  eb  .".
func (d *Disk) readByte(ctx context.Context, offset int64) (value byte, err error) {
	output, err := exec.CommandContext(ctx, "qemu-io", "-r", "-f", "qcow2", "-c", fmt.Sprintf("read -v %d 1", offset), d.Path).Output()
	if err != nil {
		return 0, fmt.Errorf("cannot read byte %d of the disk: %w", offset, err)
	}
	if _, err := fmt.Sscanf(string(output), "%x: %x", new(int64), &value); err != nil {
		return 0, fmt.Errorf("cannot read byte %d of the disk: %q", offset, output)
	}
	return value, nil
}

func run(ctx context.Context, name string, arguments ...string) error {
	output, err := exec.CommandContext(ctx, name, arguments...).CombinedOutput()
	if errors.Is(err, exec.ErrNotFound) {
		return fmt.Errorf("%w\nhint: install what is missing with `make deps`", err)
	}
	if err != nil {
		return fmt.Errorf("%s: %w: %s", name, err, bytes.TrimSpace(output))
	}
	return nil
}
