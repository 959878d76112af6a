package disk

import (
	"bytes"
	"compress/zlib"
	"errors"
	"fmt"
	"io"
	"sync"
)

var vmdkMagic = []byte("KDMV")

// Fields of a sparse extent's header, little-endian, and its words: VMware, Virtual Disk Format 5.0.
const (
	vmdkHeader    = 512
	vmdkVersion   = 4  // 4 bytes
	vmdkFlags     = 8  // 4 bytes
	vmdkCapacity  = 12 // sectors, 8 bytes
	vmdkGrain     = 20 // sectors, 8 bytes
	vmdkPerTable  = 44 // entries of a grain table, 4 bytes
	vmdkDirectory = 56 // sector, 8 bytes
	vmdkAlgorithm = 77 // 2 bytes

	vmdkCompressed = 1 << 16
	vmdkDeflate    = 1
	vmdkAtEnd      = 1<<64 - 1 // the directory's place is in a second header at the end: the file was written as a stream
	vmdkFooterBack = 1024      // where that is, from the end

	vmdkZeroGrain = 1 // an entry of a grain table; 0 is one that was never written
	grainsKept    = 32
	tablesKept    = 1024
)

// vmdk is one sparse extent that holds the whole disk: monolithicSparse, or streamOptimized with grains that are compressed.
type vmdk struct {
	file       io.ReaderAt
	bytes      int64 // of the file
	size       int64 // of the disk
	grain      int64 // bytes
	perTable   int64
	compressed bool
	directory  []uint32 // sectors of the grain tables

	mu     sync.Mutex
	tables map[uint32][]uint32 // by sector
	grains map[int64][]byte    // unpacked, by number
}

func openVMDK(file io.ReaderAt, size int64) (content, int64, error) {
	h := make([]byte, vmdkHeader)
	if n, err := file.ReadAt(h, 0); err != nil {
		return nil, 0, truncated("the header", vmdkHeader, int64(n))
	}
	if le.Uint64(h[vmdkDirectory:]) == vmdkAtEnd {
		at := size - vmdkFooterBack
		if at < vmdkHeader {
			return nil, 0, truncated("the table of grains", vmdkFooterBack+vmdkHeader, size)
		}
		if _, err := file.ReadAt(h, at); err != nil {
			return nil, 0, err
		}
		if !bytes.HasPrefix(h, vmdkMagic) {
			return nil, 0, fmt.Errorf("the file is cut off, or longer than it was: the second header is not at byte %d, %d before the end", at, vmdkFooterBack)
		}
	}
	if v := le.Uint32(h[vmdkVersion:]); v < 1 || v > 3 {
		return nil, 0, fmt.Errorf("version %d is not known", v)
	}
	capacity, grain, perTable := le.Uint64(h[vmdkCapacity:]), le.Uint64(h[vmdkGrain:]), le.Uint32(h[vmdkPerTable:])
	if grain == 0 || grain > 4096 || grain&(grain-1) != 0 || perTable == 0 || perTable > 1<<16 || capacity > 1<<41 {
		return nil, 0, fmt.Errorf("the header is nonsense: %d sectors in grains of %d, %d in a table", capacity, grain, perTable)
	}
	v := &vmdk{
		file: file, bytes: size, size: int64(capacity) * sector, grain: int64(grain) * sector, perTable: int64(perTable),
		compressed: le.Uint32(h[vmdkFlags:])&vmdkCompressed != 0, tables: map[uint32][]uint32{}, grains: map[int64][]byte{},
	}
	if v.compressed && le.Uint16(h[vmdkAlgorithm:]) != vmdkDeflate {
		return nil, 0, fmt.Errorf("the algorithm %d of its compression is not known", le.Uint16(h[vmdkAlgorithm:]))
	}
	perEntry := grain * uint64(perTable)
	var err error
	if v.directory, err = v.entries("the directory of grains", le.Uint64(h[vmdkDirectory:]), int64((capacity+perEntry-1)/perEntry)); err != nil {
		return nil, 0, err
	}
	return v, v.size, nil
}

// entries reads a table of numbers that begins at a sector.
func (v *vmdk) entries(what string, at uint64, n int64) ([]uint32, error) {
	if at > uint64(v.bytes)/sector || int64(at)*sector+4*n > v.bytes {
		return nil, truncated(what, int64(min(at, 1<<50))*sector+4*n, v.bytes)
	}
	raw := make([]byte, 4*n)
	if _, err := v.file.ReadAt(raw, int64(at)*sector); err != nil {
		return nil, fmt.Errorf("cannot read %s: %w", what, err)
	}
	out := make([]uint32, n)
	for i := range out {
		out[i] = le.Uint32(raw[4*i:])
	}
	return out, nil
}

