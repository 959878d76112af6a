package squashfs

import (
	"fmt"
	"io/fs"
	"path"
	"slices"
	"strings"
)

// Node is a file, a directory or what else has a name.
type Node struct {
	Path       string // "usr/bin/vault"; "." is the root
	Mode       fs.FileMode
	UID, GID   uint32
	Size       int64
	ModTime    int64 // Unix time
	Inode      uint32
	Links      uint32
	Target     string // of a symbolic link
	Device     uint32
	Capability []byte // security.capability; nil for none
	Children   []*Node

	start      uint64
	blocks     []uint32
	frag       uint32
	fragOffset uint32
}

// Types of an inode; the extended ones are seven more.
const (
	typeDirectory = iota + 1
	typeFile
	typeSymlink
	typeBlock
	typeChar
	typeFifo
	typeSocket
	extended = 7
)

var modes = map[uint16]fs.FileMode{
	typeDirectory: fs.ModeDir, typeFile: 0, typeSymlink: fs.ModeSymlink, typeBlock: fs.ModeDevice,
	typeChar: fs.ModeDevice | fs.ModeCharDevice, typeFifo: fs.ModeNamedPipe, typeSocket: fs.ModeSocket,
}

// directory is where a directory's entries are.
type directory struct {
	block  uint32
	offset uint16
	size   int
}

// inode reads one. Of a directory it also tells where the entries are.
func (f *FS) inode(block uint64, offset uint16) (*Node, directory, error) {
	s, err := f.at(f.inodeTable, block, offset)
	if err != nil {
		return nil, directory{}, err
	}
	h, err := s.take(16)
	if err != nil {
		return nil, directory{}, err
	}
	kind, mode := le.Uint16(h), le.Uint16(h[2:])
	wide := kind > extended
	if wide {
		kind -= extended
	}
	bits, known := modes[kind]
	if !known {
		return nil, directory{}, fmt.Errorf("type %d is not known", kind)
	}
	n := &Node{Mode: bits | fs.FileMode(mode&0o777), ModTime: int64(le.Uint32(h[8:])), Inode: le.Uint32(h[12:]), frag: noFragment}
	for bit, m := range map[uint16]fs.FileMode{0o4000: fs.ModeSetuid, 0o2000: fs.ModeSetgid, 0o1000: fs.ModeSticky} {
		if mode&bit != 0 {
			n.Mode |= m
		}
	}
	for i, id := range []*uint32{&n.UID, &n.GID} {
		index := int(le.Uint16(h[4+2*i:]))
		if index >= len(f.ids) {
			return nil, directory{}, fmt.Errorf("owner %d of %d", index, len(f.ids))
		}
		*id = f.ids[index]
	}
	d, err := f.body(s, n, kind, wide)
	return n, d, err
}

// body reads what comes after the header of an inode.
func (f *FS) body(s *stream, n *Node, kind uint16, wide bool) (d directory, err error) {
	var b []byte
	attributes := uint32(noXattr)
	take := func(n int) bool {
		if err == nil {
			b, err = s.take(n)
		}
		return err == nil
	}
	switch {
	case kind == typeDirectory && !wide && take(16):
		n.Links = le.Uint32(b[4:])
		d = directory{le.Uint32(b), le.Uint16(b[10:]), int(le.Uint16(b[8:]))}
	case kind == typeDirectory && wide && take(24):
		n.Links = le.Uint32(b)
		d = directory{le.Uint32(b[8:]), le.Uint16(b[18:]), int(le.Uint32(b[4:]))}
		attributes = le.Uint32(b[20:])
	case kind == typeFile && !wide && take(16):
		n.Links, n.start, n.frag, n.fragOffset, n.Size = 1, uint64(le.Uint32(b)), le.Uint32(b[4:]), le.Uint32(b[8:]), int64(le.Uint32(b[12:]))
		err = f.blockList(s, n)
	case kind == typeFile && wide && take(40):
		n.start, n.Size, n.Links = le.Uint64(b), int64(le.Uint64(b[8:])), le.Uint32(b[24:])
		n.frag, n.fragOffset, attributes = le.Uint32(b[28:]), le.Uint32(b[32:]), le.Uint32(b[36:])
		err = f.blockList(s, n)
	case kind == typeSymlink && take(8):
		n.Links = le.Uint32(b)
		size := le.Uint32(b[4:])
		if size > 1<<16 {
			return d, fmt.Errorf("a link of %d bytes", size)
		}
		if take(int(size)) {
			n.Target, n.Size = string(b), int64(size)
		}
		if wide && take(4) {
			attributes = le.Uint32(b)
		}
	case kind == typeBlock || kind == typeChar:
		if take(8) {
			n.Links, n.Device = le.Uint32(b), le.Uint32(b[4:])
		}
		if wide && take(4) {
			attributes = le.Uint32(b)
		}
	case kind == typeFifo || kind == typeSocket:
		if take(4) {
			n.Links = le.Uint32(b)
		}
		if wide && take(4) {
			attributes = le.Uint32(b)
		}
	}
	if err == nil && attributes != noXattr {
		n.Capability, err = f.capability(attributes)
	}
	return d, err
}

