// Package squashfs reads a squashfs (4.0, with gzip or zstd) as an fs.FS that also knows owners, set-id bits, extended attributes
// and where the bytes of a file lie. The Go libraries for it hide one or the other of these, and believe what the file system says
// of its own sizes: one that was tampered with is read here too. The format: https://dr-emann.github.io/squashfs/.
package squashfs

import (
	"bytes"
	"compress/zlib"
	"encoding/binary"
	"errors"
	"fmt"
	"io"

	"github.com/klauspost/compress/zstd"
)

// Limits of what is believed.
const (
	maxInodes   = 4 << 20
	maxBlocks   = 16 << 20 // of all files
	maxDepth    = 128
	maxXattrs   = 1 << 20 // bytes of one value
	metaSize    = 8192
	metaKept    = 1024 // blocks of metadata: 8 MiB
	fragsKept   = 8 << 20
	noFragment  = 0xffffffff
	noXattr     = 0xffffffff
	noTable     = 1<<64 - 1
	superblock  = 96
	stored      = 1 << 24 // of the size of a block of data: it is not compressed
	storedMeta  = 1 << 15 // of the size of a block of metadata: the same
	perFragment = 16      // bytes of an entry
)

// ErrNone says that there is no squashfs.
var ErrNone = errors.New("there is no squashfs")

var le = binary.LittleEndian

// FS is a file system. It may be read from many places at once.
type FS struct {
	Compression string
	BlockSize   int64
	Bytes       int64 // what the file system takes of its device
	Made        int64 // Unix time
	Nodes       []*Node

	r                                            io.ReaderAt
	unpack                                       func(dst, src []byte) ([]byte, error)
	inodeTable, directoryTable, fragTable, xattr uint64
	rootRef                                      uint64
	inodes                                       int
	ids                                          []uint32
	frags                                        []fragment
	xattrs                                       xattrTable
	byPath                                       map[string]*Node
	blocks                                       int

	meta  cache
	frag  cache
	zstds *zstd.Decoder
}

type fragment struct {
	start uint64
	size  uint32
}

var compressions = map[uint16]string{1: "gzip", 2: "lzma", 3: "lzo", 4: "xz", 5: "lz4", 6: "zstd"}

// Read reads the tables and the whole tree of names; contents of files are read when they are asked for.
func Read(r io.ReaderAt, size int64) (*FS, error) {
	b := make([]byte, superblock)
	if _, err := r.ReadAt(b, 0); err != nil {
		return nil, fmt.Errorf("cannot read the superblock: %w", err)
	}
	if !bytes.HasPrefix(b, []byte("hsqs")) {
		return nil, ErrNone
	}
	if major, minor := le.Uint16(b[28:]), le.Uint16(b[30:]); major != 4 || minor != 0 {
		return nil, fmt.Errorf("version %d.%d of squashfs is not known", major, minor)
	}
	f := &FS{
		BlockSize: int64(le.Uint32(b[12:])), Bytes: int64(le.Uint64(b[40:])), Made: int64(le.Uint32(b[8:])),
		inodes: int(le.Uint32(b[4:])), rootRef: le.Uint64(b[32:]),
		xattr: le.Uint64(b[56:]), inodeTable: le.Uint64(b[64:]), directoryTable: le.Uint64(b[72:]), fragTable: le.Uint64(b[80:]),
		byPath: map[string]*Node{},
	}
	f.Compression = compressions[le.Uint16(b[20:])]
	switch {
	case f.BlockSize < 4096 || f.BlockSize > 1<<20 || f.BlockSize&(f.BlockSize-1) != 0:
		return nil, fmt.Errorf("the superblock has blocks of %d bytes", f.BlockSize)
	case f.Bytes < superblock || f.Bytes > size:
		return nil, fmt.Errorf("the file system has %d bytes, and its device %d: it is cut off", f.Bytes, size)
	case f.inodes > maxInodes:
		return nil, fmt.Errorf("the superblock says that there are %d files", f.inodes)
	}
	f.r = io.NewSectionReader(r, 0, f.Bytes)
	f.meta.limit, f.frag.limit = metaKept, int(fragsKept/f.BlockSize)
	if err := f.chooseCompression(); err != nil {
		return nil, err
	}
	var err error
	if f.ids, err = f.readIDs(le.Uint64(b[48:]), int(le.Uint16(b[26:]))); err != nil {
		return nil, fmt.Errorf("cannot read the table of owners: %w", err)
	}
	if f.frags, err = f.readFragments(int(le.Uint32(b[16:]))); err != nil {
		return nil, fmt.Errorf("cannot read the table of fragments: %w", err)
	}
	if err := f.readXattrTable(); err != nil {
		return nil, fmt.Errorf("cannot read the table of extended attributes: %w", err)
	}
	return f, f.walk()
}

