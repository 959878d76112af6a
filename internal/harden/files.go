package harden

import (
	"archive/tar"
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"path"
	"slices"
	"strings"
	"time"

	"github.com/strongroom/strongroom/internal/overlay"
)

// fileSet is a part of an overlay as the scripts take it: an archive of files and links, and a list that says which belong
// where, with which mode and owner, and which directories there are.
type fileSet struct {
	archive []byte
	list    []byte
}

// isLate says that a file changes how the machine starts or how it is reached, and so must wait for the shutdown: a builder
// that reboots after a failure still finds its machine.
//
// The units of hostcheck and of the server are not among them. If a machine goes down without the activation, its gate runs at
// the next boot, and stays closed.
func isLate(p string, ours []string) bool {
	switch p {
	case "/etc/resolv.conf", "/etc/hosts", "/etc/hostname", "/etc/fstab", "/etc/nsswitch.conf":
		return true
	}
	if strings.HasPrefix(p, "/etc/systemd/system/") {
		return true
	}
	switch path.Ext(path.Dir(p)) {
	case ".wants", ".requires", ".upholds":
		return !slices.ContainsFunc(ours, func(prefix string) bool { return strings.HasPrefix(path.Base(p), prefix) })
	}
	return false
}

// split divides an overlay into what is installed now and what the shutdown installs.
func split(t *overlay.Tree, accounts []string) (now, late []overlay.Fragment) {
	ours := append([]string{"hostcheck", "strongroom"}, accounts...)
	for _, f := range t.Fragments() {
		if isLate(f.Path, ours) {
			late = append(late, f)
		} else {
			now = append(now, f)
		}
	}
	return now, late
}

// newFileSet packs fragments. The same fragments give the same bytes.
func newFileSet(fragments []overlay.Fragment) (fileSet, error) {
	var archive, list bytes.Buffer
	w := tar.NewWriter(&archive)
	for _, f := range fragments {
		if strings.ContainsAny(f.Path, "\n\x00") {
			return fileSet{}, fmt.Errorf("the overlay has a file with a line break in its name: %q", f.Path)
		}
		h := &tar.Header{Name: strings.TrimPrefix(f.Path, "/"), Mode: int64(f.Mode.Perm()), Uid: f.UID, Gid: f.GID, ModTime: time.Unix(0, 0), Format: tar.FormatPAX}
		kind := "f"
		switch {
		case f.Mode.IsDir():
			kind = "d"
		case f.Mode&fs.ModeSymlink != 0:
			kind, h.Typeflag, h.Linkname = "l", tar.TypeSymlink, f.Target
		default:
			h.Typeflag, h.Size = tar.TypeReg, int64(len(f.Content))
		}
		fmt.Fprintf(&list, "%s %04o %d %d %s\n", kind, f.Mode.Perm(), f.UID, f.GID, f.Path)
		if kind == "d" {
			continue
		}
		if err := w.WriteHeader(h); err != nil {
			return fileSet{}, err
		}
		if _, err := w.Write(f.Content); err != nil {
			return fileSet{}, err
		}
	}
	if err := w.Close(); err != nil {
		return fileSet{}, err
	}
	return fileSet{archive.Bytes(), list.Bytes()}, nil
}

func digestOf(content []byte) string {
	sum := sha256.Sum256(content)
	return hex.EncodeToString(sum[:])
}

// entry is what a managed path is: type, mode, owner, and the digest of a file's content or the target of a link.
type entry struct {
	kind, mode, uid, gid string
	content              string
}

// entryOf is what a fragment becomes on the machine.
func entryOf(f overlay.Fragment) entry {
	e := entry{kind: "f", mode: fmt.Sprintf("%o", f.Mode.Perm()), uid: fmt.Sprint(f.UID), gid: fmt.Sprint(f.GID)}
	switch {
	case f.Mode.IsDir():
		e.kind = "d"
	case f.Mode&fs.ModeSymlink != 0:
		e.kind, e.mode, e.content = "l", "777", f.Target
	default:
		e.content = digestOf(f.Content)
	}
	return e
}

// digest is one value for all entries.
func digest(entries map[string]entry) string {
	h := sha256.New()
	for _, p := range slices.Sorted(mapKeys(entries)) {
		e := entries[p]
		fmt.Fprintf(h, "%s %s %s %s %s\x00%s\x00", e.kind, e.mode, e.uid, e.gid, p, e.content)
	}
	return hex.EncodeToString(h.Sum(nil))
}

// readEntries understands what state.sh says of the managed files.
func readEntries(facts []fact) (map[string]entry, error) {
	entries := map[string]entry{}
	sums := map[string]string{}
	for _, f := range facts {
		switch f.key {
		case "entry":
			what, target, _ := strings.Cut(f.value, "\t")
			fields := strings.SplitN(what, " ", 5)
			if len(fields) != 5 || !path.IsAbs(fields[4]) {
				return nil, fmt.Errorf("cannot understand what the machine says of a file: %q", f.value)
			}
			entries[fields[4]] = entry{kind: fields[0], mode: fields[1], uid: fields[2], gid: fields[3], content: target}
		case "sum":
			sum, p, ok := strings.Cut(f.value, "  ")
			if !ok || len(sum) != sha256.Size*2 {
				return nil, fmt.Errorf("cannot understand what the machine says of a file: %q", f.value)
			}
			sums[p] = sum
		case "state":
			for p, e := range entries {
				if e.kind == "f" {
					e.content = sums[p]
					entries[p] = e
				}
			}
			return entries, nil
		}
	}
	return nil, errors.New("the machine has not said all of its state")
}

// differing lists the paths that are not as they should be.
func differing(want, got map[string]entry) []string {
	var out []string
	for _, p := range slices.Sorted(mapKeys(want)) {
		if got[p] != want[p] {
			out = append(out, p)
		}
	}
	return out
}
