package snapshot

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"time"
)

// File is a directory.
type File struct{ Directory string }

// Name implements [Sink].
func (f File) Name() string { return "file:" + f.Directory }

// partial begins the names of files that are being written.
const partial = ".writing-"

// abandoned is when nobody writes to a file any more.
const abandoned = time.Hour

// Create implements [Sink]. What a run has left that was cut short is removed: the next one makes a name of its own.
func (f File) Create(_ context.Context, name string) (Upload, error) {
	if err := os.MkdirAll(f.Directory, 0o700); err != nil {
		return nil, err
	}
	if left, err := filepath.Glob(filepath.Join(f.Directory, partial+"*")); err == nil {
		for _, path := range left {
			if info, err := os.Lstat(path); err == nil && time.Since(info.ModTime()) > abandoned {
				_ = os.Remove(path) // it takes room, and does no other harm
			}
		}
	}
	file, err := os.OpenFile(filepath.Join(f.Directory, partial+name), os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return nil, err
	}
	return &fileUpload{file, filepath.Join(f.Directory, name)}, nil
}

type fileUpload struct {
	*os.File
	path string
}

// Commit gives the file its name when the disk has it.
func (u *fileUpload) Commit() error {
	if err := errors.Join(u.Sync(), u.Close()); err != nil {
		return err
	}
	if err := os.Rename(u.File.Name(), u.path); err != nil {
		return err
	}
	directory, err := os.Open(filepath.Dir(u.path))
	if err != nil {
		return err
	}
	return errors.Join(directory.Sync(), directory.Close())
}

// Abort also takes back a file whose name the disk may not have.
func (u *fileUpload) Abort() {
	_ = u.Close()
	_ = os.Remove(u.File.Name())
	_ = os.Remove(u.path)
}

// List implements [Sink].
func (f File) List(context.Context) ([]Object, error) {
	entries, err := os.ReadDir(f.Directory)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	var out []Object
	for _, e := range entries {
		info, err := e.Info()
		if errors.Is(err, fs.ErrNotExist) || strings.HasPrefix(e.Name(), partial) || err == nil && !info.Mode().IsRegular() {
			continue
		}
		if err != nil {
			return nil, err
		}
		out = append(out, Object{e.Name(), info.Size()})
	}
	return out, nil
}

// Open implements [Sink].
func (f File) Open(_ context.Context, name string) (io.ReadCloser, error) {
	file, err := os.Open(filepath.Join(f.Directory, name))
	if errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("%s: %w", name, ErrMissing)
	}
	return file, err
}

// Remove implements [Sink].
func (f File) Remove(_ context.Context, name string) error {
	err := os.Remove(filepath.Join(f.Directory, name))
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	return err
}
