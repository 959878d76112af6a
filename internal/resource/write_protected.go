package resource

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"path"
	"strings"

	"github.com/strongroom/strongroom/internal/control"
	"github.com/strongroom/strongroom/internal/host"
	"github.com/strongroom/strongroom/internal/overlay"
)

// WriteProtected is a path that nobody but root can change or replace: what lies there, and every directory
// and link that the kernel comes through on the way, belongs to root and is writable by nobody else. Write
// permission on a parent is permission to put another file in place of this one.
type WriteProtected struct {
	Path string `yaml:"path" json:"path"`
	// Below asks the same of everything in the directory, at any depth.
	Below bool `yaml:"below" json:"below,omitempty"`
	// Runtime says that the path exists on a running node only (below /run), so that no tree has it.
	Runtime bool `yaml:"runtime" json:"runtime,omitempty"`
	// Optional accepts that there is no such path, as long as nobody but root could make it.
	Optional bool `yaml:"optional" json:"optional,omitempty"`
}

func (w *WriteProtected) Key() control.Key {
	return control.Key{Kind: "write_protected", Name: w.Path}
}

func (w *WriteProtected) Validate() error {
	var r require
	r.that(absolute(w.Path), "path %q is not absolute and clean", w.Path)
	return r.err()
}

// Render has nothing to add: whoever renders or installs the file gives it its mode.
func (w *WriteProtected) Render(control.Profile) ([]overlay.Fragment, error) { return nil, nil }

const rootOnly = "owned by root, not writable by others"

func (w *WriteProtected) Verify(_ context.Context, h host.Host, stage control.Stage) []control.Observation {
	o := onDisk(w.Key())
	if w.Runtime {
		if !stage.Runs() {
			return nil
		}
		o = effective(w.Key())
	}
	at, ok := w.verifyWay(o, h)
	if ok && w.Below {
		w.verifyBelow(o, h, at)
	}
	if ok && len(o.out) == 0 {
		o.judge(w.Path, rootOnly, rootOnly, true)
	}
	return o.out
}

// maxLinks is MAXSYMLINKS of the kernel.
const maxLinks = 40

// verifyWay walks the path as the kernel does and judges everything that it comes through: where a link
// leads counts as much as where it lies. It gives the path without links, and whether it got there.
func (w *WriteProtected) verifyWay(o *observe, h host.Host) (string, bool) {
	at, rest := "/", pathElements(w.Path)
	seen := map[string]bool{}
	judge := func(p string, info host.FileInfo) {
		if !seen[p] {
			seen[p] = true
			onWay := len(rest) > 0
			if !onlyRootWrites(info) && !(onWay && rootKeepsOrder(info)) {
				o.judge(p, rootOnly, describe(info.Mode, int(info.UID), int(info.GID)), false)
			}
		}
	}
	info, err := h.Lstat(at)
	if err != nil {
		o.missing(at, rootOnly, err)
		return "", false
	}
	judge(at, info)
	for links := 0; len(rest) > 0; {
		next := path.Join(at, rest[0])
		rest = rest[1:]
		info, err := h.Lstat(next)
		if err != nil {
			if w.Optional && errors.Is(err, fs.ErrNotExist) {
				if len(o.out) == 0 {
					o.judge(w.Path, rootOnly, "absent", true)
				}
				return "", false
			}
			o.missing(next, rootOnly, err)
			return "", false
		}
		judge(next, info)
		if info.Mode&fs.ModeSymlink == 0 {
			at = next
			continue
		}
		if links++; links > maxLinks {
			o.unknown(next, rootOnly, fmt.Errorf("more than %d symbolic links", maxLinks))
			return "", false
		}
		if path.IsAbs(info.Target) {
			at = "/"
		}
		rest = append(pathElements(info.Target), rest...)
	}
	return at, true
}

// pathElements splits a path; a link to "/" has none.
func pathElements(p string) []string {
	return strings.FieldsFunc(p, func(r rune) bool { return r == '/' })
}

// verifyBelow judges what is in a directory. Links in it are judged by themselves, not by their targets:
// who may change the target is a statement of its own.
func (w *WriteProtected) verifyBelow(o *observe, h host.Host, dir string) {
	names, err := entries(h, dir)
	if err != nil {
		o.unknown(dir, rootOnly, err)
		return
	}
	for _, n := range names {
		p := path.Join(dir, n)
		info, err := h.Lstat(p)
		if err != nil {
			o.missing(p, rootOnly, err)
			continue
		}
		if !onlyRootWrites(info) {
			o.judge(p, rootOnly, describe(info.Mode, int(info.UID), int(info.GID)), false)
		}
		if info.Mode.IsDir() {
			w.verifyBelow(o, h, p)
		}
	}
}

// entries lists what lies in a directory. A name that leads anywhere but one level down would send a walk
// round in a circle, and no file system has one.
func entries(h host.Host, dir string) ([]string, error) {
	names, err := h.ReadDir(dir)
	for _, n := range names {
		if n == "" || n == "." || n == ".." || strings.Contains(n, "/") {
			return nil, fmt.Errorf("%s has an entry %q", dir, n)
		}
	}
	return names, err
}

// onlyRootWrites: root owns it, and neither group nor others may write to it. Where a POSIX ACL gives
// another account write permission, the group bits are the mask of the ACL and show it here. The
// permission bits of a link mean nothing.
func onlyRootWrites(info host.FileInfo) bool {
	return info.UID == 0 && (info.Mode&fs.ModeSymlink != 0 || info.Mode.Perm()&0o022 == 0)
}

// rootKeepsOrder: root's sticky directory may be passed through though all may write to it, since what lies
// on the way in it is root's and only its owner can rename or remove it there.
func rootKeepsOrder(info host.FileInfo) bool {
	return info.UID == 0 && info.Mode.IsDir() && info.Mode&fs.ModeSticky != 0
}
