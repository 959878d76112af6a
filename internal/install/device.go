package install

import (
	"errors"
	"fmt"
	"io"
	"os"

	"golang.org/x/sys/unix"
)

// Device is a block device that nobody else has opened for himself: not mounted, no part of an array.
type Device struct {
	*os.File
	size int64
}

// OpenDevice opens it.
func OpenDevice(path string) (*Device, error) {
	f, err := os.OpenFile(path, os.O_RDWR|unix.O_EXCL, 0)
	if errors.Is(err, unix.EBUSY) {
		return nil, fmt.Errorf("%s is in use", path)
	}
	if err != nil {
		return nil, err
	}
	size, err := f.Seek(0, io.SeekEnd)
	if err != nil {
		f.Close()
		return nil, err
	}
	return &Device{f, size}, nil
}

// Size is that of the disk, in bytes.
func (d *Device) Size() int64 { return d.size }

// Forget drops what of the disk is in memory.
func (d *Device) Forget() error {
	return unix.Fadvise(int(d.Fd()), 0, 0, unix.FADV_DONTNEED)
}
