// Package fat reads and verifies a FAT file system, as an EFI system partition is one. Libraries follow a chain of clusters that
// bites its tail, and take what cannot be read for zeros; here every cluster is accounted for.
package fat

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"path"
	"slices"
	"strings"
	"unicode/utf16"
)

// Limits of what is believed: far above what an EFI system partition is.
const (
	maxClusters = 8 << 20
	maxEntries  = 1 << 16
	maxDepth    = 16
	maxDir      = 1 << 20 // bytes
)

// FS is a file system.
type FS struct {
	Bits  int // 12, 16 or 32
	Label string
	Files []*File // in the order of a walk; directories are not among them

	r             io.ReaderAt
	size          int64 // bytes of the device
	sector        int64
	cluster       int64 // bytes
	clusters      uint32
	reserved      int64 // bytes before the first table
	tables        int64
	tableLen      int64 // bytes
	rootAt        int64 // of FAT12 and FAT16
	rootLen       int64
	dataAt        int64
	end           int64 // of the data
	backup        int64 // byte of the second boot sector; 0 for none
	info          int64 // byte of the FSInfo sector; 0 for none
	table         []byte
	used          []bool // by cluster: belongs to a file or directory that was seen
	entries       int
	lastOfEntries []span // what lies behind the last entry of each directory
}

// File is a file.
type File struct {
	Path string // "EFI/BOOT/BOOTX64.EFI"
	Size int64

	fs    *FS
	chain []uint32
}

type span struct{ at, size int64 }

// ErrNone says that a device has no such file system.
var ErrNone = errors.New("there is no FAT file system")

var le = binary.LittleEndian

// Read reads the tables and all directories.
func Read(r io.ReaderAt, size int64) (*FS, error) {
	b := make([]byte, 512)
	if _, err := r.ReadAt(b, 0); err != nil {
		return nil, fmt.Errorf("cannot read the boot sector: %w", err)
	}
	if b[510] != 0x55 || b[511] != 0xaa {
		return nil, fmt.Errorf("%w: the boot sector has no signature", ErrNone)
	}
	f := &FS{r: r, size: size, sector: int64(le.Uint16(b[11:])), tables: int64(b[16])}
	perCluster := int64(b[13])
	if f.sector < 512 || f.sector > 4096 || f.sector&(f.sector-1) != 0 || perCluster == 0 || perCluster&(perCluster-1) != 0 || f.tables < 1 || f.tables > 2 {
		return nil, fmt.Errorf("%w: the boot sector has sectors of %d bytes, %d in a cluster, %d tables", ErrNone, f.sector, perCluster, f.tables)
	}
	f.cluster = f.sector * perCluster
	f.reserved = int64(le.Uint16(b[14:])) * f.sector
	f.rootLen = (int64(le.Uint16(b[17:]))*32 + f.sector - 1) / f.sector * f.sector
	total, tableSectors := int64(le.Uint16(b[19:])), int64(le.Uint16(b[22:]))
	wide := tableSectors == 0
	if total == 0 {
		total = int64(le.Uint32(b[32:]))
	}
	if wide {
		tableSectors = int64(le.Uint32(b[36:]))
	}
	f.tableLen = tableSectors * f.sector
	f.rootAt = f.reserved + f.tables*f.tableLen
	f.dataAt = f.rootAt + f.rootLen
	n := (total*f.sector - f.dataAt) / f.cluster
	switch {
	case total*f.sector > size:
		return nil, fmt.Errorf("the file system has %d bytes and the partition %d", total*f.sector, size)
	case f.reserved < f.sector || n < 1 || n > maxClusters:
		return nil, fmt.Errorf("%w: the boot sector leaves room for %d clusters", ErrNone, n)
	case n < 4085:
		f.Bits = 12
	case n < 65525:
		f.Bits = 16
	default:
		f.Bits = 32
	}
	if wide {
		f.Bits = 32 // firmware goes by the number of clusters, and mkfs.vfat lets one ask for fewer
	}
	f.clusters = uint32(n)
	f.end = f.dataAt + n*f.cluster
	if f.tableLen*8 < (n+2)*int64(f.Bits) {
		return nil, fmt.Errorf("the table has %d bytes, which is not enough for %d clusters", f.tableLen, n)
	}
	f.table = make([]byte, f.tableLen)
	if _, err := r.ReadAt(f.table, f.reserved); err != nil {
		return nil, fmt.Errorf("cannot read the table at byte %d: %w", f.reserved, err)
	}
	f.used = make([]bool, n+2)
	label := b[43:54]
	if f.Bits == 32 {
		label = b[71:82]
		f.info, f.backup = int64(le.Uint16(b[48:]))*f.sector, int64(le.Uint16(b[50:]))*f.sector
	}
	f.Label = strings.TrimRight(printable(label), " ")
	return f, f.walkRoot(b)
}

