package harden

import (
	"bytes"
	"fmt"
	"slices"

	"github.com/strongroom/strongroom/internal/distribution"
	"github.com/strongroom/strongroom/internal/image"
)

// KitSteps are the scripts of a kit in the order in which an installer runs them, each as `sh NAME.sh install`. The verification by hostcheck comes
// after them.
var KitSteps = []string{"packages", "programs", "files", "boot", "activate"}

// Kit is the hardening for a tree that nobody is connected to: an installer puts these files into one directory of the tree that it has made, with the
// overlay's tar beside them as now.tar and late.tar and the programs as program-0, program-1 and so on, and runs [KitSteps] in it, as root and with the tree as its root.
// They are what [Harden] runs over a connection; only the rehearsal falls away, since nothing stands on the tree yet. The overlay of the spec is rendered
// for the distribution, and digest is the SHA-256 of its tar.
func Kit(spec Spec, d distribution.Distribution, digest string) (map[string][]byte, error) {
	s := &session{Spec: spec}
	if err := s.inspectPrograms(); err != nil {
		return nil, err
	}
	if err := s.plan(d); err != nil {
		return nil, err
	}
	s.values["NOW_SHA256"], s.values["LATE_SHA256"] = digest, digest
	now, err := newFileSet(s.now)
	if err != nil {
		return nil, err
	}
	late, err := newFileSet(s.late)
	if err != nil {
		return nil, err
	}
	var programs, managed bytes.Buffer
	for i, p := range s.programs {
		loader := p.loader
		if loader == "" {
			loader = "-"
		}
		fmt.Fprintf(&programs, "%s program-%d %s %s\n", p.SHA256, i, loader, p.Path)
	}
	for _, p := range slices.Sorted(mapKeys(s.want)) {
		managed.WriteString(p + "\x00")
	}
	files := map[string][]byte{
		"now.list": now.list, "late.list": late.list, "programs.list": programs.Bytes(), "managed.list": managed.Bytes(),
		"apparmor.features": []byte(image.AppArmorFeatures()),
	}
	for _, name := range KitSteps {
		files[name+".sh"] = script(name, s.values)
	}
	return files, nil
}
