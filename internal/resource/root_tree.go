package resource

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"path"
	"slices"

	"github.com/strongroom/strongroom/internal/control"
	"github.com/strongroom/strongroom/internal/host"
	"github.com/strongroom/strongroom/internal/overlay"
)

// RootTree is what no file of the image may be. The whole tree is walked once, when the image is made. A
// node does not walk it again: a sealed root is read-only and every block of it is checked (root-verity), so that
// the answer is still the same; of an installed machine it says how it left the build.
type RootTree struct {
	Forbid string `yaml:"forbid" json:"forbid"` // one of rootTreeFaults
}

// rootTreeFaults are the faults that a walk looks for, in words.
var rootTreeFaults = map[string]string{
	"set-id":           "no set-user-id and no set-group-id bit on a file",
	"capability":       "no file capability",
	"writable-by-all":  "no file and no directory without sticky bit that everybody may write to",
	"owned-by-nobody":  "an account and a group for every owner",
	"owned-by-service": "every file owned by root",
	"special":          "no device, FIFO or socket",
}

func (r *RootTree) Key() control.Key { return control.Key{Kind: "root_tree", Name: r.Forbid} }

func (r *RootTree) Validate() error {
	var req require
	req.that(rootTreeFaults[r.Forbid] != "", "forbid %q is not a fault that a walk looks for", r.Forbid)
	return req.err()
}

// Render has nothing to add.
func (r *RootTree) Render(control.Profile) ([]overlay.Fragment, error) { return nil, nil }

func (r *RootTree) Verify(_ context.Context, h host.Host, stage control.Stage) []control.Observation {
	o := onDisk(r.Key())
	want := rootTreeFaults[r.Forbid]
	if stage.Runs() {
		o.add("/", want, "judged when the image was made; a node does not walk its tree again", control.NotApplicable, nil)
		return o.out
	}
	walk := host.Derive(h, "root tree", walkRootTree)
	for i, err := range walk.errs {
		if i == maxNamed {
			break // one reason is enough to know nothing; a few help to find it
		}
		o.unknown("/", want, err)
	}
	o.none("/", want, named(walk.faults[r.Forbid], ""))
	return o.out
}

type treeWalk struct {
	h      host.Host
	users  map[uint32]bool
	groups map[uint32]bool
	faults map[string][]string
	errs   []error
}

// elsewhere are directories of the running system: what they show is not the tree's.
var elsewhere = []string{"/dev", "/proc", "/run", "/sys", "/tmp"}

func walkRootTree(h host.Host) *treeWalk {
	w := &treeWalk{h: h, faults: map[string][]string{}}
	var err error
	if w.users, err = idsOf(h, "/etc/passwd", 7); err != nil {
		w.errs = append(w.errs, err)
	}
	if w.groups, err = idsOf(h, "/etc/group", 4); err != nil {
		w.errs = append(w.errs, err)
	}
	w.visit("/")
	return w
}

// idsOf reads the third field of an account database.
func idsOf(h host.Host, file string, fields int) (map[uint32]bool, error) {
	content, err := h.ReadFile(file)
	if err != nil {
		return nil, fmt.Errorf("cannot tell who owns files: %w", err)
	}
	lines, err := parseColonFile(string(content), fields)
	if err != nil {
		return nil, fmt.Errorf("cannot tell who owns files: %s: %w", file, err)
	}
	ids := map[uint32]bool{}
	for _, f := range lines {
		ids[userID(f[2])] = true
	}
	return ids, nil
}

func (w *treeWalk) visit(p string) {
	info, err := w.h.Lstat(p)
	if err != nil {
		w.errs = append(w.errs, err)
		return
	}
	w.judge(p, info)
	if !info.Mode.IsDir() || slices.Contains(elsewhere, p) {
		return
	}
	names, err := entries(w.h, p)
	if err != nil {
		w.errs = append(w.errs, err)
		return
	}
	for _, n := range names {
		w.visit(path.Join(p, n))
	}
}

func (w *treeWalk) judge(p string, info host.FileInfo) {
	found := func(fault string, is bool) {
		if is {
			w.faults[fault] = append(w.faults[fault], p)
		}
	}
	regular, directory := info.Mode.IsRegular(), info.Mode.IsDir()
	// Set-group-id of a directory only hands its group down.
	found("set-id", !directory && info.Mode&(fs.ModeSetuid|fs.ModeSetgid) != 0)
	found("writable-by-all", info.Mode.Perm()&0o002 != 0 && (regular || directory && info.Mode&fs.ModeSticky == 0))
	found("owned-by-nobody", w.users != nil && !w.users[info.UID] || w.groups != nil && !w.groups[info.GID])
	found("owned-by-service", info.UID != 0)
	found("special", !regular && !directory && info.Mode&fs.ModeSymlink == 0)
	if !regular {
		return
	}
	capability, err := w.h.FileCapability(p)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		w.errs = append(w.errs, err)
	}
	found("capability", capability != "")
}
