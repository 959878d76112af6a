package metal

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"io"
	"maps"
	"os"
	"path/filepath"
	"slices"

	"github.com/strongroom/strongroom/internal/atomicfile"
)

// Write writes a bundle into a directory and returns the names of the files, the installer's own first. Files of an earlier one are replaced; the installer's
// file comes last of all, so that a machine that finds it finds the rest.
func Write(dir string, b *Bundle) ([]string, error) {
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return nil, err
	}
	first := FileName(b.Installer)
	names := []string{first}
	for _, p := range b.Programs {
		if err := copyProgram(filepath.Join(dir, p.Name), p); err != nil {
			return nil, err
		}
		names = append(names, p.Name)
	}
	for _, name := range append(slices.DeleteFunc(slices.Sorted(maps.Keys(b.Files)), func(n string) bool { return n == first }), first) {
		err := atomicfile.Write(filepath.Join(dir, name), 0o644, func(w io.Writer) error {
			_, err := w.Write(b.Files[name])
			return err
		})
		if err != nil {
			return nil, err
		}
		if name != first {
			names = append(names, name)
		}
	}
	for i, name := range names {
		names[i] = filepath.Join(dir, name)
	}
	return names, nil
}

// copyProgram copies what was measured, and nothing else.
func copyProgram(to string, p Program) error {
	from, err := os.Open(p.Source)
	if err != nil {
		return err
	}
	defer from.Close()
	return atomicfile.Write(to, 0o644, func(w io.Writer) error {
		hash := sha256.New()
		if _, err := io.Copy(io.MultiWriter(w, hash), from); err != nil {
			return err
		}
		if sum := hex.EncodeToString(hash.Sum(nil)); sum != p.SHA256 {
			return fmt.Errorf("%s has changed while it was read: SHA-256 %s, before %s", p.Source, sum, p.SHA256)
		}
		return nil
	})
}
