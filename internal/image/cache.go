package image

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"time"
)

// baseRecipe counts the ways in which this package makes base trees. It is part of the cache key:
// raise it whenever the same spec gives a different tree.
const baseRecipe = 3

// maxBaseAge is how long a base tree of the moving archive is reused. A dated snapshot never
// changes; today's archive does, and a golden image must not miss its security updates for long.
const maxBaseAge = 24 * time.Hour

// baseKey is the digest of everything that determines the base tree.
func baseKey(s Spec) string {
	return digestOf(struct {
		Recipe                         int
		Distribution, Mirror, Snapshot string
		Epoch                          int64
		Packages                       []string
	}{baseRecipe, s.Distribution, s.Mirror, s.Snapshot, s.Epoch.Unix(), packagesOf(s)})
}

// digestOf is the SHA-256 of a value's JSON, short enough for a file name.
func digestOf(v any) string {
	b, err := json.Marshal(v)
	if err != nil {
		panic(err) // only plain structs come here
	}
	sum := sha256.Sum256(b)
	return hex.EncodeToString(sum[:16])
}

// cache keeps files between bakes. A file appears under its name complete or not at all.
type cache struct{ dir string }

func (c cache) path(name string) string { return filepath.Join(c.dir, name) }

// open opens a file that is not older than maxAge (0: of any age). A miss is a nil file.
func (c cache) open(name string, maxAge time.Duration) (*os.File, error) {
	f, err := os.Open(c.path(name))
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("cannot open the cache: %w", err)
	}
	st, err := f.Stat()
	if err != nil {
		f.Close()
		return nil, fmt.Errorf("cannot open the cache: %w", err)
	}
	if maxAge > 0 && time.Since(st.ModTime()) > maxAge {
		return nil, f.Close()
	}
	return f, nil
}

// put writes a file under a name of its own and renames it. What a killed bake leaves is swept by a later one.
func (c cache) put(name string, write func(io.Writer) error) (err error) {
	defer func() {
		if err != nil {
			err = fmt.Errorf("cannot write %s: %w", c.path(name), err)
		}
	}()
	f, err := os.CreateTemp(c.dir, partialPrefix+"*")
	if err != nil {
		return err
	}
	defer os.Remove(f.Name())
	defer f.Close()
	if err := write(f); err != nil {
		return err
	}
	if err := f.Chmod(0o644); err != nil {
		return err
	}
	if err := f.Close(); err != nil {
		return err
	}
	return os.Rename(f.Name(), c.path(name))
}

const partialPrefix = ".partial-"

// sweep removes what killed bakes left half-written a day ago or earlier.
func (c cache) sweep() {
	left, _ := filepath.Glob(c.path(partialPrefix + "*"))
	for _, name := range left {
		if st, err := os.Lstat(name); err == nil && time.Since(st.ModTime()) > 24*time.Hour {
			os.Remove(name)
		}
	}
}
