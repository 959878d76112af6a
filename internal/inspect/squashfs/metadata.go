package squashfs

import (
	"fmt"
	"io"
	"sync"
)

// cache keeps unpacked blocks by their place. When it is full it begins anew: what is read here is read in order.
type cache struct {
	mu    sync.Mutex
	limit int
	kept  map[uint64]cached
}

type cached struct {
	content []byte
	next    uint64
}

func (c *cache) get(at uint64) (cached, bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	v, ok := c.kept[at]
	return v, ok
}

func (c *cache) put(at uint64, v cached) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.kept == nil || len(c.kept) >= c.limit {
		c.kept = map[uint64]cached{}
	}
	c.kept[at] = v
}

// metaBlock unpacks the block of metadata at a byte, and tells where the next one begins.
func (f *FS) metaBlock(at uint64) (content []byte, next uint64, err error) {
	if v, ok := f.meta.get(at); ok {
		return v.content, v.next, nil
	}
	var head [2]byte
	if at > uint64(f.Bytes) {
		return nil, 0, fmt.Errorf("metadata is said to be at byte %d, and the file system ends at %d", at, f.Bytes)
	}
	if _, err := f.r.ReadAt(head[:], int64(at)); err != nil {
		return nil, 0, fmt.Errorf("cannot read the metadata at byte %d: %w", at, err)
	}
	size := le.Uint16(head[:])
	raw := make([]byte, size&^storedMeta)
	if len(raw) > metaSize {
		return nil, 0, fmt.Errorf("the block of metadata at byte %d has %d bytes", at, len(raw))
	}
	if _, err := f.r.ReadAt(raw, int64(at)+2); err != nil {
		return nil, 0, fmt.Errorf("cannot read the metadata at byte %d: %w", at, err)
	}
	content = raw
	if size&storedMeta == 0 {
		if content, err = f.unpack(make([]byte, 0, metaSize), raw); err != nil {
			return nil, 0, fmt.Errorf("cannot unpack the metadata at byte %d: %w", at, err)
		}
		if len(content) > metaSize {
			return nil, 0, fmt.Errorf("the block of metadata at byte %d unpacks to %d bytes", at, len(content))
		}
	}
	next = at + 2 + uint64(len(raw))
	f.meta.put(at, cached{content, next})
	return content, next, nil
}

// stream reads metadata over the ends of its blocks.
type stream struct {
	fs   *FS
	rest []byte
	next uint64
}

// at begins at a reference: the byte of a block behind the table's beginning, and the offset in what is unpacked.
func (f *FS) at(table, block uint64, offset uint16) (*stream, error) {
	content, next, err := f.metaBlock(table + block)
	if err != nil {
		return nil, err
	}
	if int(offset) > len(content) {
		return nil, fmt.Errorf("byte %d of the metadata at byte %d is behind its end", offset, table+block)
	}
	return &stream{f, content[offset:], next}, nil
}

// take reads n bytes. They are not to be changed.
func (s *stream) take(n int) ([]byte, error) {
	if n <= len(s.rest) {
		b := s.rest[:n:n]
		s.rest = s.rest[n:]
		return b, nil
	}
	var out []byte
	for len(out) < n {
		if len(s.rest) == 0 {
			content, next, err := s.fs.metaBlock(s.next)
			if err != nil {
				return nil, err
			}
			if len(content) == 0 {
				return nil, io.ErrUnexpectedEOF
			}
			s.rest, s.next = content, next
		}
		m := min(n-len(out), len(s.rest))
		out = append(out, s.rest[:m]...)
		s.rest = s.rest[m:]
	}
	return out, nil
}