func (f *FS) walkRoot(boot []byte) error {
	if f.Bits != 32 {
		content := make([]byte, f.rootLen)
		if _, err := f.r.ReadAt(content, f.rootAt); err != nil {
			return fmt.Errorf("cannot read the root directory at byte %d: %w", f.rootAt, err)
		}
		return f.walk("", content, []span{{f.rootAt, f.rootLen}}, 0)
	}
	return f.directory("", le.Uint32(boot[44:]), 0)
}

// directory reads the directory that begins at a cluster.
func (f *FS) directory(name string, first uint32, depth int) error {
	if depth > maxDepth {
		return fmt.Errorf("%s: directories lie in each other more than %d deep", name, maxDepth)
	}
	chain, err := f.chain("the directory /"+name, first)
	if err != nil {
		return err
	}
	if int64(len(chain))*f.cluster > maxDir {
		return fmt.Errorf("the directory /%s has %d bytes", name, int64(len(chain))*f.cluster)
	}
	content := make([]byte, int64(len(chain))*f.cluster)
	var where []span
	for i, c := range chain {
		at := f.place(c)
		where = append(where, span{at, f.cluster})
		if _, err := f.r.ReadAt(content[int64(i)*f.cluster:][:f.cluster], at); err != nil {
			return fmt.Errorf("cannot read the directory /%s at byte %d: %w", name, at, err)
		}
	}
	return f.walk(name, content, where, depth)
}

// Attributes of an entry.
const (
	attrVolume    = 0x08
	attrDirectory = 0x10
	attrLongName  = 0x0f
)

// walk takes the entries of a directory.
func (f *FS) walk(dir string, content []byte, where []span, depth int) error {
	var long []uint16
	var sum byte
	for i := 0; i+32 <= len(content); i += 32 {
		e := content[i:][:32]
		if e[0] == 0 {
			f.lastOfEntries = append(f.lastOfEntries, behind(where, int64(i))...)
			break
		}
		if f.entries++; f.entries > maxEntries {
			return fmt.Errorf("there are more than %d entries", maxEntries)
		}
		switch {
		case e[0] == 0xe5:
			long = nil
			continue
		case e[11]&0x3f == attrLongName:
			if e[0]&0x40 != 0 {
				long, sum = nil, e[13]
			}
			long = slices.Concat(longName(e), long)
			continue
		case e[11]&attrVolume != 0:
			long = nil
			continue
		}
		name := shortName(e)
		if len(long) > 0 && sum == checksum(e) {
			name = string(utf16.Decode(long))
		}
		long = nil
		if name == "." || name == ".." {
			continue
		}
		if name == "" || strings.ContainsAny(name, "/\x00") {
			return fmt.Errorf("the directory /%s has an entry with the name %q", dir, name)
		}
		first := uint32(le.Uint16(e[26:]))
		if f.Bits == 32 {
			first |= uint32(le.Uint16(e[20:])) << 16
		}
		full := path.Join(dir, name)
		if e[11]&attrDirectory != 0 {
			if err := f.directory(full, first, depth+1); err != nil {
				return err
			}
			continue
		}
		file := &File{Path: full, Size: int64(le.Uint32(e[28:])), fs: f}
		if file.Size > 0 {
			var err error
			if file.chain, err = f.chain("/"+full, first); err != nil {
				return err
			}
		}
		if need := (file.Size + f.cluster - 1) / f.cluster; int64(len(file.chain)) != need {
			return fmt.Errorf("/%s has %d bytes, and %d clusters of %d bytes", full, file.Size, len(file.chain), f.cluster)
		}
		f.Files = append(f.Files, file)
	}
	return nil
}

// behind are the pieces from byte i of a directory on.
func behind(where []span, i int64) []span {
	var out []span
	for _, s := range where {
		if i < s.size {
			out = append(out, span{s.at + max(i, 0), s.size - max(i, 0)})
		}
		i -= s.size
	}
	return out
}

