package release

import (
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
)

// cache keeps what has been verified:
//
//	PRODUCT/VERSION/sums, signature    as the vendor published them
//	sha256/DIGEST/archive, PROGRAM     by the digest of the archive, which sums names
//
// Nothing in it is believed: every use goes the whole way again, from the signature to the bytes of the program.
// Directories appear in one rename, so one that was interrupted is not there.
type cache struct{ dir string }

const (
	sumsName      = "sums"
	signatureName = "signature"
	archiveName   = "archive"
	partialPrefix = ".partial-"
)

func (c cache) version(product, version string) string {
	return filepath.Join(c.dir, product, version)
}

func (c cache) object(digest string) string { return filepath.Join(c.dir, "sha256", digest) }

// versions lists what is there of a product.
func (c cache) versions(product string) ([]string, error) {
	list, err := os.ReadDir(filepath.Join(c.dir, product))
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	var names []string
	for _, e := range list {
		names = append(names, e.Name())
	}
	return names, err
}

// partial makes a directory beside the final ones; the caller removes it.
func (c cache) partial() (string, error) {
	if err := os.MkdirAll(c.dir, 0o755); err != nil {
		return "", fmt.Errorf("cannot make the cache: %w", err)
	}
	dir, err := os.MkdirTemp(c.dir, partialPrefix)
	if err != nil {
		return "", fmt.Errorf("cannot write to the cache: %w", err)
	}
	return dir, nil
}

// publish moves a finished directory to its place. What lies there already has been found wanting, or another build has
// put it there just now; either way it makes room.
func (c cache) publish(from, to string) error {
	if err := os.MkdirAll(filepath.Dir(to), 0o755); err != nil {
		return err
	}
	err := os.Rename(from, to)
	if err == nil || !errors.Is(err, fs.ErrExist) {
		return err
	}
	old, err := c.partial()
	if err != nil {
		return err
	}
	defer os.RemoveAll(old)
	if err := os.Rename(to, filepath.Join(old, "old")); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	return os.Rename(from, to)
}

// digestOf is the SHA-256 of a file.
func digestOf(path string) (string, error) {
	f, err := os.Open(path)
	if err != nil {
		return "", err
	}
	defer f.Close()
	h := sha256.New()
	if _, err := io.Copy(h, f); err != nil {
		return "", err
	}
	return hex.EncodeToString(h.Sum(nil)), nil
}
