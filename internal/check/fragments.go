package check

import (
	"bytes"
	"crypto/sha256"
	"errors"
	"fmt"
	"io/fs"

	"github.com/strongroom/strongroom/internal/baseline"
	"github.com/strongroom/strongroom/internal/control"
	"github.com/strongroom/strongroom/internal/host"
	"github.com/strongroom/strongroom/internal/overlay"
)

// compareFragments looks for the very bytes that a resource renders. It is the same for every
// kind, so no kind can forget it.
func compareFragments(b *baseline.Baseline, res control.Resource, h host.Host) []control.Observation {
	fragments, err := res.Render(b.Profile)
	if err != nil {
		return []control.Observation{{Resource: res.Key(), Layer: control.OnDisk, Outcome: control.Unknown, Source: "render", Err: err}}
	}
	var out []control.Observation
	for _, f := range fragments {
		out = append(out, compareFragment(res.Key(), f, h))
	}
	return out
}

func compareFragment(key control.Key, f overlay.Fragment, h host.Host) control.Observation {
	o := control.Observation{Resource: key, Layer: control.OnDisk, Source: f.Path, Want: summary(f), Outcome: control.Fail}
	info, err := h.Lstat(f.Path)
	if errors.Is(err, fs.ErrNotExist) {
		o.Got = "absent"
		return o
	}
	if err != nil {
		o.Outcome, o.Err = control.Unknown, err
		return o
	}
	got := overlay.Fragment{Path: f.Path, Mode: info.Mode, UID: int(info.UID), GID: int(info.GID), Target: info.Target}
	if info.Mode.IsRegular() {
		if got.Content, err = h.ReadFile(f.Path); err != nil {
			o.Outcome, o.Err = control.Unknown, err
			return o
		}
	}
	o.Got = summary(got)
	if sameType(f, got) && f.UID == got.UID && f.GID == got.GID && f.Target == got.Target && bytes.Equal(f.Content, got.Content) {
		o.Outcome = control.Pass
	}
	return o
}

// sameType compares type and permissions; the permissions of a symlink mean nothing.
func sameType(want, got overlay.Fragment) bool {
	if want.Mode.Type() != got.Mode.Type() {
		return false
	}
	return want.Mode&fs.ModeSymlink != 0 || want.Mode.Perm() == got.Mode.Perm()
}

func summary(f overlay.Fragment) string {
	switch {
	case f.Mode&fs.ModeSymlink != 0:
		return "link to " + f.Target
	case f.Mode.IsDir():
		return fmt.Sprintf("directory %04o %d:%d", f.Mode.Perm(), f.UID, f.GID)
	}
	return fmt.Sprintf("%04o %d:%d sha256 %.12x", f.Mode.Perm(), f.UID, f.GID, sha256.Sum256(f.Content))
}