// place is the sector of a grain, or 0 or vmdkZeroGrain.
func (v *vmdk) place(number int64) (uint32, error) {
	table := v.directory[number/v.perTable]
	if table == 0 {
		return 0, nil
	}
	v.mu.Lock()
	defer v.mu.Unlock()
	entries, ok := v.tables[table]
	if !ok {
		var err error
		if entries, err = v.entries(fmt.Sprintf("the grain table of byte %d of the disk", number*v.grain), uint64(table), v.perTable); err != nil {
			return 0, err
		}
		if len(v.tables) >= tablesKept {
			clear(v.tables)
		}
		v.tables[table] = entries
	}
	return entries[number%v.perTable], nil
}

// read gives the bytes of a grain; nil for one of zeros. The caller does not change them.
func (v *vmdk) read(number int64) ([]byte, error) {
	place, err := v.place(number)
	if err != nil || place == 0 || place == vmdkZeroGrain {
		return nil, err
	}
	v.mu.Lock()
	content, ok := v.grains[number]
	v.mu.Unlock()
	if ok {
		return content, nil
	}
	if content, err = v.unpack(number, int64(place)*sector); err != nil {
		return nil, fmt.Errorf("cannot read byte %d of the disk, which is at byte %d of the file: %w", number*v.grain, int64(place)*sector, err)
	}
	v.mu.Lock()
	defer v.mu.Unlock()
	if len(v.grains) >= grainsKept {
		clear(v.grains)
	}
	v.grains[number] = content
	return content, nil
}

func (v *vmdk) unpack(number, at int64) ([]byte, error) {
	content := make([]byte, v.grain)
	if !v.compressed {
		if at+v.grain > v.bytes {
			return nil, truncated("the grain", at+v.grain, v.bytes)
		}
		_, err := v.file.ReadAt(content, at)
		return content, err
	}
	var marker [12]byte // first sector on the disk, 8 bytes; size of the stream, 4 bytes
	if _, err := v.file.ReadAt(marker[:], at); err != nil {
		return nil, truncated("the grain's marker", at+int64(len(marker)), v.bytes)
	}
	size := int64(le.Uint32(marker[8:]))
	switch {
	case le.Uint64(marker[:]) != uint64(number*v.grain/sector):
		return nil, fmt.Errorf("the grain there says that it is of sector %d", le.Uint64(marker[:]))
	case at+int64(len(marker))+size > v.bytes:
		return nil, truncated("the grain", at+int64(len(marker))+size, v.bytes)
	}
	z, err := zlib.NewReader(io.NewSectionReader(v.file, at+int64(len(marker)), size))
	if err != nil {
		return nil, err
	}
	want := min(v.grain, v.size-number*v.grain)
	if n, err := io.ReadFull(z, content); err != nil && !(errors.Is(err, io.ErrUnexpectedEOF) && int64(n) >= want) {
		return nil, err
	}
	// The checksum lies behind the last byte.
	if n, err := z.Read(make([]byte, 1)); n != 0 || !errors.Is(err, io.EOF) {
		if err == nil {
			err = errors.New("it holds more than a grain")
		}
		return nil, err
	}
	return content, nil
}

func (v *vmdk) ReadAt(b []byte, at int64) (int, error) {
	done := 0
	for done < len(b) {
		if at >= v.size {
			return done, io.EOF
		}
		content, err := v.read(at / v.grain)
		if err != nil {
			return done, err
		}
		in := at % v.grain
		n := int(min(v.grain-in, v.size-at, int64(len(b)-done)))
		if content == nil {
			clear(b[done : done+n])
		} else {
			copy(b[done:done+n], content[in:])
		}
		done, at = done+n, at+int64(n)
	}
	return done, nil
}

func (v *vmdk) data(at int64) (start, end int64, err error) {
	for number := at / v.grain; number*v.grain < v.size; number++ {
		if v.directory[number/v.perTable] == 0 { // a whole table: disks of terabytes have thousands, and grains without number
			number += v.perTable - 1 - number%v.perTable
			continue
		}
		place, err := v.place(number)
		if err != nil {
			return 0, 0, err
		}
		if place != 0 && place != vmdkZeroGrain {
			return max(at, number*v.grain), (number + 1) * v.grain, nil
		}
	}
	return 0, 0, io.EOF
}
