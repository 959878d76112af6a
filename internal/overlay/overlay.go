// Package overlay is the file tree that a baseline renders, as a plan: paths, modes, owners
// and bytes. It never reads a disk. The same plan becomes a deterministic tar for every target.
package overlay

import (
	"fmt"
	"io/fs"
	"path"
	"slices"
	"strings"
)

// Fragment is one file, directory or symlink of the overlay.
type Fragment struct {
	Path    string      // absolute, clean: "/usr/lib/sysctl.d/60-kernel.kptr_restrict.conf"
	Mode    fs.FileMode // permission bits; fs.ModeDir or fs.ModeSymlink for those types
	UID     int
	GID     int
	Content []byte // bytes of a regular file
	Target  string // of a symlink
}

// File is a root-owned 0644 regular file.
func File(p string, content string) Fragment {
	return Fragment{Path: p, Mode: 0o644, Content: []byte(content)}
}

// Symlink is a root-owned symbolic link.
func Symlink(p, target string) Fragment {
	return Fragment{Path: p, Mode: fs.ModeSymlink | 0o777, Target: target}
}

// Directory is a root-owned directory.
func Directory(p string, mode fs.FileMode) Fragment {
	return Fragment{Path: p, Mode: fs.ModeDir | mode}
}

// Tree is an overlay under construction. The zero value is empty.
type Tree struct {
	byPath map[string]owned
}

type owned struct {
	Fragment
	owner string
}

// Add puts a fragment into the tree in the name of owner (a control id, or the file that it was
// embedded from). Two owners may state the same path only with the same bytes, mode and owner.
func (t *Tree) Add(owner string, f Fragment) error {
	if !path.IsAbs(f.Path) || path.Clean(f.Path) != f.Path || f.Path == "/" {
		return fmt.Errorf("%s: overlay path %q is not absolute and clean", owner, f.Path)
	}
	if t.byPath == nil {
		t.byPath = map[string]owned{}
	}
	if have, ok := t.byPath[f.Path]; ok {
		if !same(have.Fragment, f) {
			return fmt.Errorf("overlay conflict at %s: %s and %s render different files", f.Path, have.owner, owner)
		}
		return nil
	}
	for p := path.Dir(f.Path); p != "/"; p = path.Dir(p) {
		if above, ok := t.byPath[p]; ok && !above.Mode.IsDir() {
			return fmt.Errorf("overlay conflict at %s: %s needs a directory where %s renders %s", f.Path, owner, above.owner, p)
		}
	}
	if !f.Mode.IsDir() {
		for p, below := range t.byPath {
			if strings.HasPrefix(p, f.Path+"/") {
				return fmt.Errorf("overlay conflict at %s: %s needs a directory where %s renders a file", f.Path, below.owner, owner)
			}
		}
	}
	t.byPath[f.Path] = owned{f, owner}
	return nil
}

// Fragments lists the tree's fragments by path.
func (t *Tree) Fragments() []Fragment {
	out := make([]Fragment, 0, len(t.byPath))
	for _, o := range t.byPath {
		out = append(out, o.Fragment)
	}
	slices.SortFunc(out, func(a, b Fragment) int { return strings.Compare(a.Path, b.Path) })
	return out
}

// Owner names who rendered a path, "" when nobody did.
func (t *Tree) Owner(p string) string { return t.byPath[p].owner }

func same(a, b Fragment) bool {
	return a.Mode == b.Mode && a.UID == b.UID && a.GID == b.GID && a.Target == b.Target && string(a.Content) == string(b.Content)
}
