package disk

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"os"
)

// Formats.
const (
	Raw   = "raw"
	Qcow2 = "qcow2"
	VMDK  = "vmdk"
	VHD   = "vhd"
	TarGz = "raw.tar.gz"
)

// Disk is a disk in any format. ReadAt may be called from many places at once.
type Disk struct {
	Format   string
	FileSize int64 // bytes of the file
	Size     int64 // bytes of the disk that a machine sees

	content
	file *os.File
}

// content is the disk itself.
type content interface {
	io.ReaderAt
	// data finds the first run of bytes from at on that are not known to be zero. There is none: io.EOF.
	data(at int64) (start, end int64, err error)
}

const sector = 512

// Open opens a disk. What it is, its first and last bytes tell and not its name.
func Open(path string) (*Disk, error) {
	file, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	d, err := open(file)
	if err != nil {
		file.Close()
		return nil, err
	}
	return d, nil
}

func open(file *os.File) (*Disk, error) {
	info, err := file.Stat()
	if err != nil {
		return nil, err
	}
	size := info.Size()
	switch {
	case info.IsDir():
		return nil, errors.New("it is a directory")
	case info.Mode()&os.ModeDevice != 0:
		if size, err = file.Seek(0, io.SeekEnd); err != nil {
			return nil, fmt.Errorf("cannot tell the size of the device: %w", err)
		}
	case !info.Mode().IsRegular():
		return nil, errors.New("it is neither a file nor a disk")
	}
	if size == 0 {
		return nil, errors.New("it is empty")
	}
	d := &Disk{FileSize: size, file: file}
	head := make([]byte, sector)
	if n, err := file.ReadAt(head, 0); err != nil && !(errors.Is(err, io.EOF) && n > 0) {
		return nil, err
	}
	switch {
	case bytes.HasPrefix(head, qcow2Magic):
		d.Format = Qcow2
		d.content, d.Size, err = openQcow2(file, size)
	case bytes.HasPrefix(head, vmdkMagic):
		d.Format = VMDK
		d.content, d.Size, err = openVMDK(file, size)
	case bytes.HasPrefix(head, gzipMagic):
		d.Format = TarGz
		d.content, d.Size, err = openTarGz(file)
	case bytes.HasPrefix(head, []byte(vhdCookie)):
		err = errors.New("it is a dynamic VHD: only the fixed ones are read, which Azure takes")
	default:
		d.Format = Raw
		d.content, d.Size, err = openFlat(file, size)
		if err == nil && d.Size != size {
			d.Format = VHD
		}
	}
	if err != nil {
		if d.Format != "" {
			err = fmt.Errorf("%s: %w", d.Format, err)
		}
		return nil, err
	}
	return d, nil
}

// Data finds the first run of bytes from at on that are not known to be zero. There is none: io.EOF. That of the last one may lie
// behind the end of the disk.
func (d *Disk) Data(at int64) (start, end int64, err error) {
	if at >= d.Size {
		return 0, 0, io.EOF
	}
	if start, end, err = d.data(at); err != nil {
		return 0, 0, err
	}
	if start >= d.Size {
		return 0, 0, io.EOF
	}
	return start, min(end, d.Size), nil
}

// Close closes the file.
func (d *Disk) Close() error {
	var err error
	if c, ok := d.content.(io.Closer); ok {
		err = c.Close()
	}
	return errors.Join(err, d.file.Close())
}

// truncated says where a file ends too early.
func truncated(what string, want, have int64) error {
	return fmt.Errorf("the file is cut off: %s reaches to byte %d, and the file has %d", what, want, have)
}

var le = binary.LittleEndian
