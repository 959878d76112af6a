package inspect

import (
	"context"
	"crypto/x509"
	"debug/pe"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"

	"github.com/strongroom/strongroom/internal/inspect/disk"
	"github.com/strongroom/strongroom/internal/inspect/gpt"
	"github.com/strongroom/strongroom/internal/inspect/squashfs"
	"github.com/strongroom/strongroom/internal/leaks"
	"github.com/strongroom/strongroom/internal/measure"
)

// Options are what the asker knows from elsewhere.
type Options struct {
	// Certificates are those whose signature of the kernel is to be believed.
	Certificates []*x509.Certificate
	// RootHash is the one that the image is to have, in hex; empty: the image's own word is all there is.
	RootHash string
	// Measurements is the statement beside an image.
	Measurements *measure.Statement
	// AllowedLeaks may be in the root.
	AllowedLeaks []leaks.Allowance
}

// Inspect looks into an image: a disk in any format, a unified kernel image, a netboot bundle, or the output directory of a bake. An
// error is only what kept it from looking at all.
func Inspect(ctx context.Context, name string, o Options) (*Inspection, error) {
	info, err := os.Stat(name)
	if err != nil {
		return nil, err
	}
	i := &Inspection{Image: Image{Path: name}}
	in := &inspector{Inspection: i, options: o}
	defer in.close()
	if info.IsDir() {
		err = in.directory(ctx, name)
	} else {
		err = in.file(ctx, name)
	}
	if err != nil {
		return nil, err
	}
	i.finish()
	return i, nil
}

// inspector is one inspection in progress.
type inspector struct {
	*Inspection
	options Options
	ours    bool // made by a bake of ours, as far as it says so itself

	said    []Said  // root hashes
	root    *device // the root file system
	hashes  *device // its tree
	tree    *squashfs.FS
	kernels []*kernel
	closers []io.Closer
}

func (in *inspector) close() {
	for _, c := range in.closers {
		c.Close()
	}
	if in.tree != nil {
		in.tree.Close()
	}
}

// device is a part of the image that is of itself a file system, a hash tree or a program.
type device struct {
	name string // "partition 2 (strongroom-root)"
	*io.SectionReader
	nonZero func(start, end int64) (int64, bool, error)
}

// file looks into one file.
func (in *inspector) file(ctx context.Context, name string) error {
	if program, err := isProgram(name); err != nil {
		return err
	} else if program {
		return in.program(ctx, name)
	}
	d, err := disk.Open(name)
	if err != nil {
		if errors.Is(err, fs.ErrPermission) || errors.Is(err, fs.ErrNotExist) {
			return err
		}
		in.add("image", Fail, "", "%v", err)
		return nil
	}
	in.closers = append(in.closers, d)
	in.Image.Format, in.Image.Size, in.Image.Disk = d.Format, d.FileSize, d.Size
	in.add("image", Pass, "", "a disk of %d bytes as %s", d.Size, d.Format)
	in.disk(ctx, d)
	in.contents(ctx)
	return ctx.Err()
}

// isProgram tells an EFI program from a disk: both may begin with any code.
func isProgram(name string) (bool, error) {
	f, err := os.Open(name)
	if err != nil {
		return false, err
	}
	defer f.Close()
	var mz [2]byte
	if _, err := f.ReadAt(mz[:], 0); err != nil || string(mz[:]) != "MZ" {
		return false, nil
	}
	p, err := pe.NewFile(f)
	if err != nil {
		return false, nil
	}
	return true, p.Close()
}

// program looks into a unified kernel image that lies on its own. That of a netboot bundle carries the root.
func (in *inspector) program(ctx context.Context, name string) error {
	f, err := os.Open(name)
	if err != nil {
		return err
	}
	in.closers = append(in.closers, f)
	info, err := f.Stat()
	if err != nil {
		return err
	}
	in.Image.Format, in.Image.Size = "kernel", info.Size()
	in.add("image", Pass, "", "a unified kernel image of %d bytes", info.Size())
	in.kernel(filepath.Base(name), io.NewSectionReader(f, 0, info.Size()))
	if len(in.kernels) > 0 {
		in.carried(in.kernels[0])
	}
	in.contents(ctx)
	return ctx.Err()
}

// contents looks at what has been found: the tree of hashes, the root and what it says of itself.
func (in *inspector) contents(ctx context.Context) {
	in.verity(ctx)
	in.rootFileSystem(ctx)
	in.kernelsAgree()
}

// place is a byte of a device, for people.
func (d *device) place(at int64) string { return fmt.Sprintf("%s, byte %d", d.name, at) }

// partitionDevice is a partition as a device of its own.
func partitionDevice(d *disk.Disk, p gpt.Partition) *device {
	return &device{
		name:          fmt.Sprintf("partition %d (%s)", p.Number, p.Label),
		SectionReader: io.NewSectionReader(d, p.Start, p.Size),
		nonZero: func(start, end int64) (int64, bool, error) {
			at, found, err := nonZero(d, p.Start+start, p.Start+min(end, p.Size))
			return at - p.Start, found, err
		},
	}
}

// nonZero finds the first byte that is not zero.
func nonZero(d *disk.Disk, start, end int64) (int64, bool, error) {
	buf := make([]byte, 256<<10)
	for start < end {
		from, to, err := d.Data(start)
		if errors.Is(err, io.EOF) {
			return 0, false, nil
		}
		if err != nil {
			return 0, false, err
		}
		from, to = max(from, start), min(to, end)
		for from < to {
			part := buf[:min(int64(len(buf)), to-from)]
			if _, err := d.ReadAt(part, from); err != nil && !errors.Is(err, io.EOF) {
				return 0, false, fmt.Errorf("cannot read byte %d: %w", from, err)
			}
			if i := firstNonZero(part); i >= 0 {
				return from + int64(i), true, nil
			}
			from += int64(len(part))
		}
		start = max(to, start+1)
	}
	return 0, false, nil
}

func firstNonZero(b []byte) int {
	for i, c := range b {
		if c != 0 {
			return i
		}
	}
	return -1
}
