package leaks

import (
	"archive/tar"
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"path"
	"runtime"
	"strings"
	"sync"
	"sync/atomic"

	"golang.org/x/sync/errgroup"
)

// Scanner looks through files, several at a time. The zero value is ready; it must not be used twice at once.
type Scanner struct {
	Memory *Memory // of what earlier scans found nothing in; nil for none

	remembered atomic.Int64
	mu         sync.Mutex
	found      []candidate
}

// Report is what a scan found, and how much it looked at.
type Report struct {
	Findings   []Finding
	Files      int
	Bytes      int64
	Remembered int64 // of the bytes, those that an earlier scan had found nothing in
}

// file is what is known of a file when its first bytes are read.
type file struct {
	path string
	size int64
	head []byte // the first chunk, at most chunkSize
	text bool
}

// chunkSize bounds the memory of a scan: some chunks for each processor.
const chunkSize = 1 << 20

var chunks = sync.Pool{New: func() any { return new([chunkSize]byte) }}

// FS looks through a file tree. Links are not followed.
func (s *Scanner) FS(ctx context.Context, tree fs.FS, allow []Allowance) (Report, error) {
	return s.scan(ctx, allow, func(each func(name string, size int64, r io.Reader) error) error {
		var unread []error
		err := fs.WalkDir(tree, ".", func(name string, entry fs.DirEntry, err error) error {
			if err != nil {
				unread = append(unread, err)
				return nil
			}
			if !entry.Type().IsRegular() {
				return ctx.Err()
			}
			f, err := tree.Open(name)
			if err != nil {
				unread = append(unread, err)
				return nil
			}
			defer f.Close()
			info, err := f.Stat()
			if err != nil {
				unread = append(unread, err)
				return nil
			}
			if err := each(name, info.Size(), f); err != nil {
				if ctx.Err() != nil {
					return ctx.Err()
				}
				unread = append(unread, fmt.Errorf("cannot read %s: %w", name, err))
			}
			return nil
		})
		return errors.Join(append(unread, err)...)
	})
}

// Tar looks through the files of a tar, which is read to its end.
func (s *Scanner) Tar(ctx context.Context, r io.Reader, allow []Allowance) (Report, error) {
	return s.scan(ctx, allow, func(each func(name string, size int64, r io.Reader) error) error {
		t := tar.NewReader(r)
		for {
			h, err := t.Next()
			if errors.Is(err, io.EOF) {
				_, err := io.Copy(io.Discard, r)
				return err
			}
			if err != nil {
				return fmt.Errorf("cannot read the tar: %w", err)
			}
			if h.Typeflag != tar.TypeReg {
				continue
			}
			if err := each(h.Name, h.Size, t); err != nil {
				return fmt.Errorf("cannot read %s: %w", h.Name, err)
			}
		}
	})
}

// scan runs a walk and the workers that judge what it reads.
func (s *Scanner) scan(ctx context.Context, allow []Allowance, walk func(each func(string, int64, io.Reader) error) error) (Report, error) {
	set, err := rules()
	if err != nil {
		return Report{}, err
	}
	var r Report
	work := make(chan *chunk)
	group, ctx := errgroup.WithContext(ctx)
	for range runtime.GOMAXPROCS(0) {
		group.Go(func() error {
			for c := range work {
				s.judge(set, c)
				chunks.Put((*[chunkSize]byte)(c.data[:chunkSize]))
			}
			return nil
		})
	}
	group.Go(func() error {
		defer close(work)
		return walk(func(name string, size int64, content io.Reader) error {
			f := &file{path: path.Join("/", name), size: size}
			n, err := s.cut(ctx, f, content, work)
			r.Files++
			r.Bytes += n
			return err
		})
	})
	err = group.Wait()
	left, wrong := without(inOrder(best(s.found)), allow)
	if err != nil {
		wrong = nil // of findings that were never made
	}
	r.Findings, r.Remembered = left, s.remembered.Load()
	return r, errors.Join(err, wrong)
}

