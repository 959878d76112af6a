package overlay

import (
	"archive/tar"
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"io"
	"io/fs"
	"path"
	"slices"
	"strings"
	"time"
)

// epoch is the modification time of every entry. A constant, because the overlay is a function
// of the baseline alone.
var epoch = time.Unix(1, 0).UTC()

// WriteTar writes the tree as a tar with sorted entries, fixed times and numeric owners, so that
// the same tree always gives the same bytes. Directories on the way to a fragment are written
// as root-owned 0755 unless the tree states them itself.
func (t *Tree) WriteTar(w io.Writer) error {
	tw := tar.NewWriter(w)
	for _, f := range t.withParents() {
		h := &tar.Header{
			Name:    strings.TrimPrefix(f.Path, "/"),
			Mode:    int64(f.Mode.Perm()),
			Uid:     f.UID,
			Gid:     f.GID,
			ModTime: epoch,
			Format:  tar.FormatPAX,
		}
		if f.Mode&fs.ModeSetgid != 0 {
			h.Mode |= 0o2000
		}
		if f.Mode&fs.ModeSticky != 0 {
			h.Mode |= 0o1000
		}
		switch {
		case f.Mode.IsDir():
			h.Typeflag, h.Name = tar.TypeDir, h.Name+"/"
		case f.Mode&fs.ModeSymlink != 0:
			h.Typeflag, h.Linkname = tar.TypeSymlink, f.Target
		default:
			h.Typeflag, h.Size = tar.TypeReg, int64(len(f.Content))
		}
		if err := tw.WriteHeader(h); err != nil {
			return fmt.Errorf("cannot write overlay entry %s: %w", f.Path, err)
		}
		if _, err := tw.Write(f.Content); err != nil {
			return fmt.Errorf("cannot write overlay entry %s: %w", f.Path, err)
		}
	}
	return tw.Close()
}

// Digest is the SHA-256 of the tar, in hex.
func (t *Tree) Digest() (string, error) {
	h := sha256.New()
	if err := t.WriteTar(h); err != nil {
		return "", err
	}
	return hex.EncodeToString(h.Sum(nil)), nil
}

// Tar is WriteTar into memory; overlays are some hundred kilobytes.
func (t *Tree) Tar() ([]byte, error) {
	var b bytes.Buffer
	err := t.WriteTar(&b)
	return b.Bytes(), err
}

func (t *Tree) withParents() []Fragment {
	all := t.Fragments()
	seen := map[string]bool{}
	for _, f := range all {
		seen[f.Path] = true
	}
	for _, f := range t.Fragments() {
		for p := path.Dir(f.Path); p != "/" && !seen[p]; p = path.Dir(p) {
			seen[p] = true
			all = append(all, Directory(p, 0o755))
		}
	}
	slices.SortFunc(all, func(a, b Fragment) int { return strings.Compare(a.Path, b.Path) })
	return all
}
