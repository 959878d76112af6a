package disk

import (
	"archive/tar"
	"bufio"
	"bytes"
	"compress/gzip"
	"errors"
	"fmt"
	"io"
	"os"
)

var gzipMagic = []byte{0x1f, 0x8b}

// openTarGz unpacks the disk of an archive, since a compressed stream can only be read from its beginning. It becomes a sparse file
// without a name in the directory for temporary files, and ends with this process.
func openTarGz(file io.ReadSeeker) (content, int64, error) {
	if _, err := file.Seek(0, io.SeekStart); err != nil {
		return nil, 0, err
	}
	z, err := gzip.NewReader(bufio.NewReaderSize(file, 1<<20))
	if err != nil {
		return nil, 0, fmt.Errorf("it is no gzip: %w", err)
	}
	archive := tar.NewReader(z)
	h, err := archive.Next()
	if err != nil {
		return nil, 0, cutOff("the archive", err)
	}
	if h.Typeflag != tar.TypeReg && h.Typeflag != tar.TypeGNUSparse {
		return nil, 0, fmt.Errorf("its first member %q is no file", h.Name)
	}
	out, err := os.CreateTemp("", "strongroom-inspect-*.raw")
	if err != nil {
		return nil, 0, fmt.Errorf("cannot unpack: %w", err)
	}
	unpacked := temporary{flat{out}}
	if err := os.Remove(out.Name()); err != nil {
		unpacked.Close()
		return nil, 0, fmt.Errorf("cannot unpack: %w", err)
	}
	size, err := copySparse(out, archive)
	if err != nil {
		unpacked.Close()
		return nil, 0, cutOff(fmt.Sprintf("%s, of %d bytes, ends at byte %d", h.Name, h.Size, size), err)
	}
	if next, err := archive.Next(); err == nil {
		unpacked.Close()
		return nil, 0, fmt.Errorf("it has a second member %q: Google Cloud takes an archive with the disk alone", next.Name)
	} else if !errors.Is(err, io.EOF) {
		unpacked.Close()
		return nil, 0, cutOff("the archive", err)
	}
	// The checksum of the stream lies behind its last byte.
	if _, err := io.Copy(io.Discard, z); err != nil {
		unpacked.Close()
		return nil, 0, cutOff("the archive", err)
	}
	return unpacked, size, nil
}

func cutOff(what string, err error) error {
	if errors.Is(err, io.ErrUnexpectedEOF) || errors.Is(err, io.EOF) {
		return fmt.Errorf("the file is cut off: %s: %w", what, err)
	}
	return fmt.Errorf("%s: %w", what, err)
}

type temporary struct{ flat }

func (t temporary) Close() error { return t.File.Close() }

// copySparse copies without writing blocks of zeros.
func copySparse(out *os.File, in io.Reader) (int64, error) {
	size := int64(0)
	block := make([]byte, 1<<20)
	zeros := make([]byte, len(block))
	for {
		n, err := io.ReadFull(in, block)
		if n > 0 && !bytes.Equal(block[:n], zeros[:n]) {
			if _, err := out.WriteAt(block[:n], size); err != nil {
				return size, err
			}
		}
		size += int64(n)
		if errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) && n < len(block) && isEnd(in) {
			return size, out.Truncate(size)
		}
		if err != nil {
			return size, err
		}
	}
}

// isEnd tells the end of a member from the end of a file that is cut off: both make io.ReadFull say the same.
func isEnd(in io.Reader) bool {
	_, err := in.Read(make([]byte, 1))
	return errors.Is(err, io.EOF) && !errors.Is(err, io.ErrUnexpectedEOF)
}
