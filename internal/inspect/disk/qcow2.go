package disk

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"

	"github.com/lima-vm/go-qcow2reader/image/qcow2"
)

var qcow2Magic = []byte("QFI\xfb")

// Fields of the header, big-endian: docs/interop/qcow2.rst of QEMU.
const (
	qcow2Version       = 4  // 4 bytes
	qcow2BackingOffset = 8  // 8 bytes
	qcow2ClusterBits   = 20 // 4 bytes
	qcow2DiskSize      = 24 // 8 bytes
	qcow2L1Size        = 36 // entries, 4 bytes
	qcow2L1Offset      = 40 // 8 bytes
	qcow2Incompatible  = 72 // 8 bytes, since version 3
	qcow2ExternalData  = 1 << 2
)

// openQcow2 looks at the header itself before the library does: what the library would allocate or open by the word of a
// file must be plausible first.
func openQcow2(file io.ReaderAt, size int64) (content, int64, error) {
	h := make([]byte, 80)
	if n, err := file.ReadAt(h, 0); err != nil {
		return nil, 0, truncated("the header", int64(len(h)), int64(n))
	}
	be := binary.BigEndian
	if be.Uint64(h[qcow2BackingOffset:]) != 0 {
		return nil, 0, errors.New("it names a backing file, so it is not a whole disk (qemu-img convert makes one)")
	}
	if be.Uint32(h[qcow2Version:]) >= 3 && be.Uint64(h[qcow2Incompatible:])&qcow2ExternalData != 0 {
		return nil, 0, errors.New("its data lies in another file, so it is not a whole disk")
	}
	if bits := be.Uint32(h[qcow2ClusterBits:]); bits < 9 || bits > 21 {
		return nil, 0, fmt.Errorf("its clusters have 2^%d bytes", bits)
	}
	l1 := be.Uint64(h[qcow2L1Offset:])
	if end := l1 + 8*uint64(be.Uint32(h[qcow2L1Size:])); l1 > uint64(size) || end > uint64(size) {
		return nil, 0, truncated("the table of clusters", int64(min(end, 1<<62)), size)
	}
	disk := be.Uint64(h[qcow2DiskSize:])
	if disk > 1<<50 {
		return nil, 0, fmt.Errorf("its disk has %d bytes", disk)
	}
	// Only reading at a place: with a file's name the library would look for others.
	img, err := qcow2.Open(struct{ io.ReaderAt }{file}, nil)
	if err != nil {
		return nil, 0, err
	}
	if err := img.Readable(); err != nil {
		return nil, 0, err
	}
	return qcow{img, int64(disk), file, size}, int64(disk), nil
}

type qcow struct {
	image *qcow2.Qcow2
	size  int64
	file  io.ReaderAt
	bytes int64 // of the file
}

func (q qcow) ReadAt(b []byte, at int64) (int, error) {
	n, err := q.image.ReadAt(b, at)
	if err != nil && !errors.Is(err, io.EOF) {
		return n, fmt.Errorf("cannot read byte %d of the disk: %w", at+int64(n), err)
	}
	if err != nil && at+int64(n) < q.size && n < len(b) {
		return n, fmt.Errorf("the file is cut off: it has %d bytes, and byte %d of the disk lies behind them", q.bytes, at+int64(n))
	}
	if n == len(b) { // the library says so already with the last byte
		return n, nil
	}
	return n, err
}

func (q qcow) data(at int64) (start, end int64, err error) {
	for at < q.size {
		e, err := q.image.Extent(at, q.size-at)
		if err != nil {
			return 0, 0, fmt.Errorf("cannot tell what is at byte %d of the disk: %w", at, err)
		}
		if e.Length <= 0 {
			return 0, 0, fmt.Errorf("the table of clusters says nothing about byte %d of the disk", at)
		}
		if e.Allocated && !e.Zero {
			return at, e.Start + e.Length, nil
		}
		at = e.Start + e.Length
	}
	return 0, 0, io.EOF
}