// cut reads a file in chunks that overlap by as much as a mark is looked around.
func (s *Scanner) cut(ctx context.Context, f *file, content io.Reader, work chan<- *chunk) (int64, error) {
	const overlap = mostBefore + mostAfter
	var total int64
	lines, kept := 0, 0
	buf := chunks.Get().(*[chunkSize]byte)
	for {
		n, err := io.ReadFull(content, buf[kept:])
		total += int64(n)
		end := errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF)
		if err != nil && !end {
			chunks.Put(buf)
			return total, err
		}
		c := &chunk{file: f, data: buf[:kept+n], at: total - int64(kept+n), lines: lines}
		if c.first() {
			f.begin(c.data)
			s.place(f)
		} else {
			c.lead = mostBefore
		}
		var next *[chunkSize]byte
		if !end {
			c.tail = mostAfter
			next = chunks.Get().(*[chunkSize]byte)
			kept = copy(next[:], c.data[len(c.data)-overlap:])
			if f.text {
				lines += bytes.Count(c.data[:len(c.data)-overlap], []byte("\n"))
			}
		}
		if len(c.data) == 0 {
			chunks.Put(buf)
			return total, nil
		}
		select {
		case work <- c:
		case <-ctx.Done():
			return total, ctx.Err()
		}
		if end {
			return total, nil
		}
		buf = next
	}
}

// begin looks at a file's first bytes. A text has no zero in them, as Git tells texts.
func (f *file) begin(b []byte) {
	f.head = b
	f.text = bytes.IndexByte(b[:min(len(b), 8000)], 0) < 0
}

// packaged tells the places where nobody but packages puts files. Their sources and headers are full of names such as KEY_CODE, which a
// rule that goes by names alone takes for secrets.
func (f *file) packaged() bool {
	return strings.HasPrefix(f.path, "/usr/") && !strings.HasPrefix(f.path, "/usr/local/")
}

// place judges a file by where it lies and by how it begins.
func (s *Scanner) place(f *file) {
	if len(f.head) > 0 {
		if p, at := placeOf(f); p != nil {
			s.add(candidate{Finding: Finding{Path: at, Kind: p.kind, Reason: p.reason, Fix: p.fix}})
		}
	}
	f.head = nil // its memory is used again
}

func (s *Scanner) add(c candidate) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.found = append(s.found, c)
}

// judge looks for secrets in a chunk, unless an earlier scan has found none in the same bytes at the same place.
func (s *Scanner) judge(set *ruleset, c *chunk) {
	var key sum
	if s.Memory != nil {
		key = c.key()
		if s.Memory.has(key) {
			s.remembered.Add(int64(len(c.data)))
			return
		}
	}
	hits := set.match(c)
	if len(hits) == 0 && s.Memory != nil {
		s.Memory.add(key)
	}
	for _, h := range hits {
		if h.public {
			s.add(candidate{Finding: Finding{Path: c.file.path, Offset: c.at + int64(h.from)}, to: c.at + int64(h.to), public: true})
			continue
		}
		f := Finding{
			Path: c.file.path, Kind: h.rule.kind, Offset: c.at + int64(h.from), Reason: h.rule.reason, Fix: fixOf(h.rule.kind),
			Fingerprint: fingerprint(c.file.path, h.rule.kind, h.secret),
		}
		if c.file.text {
			f.Line = c.lines + bytes.Count(c.data[:h.from], []byte("\n")) + 1
		}
		s.add(candidate{Finding: f, to: c.at + int64(h.to), rank: h.rule.rank()})
	}
}

// key is of everything that the judgement of a chunk depends on, but for the rules.
func (c *chunk) key() (s sum) {
	h := sha256.New()
	h.Write(binary.BigEndian.AppendUint64(nil, uint64(c.at)))
	h.Write(binary.BigEndian.AppendUint64(nil, uint64(c.tail)))
	if c.file.text {
		h.Write([]byte{1})
	}
	h.Write([]byte(c.file.path + "\x00"))
	h.Write(c.data)
	h.Sum(s[:0])
	return s
}
