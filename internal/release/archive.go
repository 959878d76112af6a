package release

import (
	"archive/tar"
	"archive/zip"
	"compress/gzip"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path"
	"strings"
)

// extract copies the one program of an archive, a zip or a compressed tar by its name, to w. Every entry is looked at
// before the program counts: an archive that reaches outside is not one to take a part of.
func extract(file, name, program string, limit int64, w io.Writer) error {
	if strings.HasSuffix(name, ".zip") {
		return extractZip(file, program, limit, w)
	}
	return extractTar(file, program, limit, w)
}

func extractZip(file, program string, limit int64, w io.Writer) error {
	z, err := zip.OpenReader(file)
	if err != nil && !errors.Is(err, zip.ErrInsecurePath) {
		return fmt.Errorf("the archive cannot be read: %w", err)
	}
	defer z.Close()
	var found *zip.File
	for _, f := range z.File {
		ours, err := checkEntry(f.Name, f.Mode(), program, found != nil)
		if err != nil {
			return err
		}
		if ours {
			found = f
		}
	}
	if found == nil {
		return fmt.Errorf("the archive holds no program %s", program)
	}
	r, err := found.Open()
	if err != nil {
		return fmt.Errorf("the archive cannot be read: %w", err)
	}
	defer r.Close()
	return copyProgram(w, r, program, limit)
}

func extractTar(file, program string, limit int64, w io.Writer) error {
	f, err := os.Open(file)
	if err != nil {
		return err
	}
	defer f.Close()
	unzipped, err := gzip.NewReader(f)
	if err != nil {
		return fmt.Errorf("the archive cannot be read: %w", err)
	}
	// A tar is read front to back, so the program may be copied before an entry behind it is refused: callers keep
	// nothing of a failed extraction.
	found := false
	t := tar.NewReader(io.LimitReader(unzipped, 2*limit))
	for {
		h, err := t.Next()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil && !errors.Is(err, tar.ErrInsecurePath) {
			return fmt.Errorf("the archive cannot be read: %w", err)
		}
		ours, err := checkEntry(h.Name, h.FileInfo().Mode(), program, found)
		if err != nil {
			return err
		}
		if ours {
			if h.Typeflag != tar.TypeReg {
				return fmt.Errorf("%s in the archive is not a regular file", program)
			}
			found = true
			if err := copyProgram(w, t, program, limit); err != nil {
				return err
			}
		}
	}
	if !found {
		return fmt.Errorf("the archive holds no program %s", program)
	}
	return nil
}

// checkEntry refuses what a release never holds, and says whether the entry is the program.
func checkEntry(name string, mode fs.FileMode, program string, found bool) (bool, error) {
	clean := path.Clean(name)
	if path.IsAbs(name) || clean == ".." || strings.HasPrefix(clean, "../") || strings.ContainsAny(name, "\\\x00") {
		return false, fmt.Errorf("the archive holds %q, a path outside of it", name)
	}
	if clean != program {
		return false, nil
	}
	if !mode.IsRegular() {
		return false, fmt.Errorf("%s in the archive is not a regular file", program)
	}
	if found {
		return false, fmt.Errorf("the archive holds %s twice", program)
	}
	return true, nil
}

func copyProgram(w io.Writer, r io.Reader, program string, limit int64) error {
	n, err := io.Copy(w, io.LimitReader(r, limit+1))
	if err != nil {
		return fmt.Errorf("cannot unpack %s: %w", program, err)
	}
	if n > limit {
		return fmt.Errorf("%s in the archive has more than the %d bytes that are allowed", program, limit)
	}
	return nil
}
