package squashfs

import "fmt"

// xattrTable says where the extended attributes are.
type xattrTable struct {
	start   uint64 // of names and values
	entries []byte // 16 bytes each: reference, number, size
}

const (
	xattrEntry    = 16
	xattrSecurity = 2
	xattrAside    = 1 << 8 // the value lies elsewhere
	capability    = "capability"
)

func (f *FS) readXattrTable() error {
	if f.xattr == noTable {
		return nil
	}
	if f.xattr > uint64(f.Bytes) {
		return fmt.Errorf("it is said to be at byte %d, and the file system ends at %d", f.xattr, f.Bytes)
	}
	h := make([]byte, 16)
	if _, err := f.r.ReadAt(h, int64(f.xattr)); err != nil {
		return fmt.Errorf("cannot read byte %d: %w", f.xattr, err)
	}
	n := le.Uint32(h[8:])
	if n > maxInodes {
		return fmt.Errorf("it has %d entries", n)
	}
	f.xattrs.start = le.Uint64(h)
	var err error
	f.xattrs.entries, err = f.indirect(f.xattr+16, xattrEntry*int(n))
	return err
}

// capability finds security.capability among the attributes of an index.
func (f *FS) capability(index uint32) ([]byte, error) {
	if int(index)*xattrEntry+xattrEntry > len(f.xattrs.entries) {
		return nil, fmt.Errorf("extended attributes %d of %d", index, len(f.xattrs.entries)/xattrEntry)
	}
	e := f.xattrs.entries[int(index)*xattrEntry:]
	s, err := f.at(f.xattrs.start, le.Uint64(e)>>16, uint16(le.Uint64(e)))
	if err != nil {
		return nil, err
	}
	for range min(le.Uint32(e[8:]), 1024) {
		h, err := s.take(4)
		if err != nil {
			return nil, err
		}
		kind := le.Uint16(h)
		name, err := s.take(int(le.Uint16(h[2:])))
		if err != nil {
			return nil, err
		}
		value, err := readValue(s)
		if err != nil {
			return nil, err
		}
		if kind&0xff != xattrSecurity || string(name) != capability {
			continue
		}
		if kind&xattrAside == 0 {
			return value, nil
		}
		if len(value) != 8 {
			return nil, fmt.Errorf("a reference of %d bytes", len(value))
		}
		aside, err := f.at(f.xattrs.start, le.Uint64(value)>>16, uint16(le.Uint64(value)))
		if err != nil {
			return nil, err
		}
		return readValue(aside)
	}
	return nil, nil
}

func readValue(s *stream) ([]byte, error) {
	h, err := s.take(4)
	if err != nil {
		return nil, err
	}
	size := le.Uint32(h)
	if size > maxXattrs {
		return nil, fmt.Errorf("an extended attribute of %d bytes", size)
	}
	return s.take(int(size))
}
