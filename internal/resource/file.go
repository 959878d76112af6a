package resource

import (
	"context"
	"fmt"
	"io/fs"
	"path"
	"strconv"
	"strings"

	"github.com/strongroom/strongroom/internal/control"
	"github.com/strongroom/strongroom/internal/host"
	"github.com/strongroom/strongroom/internal/overlay"
)

// File is a file with its bytes, mode and owner. Without content it is a file that the bake
// brings from elsewhere (a package, the Vault binary), of which only mode, owner and the path
// to it are stated.
type File struct {
	Path    string `yaml:"path" json:"path"`
	Mode    string `yaml:"mode" json:"mode"`                 // octal: "0644"
	UID     int    `yaml:"uid" json:"uid"`                   // numeric, as the image has it
	GID     int    `yaml:"gid" json:"gid"`                   //
	Content string `yaml:"content" json:"content,omitempty"` // rendered verbatim
	Target  string `yaml:"target" json:"target,omitempty"`   // makes it a symlink
	// Runtime says that the file exists on a running node only (below /run), so that no tree has it.
	Runtime bool `yaml:"runtime" json:"runtime,omitempty"`
}

func (f *File) Key() control.Key { return control.Key{Kind: "file", Name: f.Path} }

func (f *File) Validate() error {
	var r require
	r.that(path.IsAbs(f.Path) && path.Clean(f.Path) == f.Path, "path %q is not absolute and clean", f.Path)
	if f.Target == "" {
		_, err := f.mode()
		r.that(err == nil, "mode %q is not octal and at most 0777 (like 0644)", f.Mode)
	}
	r.that(f.UID >= 0 && f.GID >= 0, "uid %d or gid %d is negative", f.UID, f.GID)
	r.that(f.Content == "" || f.Target == "", "content and target exclude each other")
	r.that(!f.Runtime || f.Content == "" && f.Target == "", "a runtime file cannot be rendered into the image")
	return r.err()
}

func (f *File) mode() (fs.FileMode, error) {
	m, err := strconv.ParseUint(f.Mode, 8, 9) // nothing on a node is setuid, setgid or sticky by statement
	return fs.FileMode(m), err
}

func (f *File) Render(control.Profile) ([]overlay.Fragment, error) {
	switch {
	case f.Target != "":
		return []overlay.Fragment{overlay.Symlink(f.Path, f.Target)}, nil
	case f.Content != "":
		mode, err := f.mode()
		if err != nil {
			return nil, err
		}
		return []overlay.Fragment{{Path: f.Path, Mode: mode, UID: f.UID, GID: f.GID, Content: []byte(f.Content)}}, nil
	}
	return nil, nil
}

// Verify judges mode and owner of the file, and that no directory on the way to it lets anyone
// but root replace it: write permission on a parent is permission to swap the file.
func (f *File) Verify(_ context.Context, h host.Host, stage control.Stage) []control.Observation {
	o := onDisk(f.Key())
	if f.Runtime {
		if !stage.Runs() {
			return nil
		}
		o = effective(f.Key())
	}
	if f.Target != "" {
		return nil // the engine has compared the link itself
	}
	mode, err := f.mode()
	if err != nil {
		o.unknown(f.Path, "mode "+f.Mode, err)
		return o.out
	}
	want := describe(mode, f.UID, f.GID)
	info, err := h.Stat(f.Path)
	if err != nil {
		o.missing(f.Path, want, err)
		return o.out
	}
	o.equal(f.Path, want, describe(info.Mode, int(info.UID), int(info.GID)))
	f.verifyWay(o, h)
	return o.out
}

// maxLinks is MAXSYMLINKS of the kernel.
const maxLinks = 40

// verifyWay walks the path as the kernel does and judges every directory that it comes through:
// where a link leads counts as much as where it lies.
func (f *File) verifyWay(o *observe, h host.Host) {
	const want = "owned by root, not writable by others"
	at, rest := "/", strings.Split(strings.Trim(f.Path, "/"), "/")
	seen := map[string]bool{}
	for links := 0; len(rest) > 0; {
		if !seen[at] {
			seen[at] = true
			info, err := h.Lstat(at)
			if err != nil {
				o.missing(at, want, err)
				return
			}
			if !safeParent(info) {
				o.judge(at, want, describe(info.Mode, int(info.UID), int(info.GID)), false)
			}
		}
		next := path.Join(at, rest[0])
		rest = rest[1:]
		info, err := h.Lstat(next)
		if err != nil {
			o.missing(next, "there", err)
			return
		}
		if info.Mode&fs.ModeSymlink == 0 {
			at = next
			continue
		}
		if links++; links > maxLinks {
			o.unknown(next, want, fmt.Errorf("more than %d symbolic links", maxLinks))
			return
		}
		if path.IsAbs(info.Target) {
			at = "/"
		}
		rest = append(strings.Split(strings.Trim(info.Target, "/"), "/"), rest...)
	}
}

// safeParent: root owns the directory, and others may write to it only when it is sticky.
func safeParent(info host.FileInfo) bool {
	return info.UID == 0 && (info.Mode.Perm()&0o022 == 0 || info.Mode&fs.ModeSticky != 0)
}

func describe(mode fs.FileMode, uid, gid int) string {
	var special []string
	if mode&fs.ModeSetuid != 0 {
		special = append(special, "setuid")
	}
	if mode&fs.ModeSetgid != 0 {
		special = append(special, "setgid")
	}
	if mode&fs.ModeSticky != 0 {
		special = append(special, "sticky")
	}
	s := fmt.Sprintf("%04o uid %d gid %d", mode.Perm(), uid, gid)
	return strings.Join(append([]string{s}, special...), " ")
}
