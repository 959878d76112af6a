package image

import (
	"bytes"
	"compress/gzip"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"os"

	"golang.org/x/sys/unix"
)

// tarGz wraps the raw disk as Google Cloud wants it: one disk.raw in a sparse tar of GNU's old format, in gzip.
// Sparse, so that neither size nor time depends on the free room behind the root. archive/tar reads sparse
// members and writes none; GNU tar writes them and reads the whole disk twice, in pieces of 512 bytes.
func (c conversion) tarGz(ctx context.Context) error {
	disk, err := c.files.Open(diskName(FormatRaw))
	if err != nil {
		return err
	}
	defer disk.Close()
	out, err := c.files.OpenFile(diskName(FormatTarGz), os.O_CREATE|os.O_TRUNC|os.O_WRONLY, 0o644)
	if err != nil {
		return err
	}
	defer out.Close()
	// What takes room on the disk is compressed already: the best level takes longer and gains nothing.
	z, err := gzip.NewWriterLevel(out, gzip.BestSpeed)
	if err != nil {
		return err
	}
	if err := writeSparseTar(ctx, z, disk, diskName(FormatRaw), c.epoch.Unix()); err != nil {
		return err
	}
	if err := z.Close(); err != nil {
		return err
	}
	return out.Close()
}

// extent is a run of bytes that are not all zero.
type extent struct{ at, size int64 }

// writeSparseTar writes an archive with one sparse member. Members are root's, mode 0644.
func writeSparseTar(ctx context.Context, w io.Writer, disk *os.File, name string, mtime int64) error {
	st, err := disk.Stat()
	if err != nil {
		return err
	}
	if st.Size()%sector != 0 {
		return fmt.Errorf("the disk has %d bytes, which is no whole number of sectors", st.Size())
	}
	extents, err := dataExtents(ctx, disk, st.Size())
	if err != nil {
		return err
	}
	if _, err := w.Write(sparseHeader(name, mtime, st.Size(), extents)); err != nil {
		return err
	}
	block := make([]byte, mebibyte)
	for _, e := range extents {
		for at := e.at; at < e.at+e.size; at += mebibyte {
			if err := ctx.Err(); err != nil {
				return err
			}
			part := block[:min(mebibyte, e.at+e.size-at)]
			if _, err := disk.ReadAt(part, at); err != nil {
				return err
			}
			if _, err := w.Write(part); err != nil {
				return err
			}
		}
	}
	_, err = w.Write(zeros[:2*tarBlock])
	return err
}

// dataExtents finds what is not zero, in steps of sparseStep. The holes of the file only save the reading:
// they are another on every file system, and the archive must not be.
func dataExtents(ctx context.Context, f *os.File, size int64) ([]extent, error) {
	const sparseStep = 64 << 10
	var extents []extent
	block := make([]byte, sparseStep)
	for at := int64(0); at < size; {
		if err := ctx.Err(); err != nil {
			return nil, err
		}
		data, err := unix.Seek(int(f.Fd()), at, unix.SEEK_DATA)
		if errors.Is(err, unix.ENXIO) {
			break // a hole up to the end
		}
		if err == nil {
			at = data / sparseStep * sparseStep
		} // else the file system knows no holes
		part := block[:min(sparseStep, size-at)]
		if _, err := f.ReadAt(part, at); err != nil {
			return nil, err
		}
		if !allZero(part) {
			if last := len(extents) - 1; last >= 0 && extents[last].at+extents[last].size == at {
				extents[last].size += int64(len(part))
			} else {
				extents = append(extents, extent{at, int64(len(part))})
			}
		}
		at += int64(len(part))
	}
	return extents, nil
}

const tarBlock = 512

// sparseHeader is the header of a sparse member with the blocks of its map that do not fit into it: GNU tar's
// manual, "Basic Tar Format", struct oldgnu_header and struct sparse_header.
func sparseHeader(name string, mtime, size int64, extents []extent) []byte {
	const inHeader, inBlock = 4, 21
	stored := int64(0)
	for _, e := range extents {
		stored += e.size
	}
	if n := len(extents); n == 0 || extents[n-1].at+extents[n-1].size < size {
		extents = append(extents, extent{at: size}) // tells where a hole at the end ends
	}

	h := make([]byte, tarBlock)
	copy(h, name)
	tarNumber(h[100:108], 0o644)
	tarNumber(h[108:116], 0) // user
	tarNumber(h[116:124], 0) // group
	tarNumber(h[124:136], stored)
	tarNumber(h[136:148], mtime)
	h[156] = 'S'
	copy(h[257:], "ustar  \x00")
	copy(h[265:], "root")
	copy(h[297:], "root")
	rest := sparseMap(h[386:482], extents, inHeader)
	h[482] = more(rest)
	tarNumber(h[483:495], size)
	copy(h[148:156], "        ") // what the checksum counts in its own place
	sum := 0
	for _, b := range h {
		sum += int(b)
	}
	copy(h[148:156], fmt.Sprintf("%06o\x00 ", sum))

	out := bytes.NewBuffer(h)
	for len(rest) > 0 {
		b := make([]byte, tarBlock)
		rest = sparseMap(b, rest, inBlock)
		b[504] = more(rest)
		out.Write(b)
	}
	return out.Bytes()
}

// sparseMap fills in up to n entries and returns those that are left.
func sparseMap(field []byte, extents []extent, n int) []extent {
	n = min(n, len(extents))
	for i, e := range extents[:n] {
		tarNumber(field[24*i:24*i+12], e.at)
		tarNumber(field[24*i+12:24*i+24], e.size)
	}
	return extents[n:]
}

func more(rest []extent) byte {
	if len(rest) > 0 {
		return 1
	}
	return 0
}

// tarNumber writes octal digits and a NUL, or what is too large for them in base 256.
func tarNumber(field []byte, n int64) {
	digits := len(field) - 1
	if text := fmt.Sprintf("%0*o", digits, n); len(text) <= digits {
		copy(field, text)
		field[digits] = 0
		return
	}
	clear(field)
	binary.BigEndian.PutUint64(field[len(field)-8:], uint64(n))
	field[0] |= 0x80
}