// chain follows a chain of clusters. No cluster is part of two.
func (f *FS) chain(what string, first uint32) ([]uint32, error) {
	var out []uint32
	for c := first; ; {
		if c < 2 || c >= f.clusters+2 {
			return nil, fmt.Errorf("the table leads from %s to cluster %d, and there are %d", what, c, f.clusters)
		}
		if f.used[c] {
			return nil, fmt.Errorf("cluster %d of %s belongs to something else too", c, what)
		}
		f.used[c] = true
		out = append(out, c)
		next := f.entry(c)
		if next >= f.ending() {
			return out, nil
		}
		c = next
	}
}

func (f *FS) entry(c uint32) uint32 {
	switch f.Bits {
	case 12:
		v := le.Uint16(f.table[c+c/2:])
		if c%2 == 1 {
			return uint32(v >> 4)
		}
		return uint32(v & 0xfff)
	case 16:
		return uint32(le.Uint16(f.table[2*c:]))
	}
	return le.Uint32(f.table[4*c:]) & 0x0fffffff
}

// ending is the first of the numbers that end a chain.
func (f *FS) ending() uint32 { return map[int]uint32{12: 0xff8, 16: 0xfff8, 32: 0x0ffffff8}[f.Bits] }

func (f *FS) place(c uint32) int64 { return f.dataAt + int64(c-2)*f.cluster }

func longName(e []byte) []uint16 {
	var out []uint16
	for _, at := range [][2]int{{1, 11}, {14, 26}, {28, 32}} {
		for i := at[0]; i < at[1]; i += 2 {
			u := le.Uint16(e[i:])
			if u == 0 {
				return out
			}
			out = append(out, u)
		}
	}
	return out
}

func checksum(e []byte) byte {
	var sum byte
	for _, b := range e[:11] {
		sum = sum>>1 | sum<<7
		sum += b
	}
	return sum
}

func shortName(e []byte) string {
	lower := func(s string, bit byte) string {
		if e[12]&bit != 0 {
			return strings.ToLower(s)
		}
		return s
	}
	name := lower(strings.TrimRight(printable(e[:8]), " "), 0x08)
	if ext := lower(strings.TrimRight(printable(e[8:11]), " "), 0x10); ext != "" {
		name += "." + ext
	}
	return name
}

func printable(b []byte) string {
	return strings.Map(func(r rune) rune {
		if r < ' ' || r > '~' {
			return '_'
		}
		return r
	}, string(bytes.TrimRight(b, "\x00")))
}

// Find finds a file; FAT does not tell upper from lower case.
func (f *FS) Find(name string) (*File, bool) {
	for _, file := range f.Files {
		if strings.EqualFold(file.Path, name) {
			return file, true
		}
	}
	return nil, false
}

// Reader reads a file.
func (file *File) Reader() *io.SectionReader { return io.NewSectionReader(file, 0, file.Size) }

// ReadAt implements io.ReaderAt.
func (file *File) ReadAt(b []byte, at int64) (int, error) {
	done := 0
	for done < len(b) {
		if at >= file.Size {
			return done, io.EOF
		}
		i := at / file.fs.cluster
		last := i
		for int(last+1) < len(file.chain) && file.chain[last+1] == file.chain[last]+1 && (last+1-i)*file.fs.cluster < int64(len(b)-done) {
			last++
		}
		in := at % file.fs.cluster
		n := min((last-i+1)*file.fs.cluster-in, file.Size-at, int64(len(b)-done))
		if m, err := file.fs.r.ReadAt(b[done:done+int(n)], file.fs.place(file.chain[i])+in); err != nil {
			return done + m, err
		}
		done, at = done+int(n), at+n
	}
	return done, nil
}

// At is the byte of the device at which a byte of the file lies.
func (file *File) At(offset int64) int64 {
	if offset < 0 || offset >= file.Size {
		return -1
	}
	return file.fs.place(file.chain[offset/file.fs.cluster]) + offset%file.fs.cluster
}

// Offset is the byte of the file that lies at a byte of the device.
func (file *File) Offset(at int64) (int64, bool) {
	for i, c := range file.chain {
		if start := file.fs.place(c); at >= start && at < start+file.fs.cluster {
			offset := int64(i)*file.fs.cluster + at - start
			return offset, offset < file.Size
		}
	}
	return 0, false
}