func (f *FS) blockList(s *stream, n *Node) error {
	if n.Size < 0 {
		return fmt.Errorf("a file of %d bytes", n.Size)
	}
	count := n.Size / f.BlockSize
	if n.frag == noFragment && n.Size%f.BlockSize != 0 {
		count++
	}
	if f.blocks += int(min(count, maxBlocks)); f.blocks > maxBlocks {
		return fmt.Errorf("all files together have more than %d blocks", maxBlocks)
	}
	for range count {
		b, err := s.take(4)
		if err != nil {
			return err
		}
		n.blocks = append(n.blocks, le.Uint32(b))
	}
	return nil
}

// walk reads the whole tree of names.
func (f *FS) walk() error {
	root, d, err := f.inode(f.rootRef>>16, uint16(f.rootRef))
	if err != nil {
		return fmt.Errorf("cannot read the root directory: %w", err)
	}
	if !root.Mode.IsDir() {
		return fmt.Errorf("the root is no directory")
	}
	root.Path = "."
	f.add(root)
	return f.list(root, d, map[uint32]bool{root.Inode: true}, 0)
}

func (f *FS) add(n *Node) {
	f.Nodes = append(f.Nodes, n)
	f.byPath[n.Path] = n
}

// list reads a directory and what is below it. A directory that was seen before would have no end.
func (f *FS) list(dir *Node, d directory, seen map[uint32]bool, depth int) error {
	if depth > maxDepth {
		return fmt.Errorf("/%s: directories lie in each other more than %d deep", dir.Path, maxDepth)
	}
	const none = 3 // what an empty directory is said to have: "." and ".." are not stored
	if d.size <= none {
		return nil
	}
	s, err := f.at(f.directoryTable, uint64(d.block), d.offset)
	if err != nil {
		return fmt.Errorf("cannot read the directory /%s: %w", dir.Path, err)
	}
	for left := d.size - none; left > 0; {
		h, err := s.take(12)
		if err != nil {
			return fmt.Errorf("cannot read the directory /%s: %w", dir.Path, err)
		}
		left -= 12
		count, block := le.Uint32(h), le.Uint32(h[4:])
		if count > 255 {
			return fmt.Errorf("the directory /%s has %d entries in a row, and 256 are the most", dir.Path, count)
		}
		for range count + 1 {
			e, err := s.take(8)
			if err != nil {
				return fmt.Errorf("cannot read the directory /%s: %w", dir.Path, err)
			}
			name, err := s.take(int(le.Uint16(e[6:])) + 1)
			if err != nil {
				return fmt.Errorf("cannot read the directory /%s: %w", dir.Path, err)
			}
			left -= 8 + len(name)
			if err := f.entry(dir, string(name), uint64(block), le.Uint16(e), seen, depth); err != nil {
				return err
			}
		}
	}
	slices.SortFunc(dir.Children, func(a, b *Node) int { return strings.Compare(a.Path, b.Path) })
	return nil
}

func (f *FS) entry(dir *Node, name string, block uint64, offset uint16, seen map[uint32]bool, depth int) error {
	if name == "." || name == ".." || strings.ContainsAny(name, "/\x00") {
		return fmt.Errorf("the directory /%s has an entry with the name %q", dir.Path, name)
	}
	full := path.Join(dir.Path, name)
	if f.byPath[full] != nil {
		return fmt.Errorf("/%s is there twice", full)
	}
	n, d, err := f.inode(block, offset)
	if err != nil {
		return fmt.Errorf("cannot read /%s: %w", full, err)
	}
	n.Path = full
	if len(f.Nodes) > maxInodes {
		return fmt.Errorf("there are more than %d names", maxInodes)
	}
	f.add(n)
	dir.Children = append(dir.Children, n)
	if !n.Mode.IsDir() {
		return nil
	}
	if seen[n.Inode] {
		return fmt.Errorf("/%s is a directory that is elsewhere too", full)
	}
	seen[n.Inode] = true
	return f.list(n, d, seen, depth+1)
}
