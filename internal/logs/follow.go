package logs

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"syscall"
)

// maxLine is the longest entry that is looked at: the largest request that the servers take is 32 MiB, and this is what the agent has room for.
// What is longer counts as not understood.
const maxLine = 4 << 20

// keptLine is the room that is kept from line to line.
const keptLine = 64 << 10

// position is how far a file was read.
type position struct {
	Inode  uint64 `json:"inode"`
	Offset int64  `json:"offset"`
}

// follower reads a file that grows, and the one that takes its name when it was put aside, so that no line is missed: as long as the name
// is not another file's, and until then is read to its end, the old one is.
type follower struct {
	path string
	file *os.File
	at   position
	rest []byte // a line whose end has not come
	long bool   // that line is too long, and is passed over
}

// open begins where an earlier run ended: in the file that was read then, under its name or the one that it was put aside under. Without
// an earlier run it begins at the end of what is there: whoever follows is started before the server.
func (f *follower) open(earlier *position) error {
	if earlier != nil {
		for _, name := range []string{f.path, f.path + ".1"} {
			file, inode, size, err := openLog(name)
			if errors.Is(err, fs.ErrNotExist) {
				continue
			}
			if err != nil {
				return err
			}
			if inode == earlier.Inode && size >= earlier.Offset {
				f.file, f.at = file, *earlier
				return nil
			}
			file.Close()
		}
	}
	file, inode, size, err := openLog(f.path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil // the server makes it; it is read from its beginning
	}
	if err != nil {
		return err
	}
	f.file, f.at = file, position{inode, size}
	if earlier != nil {
		f.at.Offset = 0
	}
	return nil
}

func openLog(name string) (file *os.File, inode uint64, size int64, err error) {
	if file, err = os.Open(name); err != nil {
		return nil, 0, 0, err
	}
	info, err := file.Stat()
	if err != nil {
		file.Close()
		return nil, 0, 0, err
	}
	if !info.Mode().IsRegular() {
		file.Close()
		return nil, 0, 0, fmt.Errorf("%s is no file", name)
	}
	return file, info.Sys().(*syscall.Stat_t).Ino, info.Size(), nil
}

// lines gives every line that has come. A nil line stands for one that is too long.
func (f *follower) lines(each func(line []byte)) error {
	for {
		if f.file != nil {
			if err := f.drain(each); err != nil {
				return err
			}
		}
		next, inode, size, err := openLog(f.path)
		if errors.Is(err, fs.ErrNotExist) {
			return nil // put aside, and the server has not made another yet
		}
		if err != nil {
			return err
		}
		if f.file != nil && inode == f.at.Inode && size >= f.at.Offset {
			next.Close()
			return nil
		}
		if f.file != nil {
			// The server has written to the new file, so to the old one never again: what came since is the last of it.
			if inode != f.at.Inode {
				if err := f.drain(each); err != nil {
					next.Close()
					return err
				}
			}
			f.file.Close()
		}
		f.file, f.at, f.rest, f.long = next, position{Inode: inode}, nil, false
	}
}

// drain reads the open file to its end.
func (f *follower) drain(each func(line []byte)) error {
	buffer := make([]byte, 64<<10)
	for {
		n, err := f.file.ReadAt(buffer, f.at.Offset)
		f.at.Offset += int64(n)
		f.split(buffer[:n], each)
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return fmt.Errorf("cannot read the audit log: %w", err)
		}
	}
}

func (f *follower) split(text []byte, each func(line []byte)) {
	for {
		line, rest, ended := bytes.Cut(text, []byte("\n"))
		if !ended {
			f.keep(line)
			return
		}
		text = rest
		f.keep(line)
		if f.long {
			each(nil)
		} else {
			each(f.rest)
		}
		if f.rest, f.long = f.rest[:0], false; cap(f.rest) > keptLine {
			f.rest = nil
		}
	}
}

func (f *follower) keep(text []byte) {
	if f.long || len(f.rest)+len(text) > maxLine {
		f.rest, f.long = nil, true
		return
	}
	f.rest = append(f.rest, text...)
}

// position is where a later run goes on: at the beginning of a line.
func (f *follower) position() *position {
	if f.file == nil {
		return nil
	}
	at := f.at
	if !f.long {
		at.Offset -= int64(len(f.rest))
	}
	return &at
}

func (f *follower) close() {
	if f.file != nil {
		f.file.Close()
	}
}
