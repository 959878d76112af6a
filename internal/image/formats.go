package image

import (
	"context"
	"fmt"
	"os"
	"slices"
	"time"

	"golang.org/x/sync/errgroup"
)

// Formats that Convert can make, each the suffix of its file: disk.raw, disk.qcow2, … The raw disk is
// always made first; the others are the same disk in another wrapping.
const (
	FormatRaw   = "raw"
	FormatQCOW2 = "qcow2"
	FormatVMDK  = "vmdk"       // stream-optimised, as vSphere and OVF take it
	FormatVHD   = "vhd"        // fixed, as Azure takes it
	FormatTarGz = "raw.tar.gz" // sparse GNU tar of disk.raw, as Google Cloud takes it
	// FormatNetboot is no disk but a directory that any HTTP server can serve, for machines that start over the network:
	// the same root, kernel and initrd with another command line.
	FormatNetboot = "netboot"
)

// Formats are all of them.
func Formats() []string {
	return []string{FormatRaw, FormatQCOW2, FormatVMDK, FormatVHD, FormatTarGz, FormatNetboot}
}

// disksOf are the formats that are a disk.
func disksOf(formats []string) []string {
	return slices.DeleteFunc(slices.Clone(formats), func(f string) bool { return f == FormatNetboot })
}

const (
	maxVHD   = 2040 * gibibyte // the largest disk that a VHD can describe
	rootRoom = 4 * gibibyte    // of it, for all that is not free room
)

// QEMUDriver is QEMU's name of a format; "" for one that QEMU cannot open, and so cannot boot.
func QEMUDriver(format string) string {
	switch format {
	case FormatRaw, FormatQCOW2, FormatVMDK:
		return format
	case FormatVHD:
		return "vpc"
	}
	return ""
}

func diskName(format string) string { return "disk." + format }

// conversion makes the other formats of the raw disk of a directory. What a format wants to be unique or
// a date comes from the root hash and the epoch, so that the same disk gives the same file.
type conversion struct {
	files    *os.Root
	path     func(elem ...string) string                     // of a file in the directory, for a tool
	run      func(ctx context.Context, argv ...string) error // a tool
	rootHash string
	epoch    time.Time
}

// Convert makes the formats other than raw, all at once.
func (a *Assembly) Convert(ctx context.Context) error {
	return a.step(ctx, stepConvert, stepDisk, func(ctx context.Context) error {
		c := conversion{
			files:    a.box.files,
			path:     a.box.path,
			run:      func(ctx context.Context, argv ...string) error { return a.box.run(a.box.command(ctx, argv...)) },
			rootHash: a.result.RootHash,
			epoch:    a.spec.Epoch,
		}
		group, ctx := errgroup.WithContext(ctx)
		for _, format := range a.spec.Formats {
			group.Go(func() error {
				if format == FormatNetboot {
					return a.netbootParts(ctx)
				}
				if err := c.convert(ctx, format); err != nil {
					return fmt.Errorf("cannot make the %s image: %w", format, err)
				}
				return nil
			})
		}
		return group.Wait()
	})
}

func (c conversion) convert(ctx context.Context, format string) error {
	switch format {
	case FormatRaw:
		return nil
	case FormatQCOW2:
		return c.qemuImg(ctx, format)
	case FormatVMDK:
		// The adapter is what vSphere expects beside every SCSI controller, the paravirtual one included.
		if err := c.qemuImg(ctx, format, "-o", "subformat=streamOptimized,adapter_type=lsilogic"); err != nil {
			return err
		}
		return c.edit(format, c.settleVMDK)
	case FormatVHD:
		// force_size: without it the size is rounded to what cylinders, heads and sectors can say, and Azure
		// refuses a disk that is not a whole number of MiB.
		if err := c.qemuImg(ctx, format, "-o", "subformat=fixed,force_size=on"); err != nil {
			return err
		}
		return c.edit(format, c.settleVHD)
	case FormatTarGz:
		return c.tarGz(ctx)
	}
	return fmt.Errorf("nobody knows how") // Validate has refused it
}

func (c conversion) qemuImg(ctx context.Context, format string, options ...string) error {
	return c.run(ctx, slices.Concat([]string{"qemu-img", "convert", "-f", "raw", "-O", QEMUDriver(format)}, options,
		[]string{c.path(diskName(FormatRaw)), c.path(diskName(format))})...)
}

// edit changes what a tool has written.
func (c conversion) edit(format string, change func(*os.File) error) error {
	f, err := c.files.OpenFile(diskName(format), os.O_RDWR, 0)
	if err != nil {
		return err
	}
	defer f.Close()
	if err := change(f); err != nil {
		return err
	}
	return f.Close()
}