func (f *FS) chooseCompression() error {
	switch f.Compression {
	case "gzip":
		f.unpack = inflate
	case "zstd":
		// One frame is one block: what claims to be more is none of ours.
		d, err := zstd.NewReader(nil, zstd.WithDecoderMaxMemory(2<<20), zstd.WithDecoderLowmem(true))
		if err != nil {
			return err
		}
		f.unpack = func(dst, src []byte) ([]byte, error) { return d.DecodeAll(src, dst[:0]) }
		f.zstds = d
	default:
		return fmt.Errorf("the compression %q is not read here, only gzip and zstd are", f.Compression)
	}
	return nil
}

func inflate(dst, src []byte) ([]byte, error) {
	z, err := zlib.NewReader(bytes.NewReader(src))
	if err != nil {
		return nil, err
	}
	n, err := io.ReadFull(z, dst[:cap(dst)])
	if err == nil {
		if m, _ := z.Read(make([]byte, 1)); m > 0 {
			return nil, errors.New("there is more in it than a block")
		}
	} else if !errors.Is(err, io.ErrUnexpectedEOF) && !errors.Is(err, io.EOF) {
		return nil, err
	}
	return dst[:n], nil
}

// Close ends the decoder.
func (f *FS) Close() {
	if f.zstds != nil {
		f.zstds.Close()
	}
}

func (f *FS) readIDs(table uint64, n int) ([]uint32, error) {
	raw, err := f.indirect(table, 4*n)
	if err != nil {
		return nil, err
	}
	ids := make([]uint32, n)
	for i := range ids {
		ids[i] = le.Uint32(raw[4*i:])
	}
	return ids, nil
}

func (f *FS) readFragments(n int) ([]fragment, error) {
	if n == 0 || f.fragTable == noTable {
		return nil, nil
	}
	if n > maxInodes {
		return nil, fmt.Errorf("it has %d entries", n)
	}
	raw, err := f.indirect(f.fragTable, perFragment*n)
	if err != nil {
		return nil, err
	}
	frags := make([]fragment, n)
	for i := range frags {
		frags[i] = fragment{le.Uint64(raw[perFragment*i:]), le.Uint32(raw[perFragment*i+8:])}
	}
	return frags, nil
}

// indirect reads a table of n bytes in blocks of metadata whose places a list at an offset tells.
func (f *FS) indirect(list uint64, n int) ([]byte, error) {
	count := (n + metaSize - 1) / metaSize
	places := make([]byte, 8*count)
	if list > uint64(f.Bytes) {
		return nil, fmt.Errorf("it is said to be at byte %d, and the file system ends at %d", list, f.Bytes)
	}
	if _, err := f.r.ReadAt(places, int64(list)); err != nil {
		return nil, fmt.Errorf("cannot read byte %d: %w", list, err)
	}
	var out []byte
	for i := range count {
		block, _, err := f.metaBlock(le.Uint64(places[8*i:]))
		if err != nil {
			return nil, err
		}
		out = append(out, block...)
	}
	if len(out) < n {
		return nil, fmt.Errorf("it has %d bytes instead of %d", len(out), n)
	}
	return out, nil
}
