package configure

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	"golang.org/x/sys/unix"
)

// fileset replaces a directory and all that is in it at once: a reader finds the old files or the new ones, and never a
// certificate beside the key of another. files are contents by name.
func (o owner) fileset(path string, dirMode, fileMode fs.FileMode, files map[string][]byte) (err error) {
	parent, base := filepath.Split(path)
	// What a run that was cut short has left.
	left, err := filepath.Glob(filepath.Join(parent, "."+base+".*"))
	if err != nil {
		return err
	}
	for _, l := range left {
		os.RemoveAll(l)
	}
	fresh, err := os.MkdirTemp(parent, "."+base+".*") // mode 0700
	if err != nil {
		return fmt.Errorf("cannot make directory: %w", err)
	}
	defer os.RemoveAll(fresh) // which is what was there before, when all went well
	for name, content := range files {
		if err := o.create(filepath.Join(fresh, name), content, fileMode); err != nil {
			return fmt.Errorf("cannot write %s: %w", filepath.Join(path, name), err)
		}
	}
	if err := errors.Join(os.Lchown(fresh, o.uid, o.gid), os.Chmod(fresh, dirMode)); err != nil {
		return fmt.Errorf("cannot hand over: %w", err)
	}
	err = unix.Renameat2(unix.AT_FDCWD, fresh, unix.AT_FDCWD, path, unix.RENAME_EXCHANGE)
	if errors.Is(err, fs.ErrNotExist) {
		err = os.Rename(fresh, path)
	}
	if err != nil {
		return fmt.Errorf("cannot replace %s: %w", path, err)
	}
	return nil
}

func (o owner) create(path string, content []byte, mode fs.FileMode) (err error) {
	f, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, f.Close()) }()
	if _, err := f.Write(content); err != nil {
		return err
	}
	return errors.Join(f.Chown(o.uid, o.gid), f.Chmod(mode))
}
