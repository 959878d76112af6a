package inspect

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"

	"github.com/strongroom/strongroom/internal/inspect/disk"
)

// difference finds the first byte in which two disks differ. What both know to be zero is not read. Where one is longer, its end is
// a difference if everything before is the same.
func difference(ctx context.Context, a, b *disk.Disk) (int64, bool, error) {
	shorter := min(a.Size, b.Size)
	x, y := make([]byte, 1<<20), make([]byte, 1<<20)
	for at := int64(0); at < shorter; {
		if err := ctx.Err(); err != nil {
			return 0, false, err
		}
		start, err := nextData(a, b, at)
		if err != nil {
			return 0, false, err
		}
		if start >= shorter {
			break
		}
		at = start
		n := min(int64(len(x)), shorter-at)
		for _, side := range []struct {
			d   *disk.Disk
			buf []byte
		}{{a, x[:n]}, {b, y[:n]}} {
			if _, err := side.d.ReadAt(side.buf, at); err != nil && !errors.Is(err, io.EOF) {
				return 0, false, fmt.Errorf("cannot read byte %d: %w", at, err)
			}
		}
		if !bytes.Equal(x[:n], y[:n]) {
			i := 0
			for x[i] == y[i] {
				i++
			}
			return at + int64(i), true, nil
		}
		at += n
	}
	return shorter, a.Size != b.Size, nil
}

// nextData is where one of them may have something that is not zero.
func nextData(a, b *disk.Disk, at int64) (int64, error) {
	next := int64(1<<63 - 1)
	for _, d := range []*disk.Disk{a, b} {
		start, _, err := d.Data(at)
		if errors.Is(err, io.EOF) {
			continue
		}
		if err != nil {
			return 0, err
		}
		next = min(next, max(start, at))
	}
	return next, nil
}
