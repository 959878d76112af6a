package squashfs

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"path"
	"slices"
	"strings"
	"time"
)

var (
	_ fs.ReadDirFS  = (*FS)(nil)
	_ fs.StatFS     = (*FS)(nil)
	_ fs.ReadLinkFS = (*FS)(nil)
)

// Look finds what a path names; a symbolic link is not followed in its last element.
func (f *FS) Look(name string) (*Node, error) { return f.resolve("lstat", name, false) }

// Follow finds what a path names in the end. All links stay inside, as they do for the system that has this as its root.
func (f *FS) Follow(name string) (*Node, error) { return f.resolve("stat", name, true) }

func (f *FS) resolve(op, name string, follow bool) (*Node, error) {
	failure := func(err error) error { return &fs.PathError{Op: op, Path: name, Err: err} }
	if !fs.ValidPath(name) {
		return nil, failure(fs.ErrInvalid)
	}
	if n := f.byPath[name]; n != nil && (!follow || n.Mode&fs.ModeSymlink == 0) {
		return n, nil
	}
	at, rest := f.Nodes[0], strings.Split(name, "/")
	for links := 0; len(rest) > 0; {
		step := rest[0]
		rest = rest[1:]
		switch step {
		case "", ".":
			continue
		case "..":
			at = f.byPath[path.Dir(at.Path)] // that of the root is the root
			continue
		}
		if !at.Mode.IsDir() {
			return nil, failure(errors.New("not a directory"))
		}
		n := f.byPath[path.Join(at.Path, step)]
		if n == nil {
			return nil, failure(fs.ErrNotExist)
		}
		if n.Mode&fs.ModeSymlink == 0 || len(rest) == 0 && !follow {
			at = n
			continue
		}
		if links++; links > 40 {
			return nil, failure(errors.New("too many levels of symbolic links"))
		}
		if strings.HasPrefix(n.Target, "/") {
			at = f.Nodes[0]
		}
		rest = slices.Concat(strings.Split(n.Target, "/"), rest)
	}
	return at, nil
}

// Open implements fs.FS.
func (f *FS) Open(name string) (fs.File, error) {
	n, err := f.resolve("open", name, true)
	if err != nil {
		return nil, err
	}
	if n.Mode.IsDir() {
		return &openDir{info{n, path.Base(name)}, n.Children}, nil
	}
	if !n.Mode.IsRegular() {
		return nil, &fs.PathError{Op: "open", Path: name, Err: errors.New("not a regular file")}
	}
	return &openFile{info: info{n, path.Base(name)}, SectionReader: f.Reader(n)}, nil
}

// Reader reads a regular file.
func (f *FS) Reader(n *Node) *io.SectionReader {
	return io.NewSectionReader(&content{fs: f, node: n, last: -1}, 0, n.Size)
}

// ReadDir implements fs.ReadDirFS.
func (f *FS) ReadDir(name string) ([]fs.DirEntry, error) {
	n, err := f.resolve("readdir", name, true)
	if err != nil {
		return nil, err
	}
	if !n.Mode.IsDir() {
		return nil, &fs.PathError{Op: "readdir", Path: name, Err: errors.New("not a directory")}
	}
	return entries(n.Children), nil
}

// Stat implements fs.StatFS.
func (f *FS) Stat(name string) (fs.FileInfo, error) {
	n, err := f.Follow(name)
	if err != nil {
		return nil, err
	}
	return info{n, path.Base(name)}, nil
}

// Lstat implements fs.ReadLinkFS.
func (f *FS) Lstat(name string) (fs.FileInfo, error) {
	n, err := f.Look(name)
	if err != nil {
		return nil, err
	}
	return info{n, path.Base(name)}, nil
}

// ReadLink implements fs.ReadLinkFS.
func (f *FS) ReadLink(name string) (string, error) {
	n, err := f.Look(name)
	if err != nil {
		return "", err
	}
	if n.Mode&fs.ModeSymlink == 0 {
		return "", &fs.PathError{Op: "readlink", Path: name, Err: fs.ErrInvalid}
	}
	return n.Target, nil
}

type info struct {
	node *Node
	name string
}

func (i info) Name() string       { return i.name }
func (i info) Size() int64        { return i.node.Size }
func (i info) Mode() fs.FileMode  { return i.node.Mode }
func (i info) ModTime() time.Time { return time.Unix(i.node.ModTime, 0) }
func (i info) IsDir() bool        { return i.node.Mode.IsDir() }
func (i info) Sys() any           { return i.node }

func entries(nodes []*Node) []fs.DirEntry {
	out := make([]fs.DirEntry, len(nodes))
	for i, n := range nodes {
		out[i] = fs.FileInfoToDirEntry(info{n, path.Base(n.Path)})
	}
	return out
}

type openFile struct {
	info
	*io.SectionReader
}

// Size is that of both.
func (o *openFile) Size() int64                { return o.info.Size() }
func (o *openFile) Stat() (fs.FileInfo, error) { return o.info, nil }
func (o *openFile) Close() error               { return nil }

type openDir struct {
	info
	rest []*Node
}

func (o *openDir) Stat() (fs.FileInfo, error) { return o.info, nil }
func (o *openDir) Close() error               { return nil }
func (o *openDir) Read([]byte) (int, error) {
	return 0, &fs.PathError{Op: "read", Path: o.node.Path, Err: errors.New("is a directory")}
}

