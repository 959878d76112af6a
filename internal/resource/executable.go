package resource

import (
	"context"
	"errors"
	"fmt"
	"regexp"
	"strings"

	"github.com/strongroom/strongroom/internal/control"
	"github.com/strongroom/strongroom/internal/host"
	"github.com/strongroom/strongroom/internal/overlay"
)

// Executable states which program a unit's main process runs: the file at Path, undeleted, and with a digest where
// one is known when the image is made. In a tree the file's digest is judged, on a node the running file's; on a node
// whose process is not there yet nothing is read, since the file is large and the gate is to be quick.
type Executable struct {
	Unit   string `yaml:"unit" json:"unit"`
	Path   string `yaml:"path" json:"path"`
	SHA256 string `yaml:"sha256" json:"sha256,omitempty"` // hex; empty judges no digest, and says so
}

var sha256Hex = regexp.MustCompile(`^[0-9a-f]{64}$`)

func (e *Executable) Key() control.Key { return control.Key{Kind: "executable", Name: e.Unit} }

func (e *Executable) Validate() error {
	var r require
	r.that(strings.HasSuffix(e.Unit, ".service"), "unit %q is not a service", e.Unit)
	r.that(absolute(e.Path), "path %q is not absolute and clean", e.Path)
	r.that(e.SHA256 == "" || sha256Hex.MatchString(e.SHA256), "sha256 %q is not 64 lower-case hex digits", e.SHA256)
	return r.err()
}

// Render has nothing to add: the program is installed by the bake.
func (e *Executable) Render(control.Profile) ([]overlay.Fragment, error) { return nil, nil }

const noDigest = "the baseline has no digest of the program: it was made without one"

func (e *Executable) Verify(ctx context.Context, h host.Host, stage control.Stage) []control.Observation {
	if !stage.Runs() {
		return e.verifyTree(h)
	}
	o := effective(e.Key())
	pid, ok := mainProcess(ctx, o, h, e.Unit)
	if !ok {
		return o.out
	}
	source := fmt.Sprintf("/proc/%d/exe", pid)
	exe, err := h.Executable(pid)
	if err != nil {
		o.unknown(source, e.Path, err)
		return o.out
	}
	o.equal(source, e.Path, exe.Path)
	got := "the file at " + e.Path
	switch {
	case exe.Deleted:
		got = "a file that was deleted"
	case !exe.OnDisk:
		got = "another file than the one at its path"
	}
	o.equal(source+" inode", "the file at "+e.Path, got)
	if e.SHA256 == "" {
		return append(o.out, e.undigested()...)
	}
	sum, err := h.ExecutableDigest(pid)
	if err != nil {
		o.unknown(source+" SHA-256", e.SHA256, err)
		return o.out
	}
	o.equal(source+" SHA-256", e.SHA256, sum)
	return o.out
}

func (e *Executable) verifyTree(h host.Host) []control.Observation {
	o := onDisk(e.Key())
	if e.SHA256 == "" {
		return e.undigested()
	}
	if _, err := h.Mounts(); !errors.Is(err, host.ErrNotRunning) {
		return nil // a node before its server: the running file is judged once there is one
	}
	sum, err := h.Digest(e.Path)
	if err != nil {
		o.missing(e.Path+" SHA-256", e.SHA256, err)
		return o.out
	}
	o.equal(e.Path+" SHA-256", e.SHA256, sum)
	return o.out
}

// undigested says at every stage that there is nothing to compare with.
func (e *Executable) undigested() []control.Observation {
	o := onDisk(e.Key())
	o.add(e.Path+" SHA-256", "", noDigest, control.NotApplicable, nil)
	return o.out
}
