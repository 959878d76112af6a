package fat

import (
	"bytes"
	"errors"
	"fmt"
	"io"
)

// Finding is a byte, or more, that is not as it should be.
type Finding struct {
	At   int64 // byte of the device
	Says string
	// Unused says that nothing reads these bytes: they are zero on a file system that was just made, and may be anything on
	// one that is in use.
	Unused bool
}

// NonZero finds the first byte from start to end that is not zero.
type NonZero func(start, end int64) (at int64, found bool, err error)

// Verify accounts for what is no file: second copies, and room that is free.
func (f *FS) Verify(nonZero NonZero) ([]Finding, error) {
	var out []Finding
	add := func(unused bool, at int64, says string, args ...any) {
		out = append(out, Finding{at, fmt.Sprintf(says, args...), unused})
	}
	if f.tables == 2 {
		at, err := f.differs(f.reserved, f.reserved+f.tableLen, f.tableLen)
		if err != nil {
			return nil, err
		}
		if at >= 0 {
			add(false, f.reserved+at, "the two tables differ at byte %d of them", at)
		}
	}
	if f.backup > 0 && f.backup < f.reserved {
		at, err := f.differs(0, f.backup, f.sector)
		if err != nil {
			return nil, err
		}
		if at >= 0 {
			add(false, at, "the boot sector and its copy at byte %d differ at byte %d of them", f.backup, at)
		}
	}
	if err := f.verifyInfo(add); err != nil {
		return nil, err
	}
	zero := func(what string, start, end int64) error {
		at, found, err := nonZero(start, end)
		if err == nil && found {
			add(true, at, "%s has a byte that is not zero", what)
		}
		return err
	}
	known := f.sector
	if f.info > 0 {
		known = f.info + f.sector
	}
	for at := known; at < f.reserved; at += f.sector {
		if f.backup > 0 && (at == f.backup || at == f.backup+f.info) {
			continue
		}
		if err := zero("a reserved sector", at, at+f.sector); err != nil {
			return nil, err
		}
	}
	for c := uint32(2); c < f.clusters+2; c++ {
		switch first := c; {
		case f.used[c]:
		case f.entry(c) == 0:
			for c+1 < f.clusters+2 && !f.used[c+1] && f.entry(c+1) == 0 {
				c++
			}
			if err := zero("free room", f.place(first), f.place(c)+f.cluster); err != nil {
				return nil, err
			}
		default:
			add(false, f.place(c), "cluster %d is taken and belongs to no file", c)
		}
		if len(out) > 32 {
			break
		}
	}
	for _, file := range f.Files {
		if n := len(file.chain); n > 0 {
			at := f.place(file.chain[n-1])
			if rest := file.Size % f.cluster; rest != 0 {
				if err := zero("the room behind the end of /"+file.Path, at+rest, at+f.cluster); err != nil {
					return nil, err
				}
			}
		}
	}
	for _, s := range f.lastOfEntries {
		if err := zero("the room behind the last entry of a directory", s.at, s.at+s.size); err != nil {
			return nil, err
		}
	}
	return out, zero("the room behind the file system", f.end, f.size)
}

func (f *FS) verifyInfo(add func(bool, int64, string, ...any)) error {
	if f.info <= 0 || f.info >= f.reserved {
		return nil
	}
	b := make([]byte, 512)
	if _, err := f.r.ReadAt(b, f.info); err != nil {
		return fmt.Errorf("cannot read byte %d: %w", f.info, err)
	}
	if !bytes.HasPrefix(b, []byte("RRaA")) || string(b[484:488]) != "rrAa" || b[510] != 0x55 || b[511] != 0xaa {
		add(false, f.info, "the sector with the number of free clusters has no signature")
		return nil
	}
	free := uint32(0)
	for c := uint32(2); c < f.clusters+2; c++ {
		if f.entry(c) == 0 {
			free++
		}
	}
	if said := le.Uint32(b[488:]); said != free && said != 0xffffffff {
		add(false, f.info+488, "the file system says that %d clusters are free, and %d are", said, free)
	}
	return nil
}

// differs compares two runs of bytes, and gives the first that differs, or -1.
func (f *FS) differs(a, b, size int64) (int64, error) {
	x, y := make([]byte, 64<<10), make([]byte, 64<<10)
	for done := int64(0); done < size; {
		n := min(int64(len(x)), size-done)
		if _, err := f.r.ReadAt(x[:n], a+done); err != nil && !errors.Is(err, io.EOF) {
			return 0, fmt.Errorf("cannot read byte %d: %w", a+done, err)
		}
		if _, err := f.r.ReadAt(y[:n], b+done); err != nil && !errors.Is(err, io.EOF) {
			return 0, fmt.Errorf("cannot read byte %d: %w", b+done, err)
		}
		if !bytes.Equal(x[:n], y[:n]) {
			i := 0
			for x[i] == y[i] {
				i++
			}
			return done + int64(i), nil
		}
		done += n
	}
	return -1, nil
}