func (o *openDir) ReadDir(n int) ([]fs.DirEntry, error) {
	if n > 0 && len(o.rest) == 0 {
		return nil, io.EOF
	}
	if n <= 0 || n > len(o.rest) {
		n = len(o.rest)
	}
	out := entries(o.rest[:n])
	o.rest = o.rest[n:]
	return out, nil
}

// content is that of one open file. It keeps the block that was read last.
type content struct {
	fs   *FS
	node *Node

	last   int64 // number of the block that is kept
	block  []byte
	packed []byte
	offset uint64 // of the block after the last one that was looked up, and its number
	number int64
}

// ReadAt implements io.ReaderAt, for one caller at a time.
func (c *content) ReadAt(b []byte, at int64) (int, error) {
	done := 0
	for done < len(b) && at < c.node.Size {
		number := at / c.fs.BlockSize
		if number != c.last {
			if err := c.load(number); err != nil {
				return done, fmt.Errorf("cannot read /%s at byte %d: %w", c.node.Path, number*c.fs.BlockSize, err)
			}
		}
		n := copy(b[done:], c.block[at-number*c.fs.BlockSize:])
		done, at = done+n, at+int64(n)
	}
	if done < len(b) {
		return done, io.EOF
	}
	return done, nil
}

func (c *content) load(number int64) error {
	c.last = -1
	want := min(c.fs.BlockSize, c.node.Size-number*c.fs.BlockSize)
	if number >= int64(len(c.node.blocks)) {
		whole, err := c.fs.fragment(c.node.frag)
		if err != nil {
			return err
		}
		end := int64(c.node.fragOffset) + want
		if end > int64(len(whole)) {
			return fmt.Errorf("its end lies at byte %d of a fragment of %d", end, len(whole))
		}
		c.block, c.last = whole[c.node.fragOffset:end], number
		return nil
	}
	if number < c.number {
		c.offset, c.number = 0, 0
	}
	for ; c.number < number; c.number++ {
		c.offset += uint64(c.node.blocks[c.number] &^ stored)
	}
	if c.node.blocks[number]&^stored == 0 { // a hole
		c.block, c.last = make([]byte, want), number
		return nil
	}
	block, err := c.fs.block(c.packed, c.node.start+c.offset, c.node.blocks[number])
	if err != nil {
		return err
	}
	if int64(len(block)) != want {
		return fmt.Errorf("the block at byte %d unpacks to %d bytes instead of %d", c.node.start+c.offset, len(block), want)
	}
	c.packed = block[:0] // its room is used again
	c.block, c.last = block, number
	return nil
}

// fragment unpacks a block that the ends of many files share.
func (f *FS) fragment(index uint32) ([]byte, error) {
	if int64(index) >= int64(len(f.frags)) {
		return nil, fmt.Errorf("fragment %d of %d", index, len(f.frags))
	}
	frag := f.frags[index]
	if v, ok := f.frag.get(frag.start); ok {
		return v.content, nil
	}
	content, err := f.block(nil, frag.start, frag.size)
	if err != nil {
		return nil, err
	}
	f.frag.put(frag.start, cached{content: content})
	return content, nil
}

// block reads and unpacks a block of data, into dst where that has room.
func (f *FS) block(dst []byte, at uint64, size uint32) ([]byte, error) {
	packed := int64(size &^ stored)
	if packed == 0 || packed > f.BlockSize || at > uint64(f.Bytes) {
		return nil, fmt.Errorf("the block is said to be at byte %d, with %d bytes", at, packed)
	}
	raw := make([]byte, packed)
	if _, err := f.r.ReadAt(raw, int64(at)); err != nil {
		return nil, fmt.Errorf("cannot read byte %d: %w", at, err)
	}
	if size&stored != 0 {
		return raw, nil
	}
	if int64(cap(dst)) < f.BlockSize {
		dst = make([]byte, 0, f.BlockSize)
	}
	out, err := f.unpack(dst, raw)
	if err != nil {
		return nil, fmt.Errorf("cannot unpack the block at byte %d: %w", at, err)
	}
	return out, nil
}

// Place says where the first byte of a file's content lies in the file system: that of its first block that is no hole, or of the
// fragment that it shares. -1: it has none.
func (f *FS) Place(n *Node) int64 {
	if slices.ContainsFunc(n.blocks, func(size uint32) bool { return size&^stored != 0 }) {
		return int64(n.start)
	}
	if n.frag != noFragment && int(n.frag) < len(f.frags) {
		return int64(f.frags[n.frag].start)
	}
	return -1
}

// Owners are the files whose content is packed between two bytes of the file system: those of whole blocks, and those that share
// a fragment there.
func (f *FS) Owners(from, to int64) []*Node {
	overlaps := func(start, size int64) bool { return start < to && from < start+size }
	var out []*Node
	for _, n := range f.Nodes {
		start := int64(n.start)
		size := int64(0)
		for _, b := range n.blocks {
			size += int64(b &^ stored)
		}
		shared := false
		if n.frag != noFragment && int(n.frag) < len(f.frags) {
			frag := f.frags[n.frag]
			shared = overlaps(int64(frag.start), int64(frag.size&^stored))
		}
		if n.Mode.IsRegular() && (overlaps(start, size) || shared) {
			out = append(out, n)
		}
	}
	return out
}
