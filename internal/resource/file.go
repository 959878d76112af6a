package resource

import (
	"context"
	"fmt"
	"io/fs"
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
	r.that(absolute(f.Path), "path %q is not absolute and clean", f.Path)
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

// Verify judges mode and owner of the file. Who may replace it is what WriteProtected judges.
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
	return o.out
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
