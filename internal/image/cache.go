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
	"slices"
	"strings"
	"time"

	"github.com/strongroom/strongroom/internal/lock"
)

// baseRecipe counts the ways in which this package makes base trees. It is part of the cache key:
// raise it whenever the same lock gives a different tree.
const baseRecipe = 4

// baseKey is the digest of everything that determines the base tree.
func baseKey(f lock.File) string {
	type item struct{ Name, SHA256 string }
	items := make([]item, len(f.Packages))
	for i, p := range f.Packages {
		items[i] = item{p.Name, p.SHA256}
	}
	slices.SortFunc(items, func(a, b item) int { return strings.Compare(a.Name, b.Name) })
	return digestOf(struct {
		Recipe       int
		Distribution string
		Epoch        int64
		Packages     []item
	}{baseRecipe, f.Distribution, f.Epoch, items})
}

// askKey is the digest of everything that determines what the archive is asked.
func askKey(s Spec) string {
	return digestOf(struct {
		Distribution, Mirror, Snapshot string
		Packages                       []string
	}{s.Distribution, s.Mirror, s.Snapshot, packagesOf(s)})
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
