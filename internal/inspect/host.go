package inspect

import (
	"encoding/hex"
	"errors"
	"io"
	"io/fs"
	"path"
	"strings"

	"github.com/strongroom/strongroom/internal/host"
	"github.com/strongroom/strongroom/internal/inspect/squashfs"
)

// treeHost is the root of an image as hostcheck sees a tree in which nothing runs. All that a tree does not answer, the embedded one
// refuses; nothing of it is ever opened.
type treeHost struct {
	*host.RootTree
	fs *squashfs.FS
}

var _ host.Host = treeHost{}

// inner is the path as an fs.FS wants it.
func inner(p string) (string, error) {
	if !path.IsAbs(p) {
		return "", &fs.PathError{Op: "open", Path: p, Err: fs.ErrInvalid}
	}
	p = strings.TrimPrefix(path.Clean(p), "/")
	if p == "" {
		p = "."
	}
	return p, nil
}

func (t treeHost) node(p string, follow bool) (*squashfs.Node, error) {
	name, err := inner(p)
	if err != nil {
		return nil, err
	}
	if follow {
		return t.fs.Follow(name)
	}
	return t.fs.Look(name)
}

func (t treeHost) info(p string, follow bool) (host.FileInfo, error) {
	n, err := t.node(p, follow)
	if err != nil {
		return host.FileInfo{}, err
	}
	return host.FileInfo{Mode: n.Mode, UID: n.UID, GID: n.GID, Size: n.Size, Target: n.Target}, nil
}

// Lstat implements host.Host.
func (t treeHost) Lstat(p string) (host.FileInfo, error) { return t.info(p, false) }

// Stat implements host.Host.
func (t treeHost) Stat(p string) (host.FileInfo, error) { return t.info(p, true) }

// regular opens a regular file.
func (t treeHost) regular(p string) (*squashfs.Node, *io.SectionReader, error) {
	n, err := t.node(p, true)
	if err != nil {
		return nil, nil, err
	}
	if !n.Mode.IsRegular() {
		return nil, nil, &fs.PathError{Op: "read", Path: p, Err: errors.New("not a regular file")}
	}
	return n, t.fs.Reader(n), nil
}

// ReadFile implements host.Host.
func (t treeHost) ReadFile(p string) ([]byte, error) {
	n, r, err := t.regular(p)
	if err != nil {
		return nil, err
	}
	if n.Size > host.MaxFile {
		return nil, &fs.PathError{Op: "read", Path: p, Err: host.ErrTooLarge}
	}
	return io.ReadAll(r)
}

// ReadDir implements host.Host.
func (t treeHost) ReadDir(p string) ([]string, error) {
	name, err := inner(p)
	if err != nil {
		return nil, err
	}
	list, err := t.fs.ReadDir(name)
	if err != nil {
		return nil, err
	}
	names := make([]string, len(list))
	for i, e := range list {
		names[i] = e.Name()
	}
	return names, nil
}

// Digest implements host.Host.
func (t treeHost) Digest(p string) (string, error) {
	_, r, err := t.regular(p)
	if err != nil {
		return "", err
	}
	return sumOf(r)
}

// Secrets implements host.Host.
func (t treeHost) Secrets(p string) (host.FileSecrets, error) {
	_, r, err := t.regular(p)
	if err != nil {
		return host.FileSecrets{}, err
	}
	return host.FindSecrets(r)
}

// FileCapability implements host.Host.
func (t treeHost) FileCapability(p string) (string, error) {
	n, err := t.node(p, false)
	if err != nil {
		return "", err
	}
	return hex.EncodeToString(n.Capability), nil
}
