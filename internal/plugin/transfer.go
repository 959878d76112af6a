package plugin

import (
	"archive/tar"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"strings"
)

// packDir writes the contents of a directory of this machine as a tar, with names relative
// to it. Only files, directories and symbolic links are carried; a socket or device in a
// source directory is a mistake that is better told than skipped.
func packDir(w io.Writer, dir string, exclude []string) error {
	tw := tar.NewWriter(w)
	err := filepath.WalkDir(dir, func(file string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		name, err := filepath.Rel(dir, file)
		if err != nil {
			return err
		}
		if name == "." {
			return nil
		}
		name = filepath.ToSlash(name)
		if excluded(name, exclude) {
			if d.IsDir() {
				return fs.SkipDir
			}
			return nil
		}
		return packFile(tw, file, name, d)
	})
	if err != nil {
		return err
	}
	return tw.Close()
}

func packFile(tw *tar.Writer, file, name string, d fs.DirEntry) error {
	info, err := d.Info()
	if err != nil {
		return err
	}
	h := &tar.Header{Name: name, Mode: int64(info.Mode().Perm()), ModTime: info.ModTime(), Format: tar.FormatPAX}
	switch {
	case d.IsDir():
		h.Typeflag, h.Name = tar.TypeDir, name+"/"
		return tw.WriteHeader(h)
	case d.Type()&fs.ModeSymlink != 0:
		h.Typeflag = tar.TypeSymlink
		if h.Linkname, err = os.Readlink(file); err != nil {
			return err
		}
		return tw.WriteHeader(h)
	case d.Type().IsRegular():
		h.Typeflag, h.Size = tar.TypeReg, info.Size()
		if err := tw.WriteHeader(h); err != nil {
			return err
		}
		f, err := os.Open(file)
		if err != nil {
			return err
		}
		defer f.Close()
		_, err = io.CopyN(tw, f, info.Size())
		return err
	default:
		return fmt.Errorf("%s is neither a file, a directory nor a symbolic link: exclude it", file)
	}
}

// unpackDir writes the entries of a tar whose first element matches pattern below dst, which it
// creates. os.Root keeps every name, and every symbolic link that an earlier entry planted,
// inside dst.
func unpackDir(tr *tar.Reader, dst, pattern string, exclude []string) error {
	if err := os.MkdirAll(dst, 0o755); err != nil {
		return err
	}
	root, err := os.OpenRoot(dst)
	if err != nil {
		return err
	}
	defer root.Close()
	found := pattern == "*" // an empty directory is a result, no match is a mistake
	for {
		h, err := tr.Next()
		if errors.Is(err, io.EOF) && !found {
			return fmt.Errorf("nothing matches %s", pattern)
		}
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return err
		}
		name := path.Clean(h.Name)
		first, _, _ := strings.Cut(name, "/")
		if ok, err := path.Match(pattern, first); err != nil {
			return fmt.Errorf("%w: %s", err, pattern)
		} else if name == "." || !ok || excluded(name, exclude) {
			continue
		}
		found = true
		if err := unpackFile(root, tr, h, name); err != nil {
			return err
		}
	}
}

func unpackFile(root *os.Root, r io.Reader, h *tar.Header, name string) error {
	if err := root.MkdirAll(path.Dir(name), 0o755); err != nil {
		return err
	}
	mode := fs.FileMode(h.Mode).Perm()
	switch h.Typeflag {
	case tar.TypeDir:
		// The owner's bits stay on while the directory is being filled.
		if err := root.MkdirAll(name, mode|0o700); err != nil {
			return err
		}
		return root.Chmod(name, mode|0o700)
	case tar.TypeSymlink:
		if err := removeIfPresent(root, name); err != nil {
			return err
		}
		return root.Symlink(h.Linkname, name)
	case tar.TypeLink:
		if err := removeIfPresent(root, name); err != nil {
			return err
		}
		return root.Link(path.Clean(h.Linkname), name)
	case tar.TypeReg:
		if err := removeIfPresent(root, name); err != nil {
			return err
		}
		f, err := root.OpenFile(name, os.O_CREATE|os.O_EXCL|os.O_WRONLY, mode)
		if err != nil {
			return err
		}
		if _, err := io.Copy(f, r); err != nil {
			f.Close()
			return err
		}
		// The umask may have taken bits away.
		if err := f.Chmod(mode); err != nil {
			f.Close()
			return err
		}
		return f.Close()
	default:
		return fmt.Errorf("%s is neither a file, a directory nor a link: exclude it", h.Name)
	}
}

func removeIfPresent(root *os.Root, name string) error {
	if err := root.Remove(name); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	return nil
}

// excluded reports whether a slash-separated relative name, or a directory above it, is
// matched by one of the patterns of path.Match. A pattern with a slash is matched against
// the whole name, one without against each element: ".git" and "*.swp" work at any depth.
func excluded(name string, patterns []string) bool {
	elements := strings.Split(name, "/")
	for _, pattern := range patterns {
		pattern = strings.Trim(pattern, "/")
		anchored := strings.Contains(pattern, "/")
		for i, element := range elements {
			candidate := element
			if anchored {
				candidate = strings.Join(elements[:i+1], "/")
			}
			if ok, err := path.Match(pattern, candidate); ok && err == nil {
				return true
			}
		}
	}
	return false
}
