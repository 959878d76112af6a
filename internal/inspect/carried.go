package inspect

import (
	"bytes"
	"debug/pe"
	"errors"
	"fmt"
	"io"
	"strconv"
)

// Where the archive of a netboot image has the root.
const (
	carriedRoot   = "strongroom/root.squashfs"
	carriedHashes = "strongroom/root.verity"
)

// carried finds the root that a unified kernel image for the network brings along: in the last archive of its initrd, which is not
// compressed.
func (in *inspector) carried(k *kernel) {
	p, err := pe.NewFile(k.file)
	if err != nil {
		return // said already
	}
	defer p.Close()
	s := p.Section(".initrd")
	if s == nil {
		return
	}
	initrd := io.NewSectionReader(k.file, int64(s.Offset), int64(min(s.VirtualSize, s.Size)))
	members, err := findArchive(initrd)
	if errors.Is(err, errNoArchive) {
		return
	}
	if err != nil {
		in.add("netboot-root", Fail, k.Path, "the archive with the root: %v", err)
		return
	}
	for name, d := range map[string]**device{carriedRoot: &in.root, carriedHashes: &in.hashes} {
		m, ok := members[name]
		if !ok {
			in.add("netboot-root", Fail, k.Path, "the archive with the root has no %s", name)
			continue
		}
		*d = &device{name: name, SectionReader: io.NewSectionReader(initrd, m.at, m.size)}
	}
}

type member struct{ at, size int64 }

var errNoArchive = errors.New("there is no archive with a root")

// findArchive looks for an archive that begins with the directory of the root, at a multiple of four bytes.
func findArchive(r *io.SectionReader) (map[string]member, error) {
	const step = 1 << 20
	magic := []byte(cpioMagic)
	buf := make([]byte, step+cpioHeader+16)
	for at := int64(0); at < r.Size(); at += step {
		n, err := r.ReadAt(buf, at)
		if err != nil && !errors.Is(err, io.EOF) {
			return nil, fmt.Errorf("cannot read byte %d of the initrd: %w", at, err)
		}
		for i := 0; i < n; {
			j := bytes.Index(buf[i:n], magic)
			if j < 0 {
				break
			}
			i += j
			if (at+int64(i))%4 == 0 && i < step && i+cpioHeader+len("strongroom") <= n && bytes.HasPrefix(buf[i+cpioHeader:n], []byte("strongroom\x00")) {
				return readArchive(io.NewSectionReader(r, at+int64(i), r.Size()-at-int64(i)), at+int64(i))
			}
			i += len(magic)
		}
	}
	return nil, errNoArchive
}

// A header of the "new" format is ASCII: the magic and thirteen numbers of eight hex digits.
const (
	cpioMagic  = "070701"
	cpioHeader = 110
	cpioSize   = 6 + 8*6
	cpioName   = 6 + 8*11
)

// readArchive lists the members of an archive that begins at byte base of what they are counted in.
func readArchive(r *io.SectionReader, base int64) (map[string]member, error) {
	members := map[string]member{}
	h := make([]byte, cpioHeader)
	const most = 64
	for at := int64(0); len(members) < most; {
		if _, err := r.ReadAt(h, at); err != nil {
			return nil, fmt.Errorf("it is cut off at byte %d of the initrd", base+at)
		}
		if string(h[:len(cpioMagic)]) != cpioMagic {
			return nil, fmt.Errorf("byte %d of the initrd begins no member", base+at)
		}
		size, err := strconv.ParseUint(string(h[cpioSize:cpioSize+8]), 16, 32)
		length, err2 := strconv.ParseUint(string(h[cpioName:cpioName+8]), 16, 32)
		if err != nil || err2 != nil || length == 0 || length > 4096 {
			return nil, fmt.Errorf("byte %d of the initrd begins no member", base+at)
		}
		name := make([]byte, length)
		if _, err := r.ReadAt(name, at+cpioHeader); err != nil {
			return nil, fmt.Errorf("it is cut off at byte %d of the initrd", base+at)
		}
		text := string(bytes.TrimRight(name, "\x00"))
		if text == "TRAILER!!!" {
			return members, nil
		}
		content := (at + cpioHeader + int64(length) + 3) / 4 * 4
		if content+int64(size) > r.Size() {
			return nil, fmt.Errorf("%s begins at byte %d of the initrd and is cut off", text, base+content)
		}
		members[text] = member{base + content, int64(size)}
		at = (content + int64(size) + 3) / 4 * 4
	}
	return nil, errors.New("it has more members than a bake puts into it")
}
