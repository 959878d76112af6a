package disk

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"os"

	"golang.org/x/sys/unix"
)

// flat is a file whose bytes are those of the disk.
type flat struct{ *os.File }

func (f flat) Close() error { return nil } // the disk's

// data asks the file system for holes. Which there are is another on every file system; what is in them is the same.
func (f flat) data(at int64) (start, end int64, err error) {
	fd := int(f.Fd())
	if start, err = unix.Seek(fd, at, unix.SEEK_DATA); errors.Is(err, unix.ENXIO) {
		return 0, 0, io.EOF
	} else if err != nil {
		return at, 1<<63 - 1, nil // the file system, or the device, knows no holes
	}
	if end, err = unix.Seek(fd, start, unix.SEEK_HOLE); err != nil {
		end = 1<<63 - 1
	}
	return start, end, nil
}

// Fields of a VHD's footer, big-endian: Microsoft, Virtual Hard Disk Image Format Specification 1.0.
const (
	vhdCookie   = "conectix"
	vhdFooter   = 512
	vhdSize     = 48 // current size, 8 bytes
	vhdType     = 60 // 4 bytes
	vhdChecksum = 64 // ones' complement of the sum of all other bytes, 4 bytes
	vhdFixed    = 2
)

// openFlat opens a raw disk, or a fixed VHD: a raw disk with a footer.
func openFlat(file *os.File, size int64) (content, int64, error) {
	if size%sector != 0 {
		return nil, 0, fmt.Errorf("the file has %d bytes, which is no whole number of sectors of %d: it is cut off, or no disk", size, sector)
	}
	footer := make([]byte, vhdFooter)
	if _, err := file.ReadAt(footer, size-vhdFooter); err != nil {
		return nil, 0, err
	}
	if !bytes.HasPrefix(footer, []byte(vhdCookie)) {
		return flat{file}, size, nil
	}
	size -= vhdFooter
	if err := checkFooter(footer, size); err != nil {
		return nil, 0, fmt.Errorf("vhd: the footer at byte %d: %w", size, err)
	}
	return vhd{flat{file}, size}, size, nil
}

func checkFooter(footer []byte, size int64) error {
	var sum uint32
	for i, b := range footer {
		if i < vhdChecksum || i >= vhdChecksum+4 {
			sum += uint32(b)
		}
	}
	switch {
	case binary.BigEndian.Uint32(footer[vhdChecksum:]) != ^sum:
		return errors.New("its checksum is wrong")
	case binary.BigEndian.Uint32(footer[vhdType:]) != vhdFixed:
		return errors.New("it is not that of a fixed disk")
	case binary.BigEndian.Uint64(footer[vhdSize:]) != uint64(size):
		return fmt.Errorf("the disk has %d bytes in it, and the file %d before it", binary.BigEndian.Uint64(footer[vhdSize:]), size)
	}
	return nil
}

// vhd hides the footer.
type vhd struct {
	flat
	size int64
}

func (v vhd) ReadAt(b []byte, at int64) (int, error) {
	return io.NewSectionReader(v.flat, 0, v.size).ReadAt(b, at)
}
