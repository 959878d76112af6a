package resource

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"path"
	"slices"
	"strings"

	"github.com/strongroom/strongroom/internal/control"
	"github.com/strongroom/strongroom/internal/host"
	"github.com/strongroom/strongroom/internal/overlay"
)

// LeakedSecrets states that no file in the places where builds and people leave things holds a secret: keys and tokens by their
// shape in every file, and in some files also values whose names say so (DB_PASSWORD=…). Every home of the account
// database is among the places. It tells paths and reasons, and never a secret. The places are walked once, when the
// image is made; compressed files are not looked into. More files or bytes than a machine should have are not judged: unknown.
// What the shutdown that ends a build removes was on the disk all the same, and its blocks stay readable there.
type LeakedSecrets struct {
	Places     []string `yaml:"places" json:"places"`                               // directories, with all that lies below
	PassedOver []string `yaml:"passed_over,omitempty" json:"passed_over,omitempty"` // files and directories in them that are not looked at
	Allowed    []string `yaml:"allowed,omitempty" json:"allowed,omitempty"`         // files that may hold a secret
	Before     string   `yaml:"before,omitempty" json:"before,omitempty"`           // directory with what a rehearsed shutdown removes, each at its path
	Named      []string `yaml:"named" json:"named"`                                 // patterns of files in which names count: of a path, or without a slash of its last part
}

// The bounds of a walk. A node has a tenth of that.
const (
	mostLeakFiles = 200_000
	mostLeakBytes = 2 << 30
)

func (l *LeakedSecrets) Key() control.Key { return control.Key{Kind: "leaked_secrets", Name: "none"} }

func (l *LeakedSecrets) Validate() error {
	var r require
	r.that(len(l.Places) > 0, "no places")
	r.that(l.Before == "" || absolute(l.Before) && l.Before != "/", "before %q is not absolute and clean", l.Before)
	for _, p := range slices.Concat(l.Places, l.PassedOver, l.Allowed) {
		r.that(absolute(p) && p != "/", "path %q is not absolute and clean", p)
	}
	for _, p := range l.Named {
		_, err := path.Match(p, "")
		r.that(err == nil && (absolute(p) || p != "" && !strings.Contains(p, "/")), "named %q is not a pattern of an absolute path or of a file name", p)
	}
	return r.err()
}

// Render has nothing to add.
func (l *LeakedSecrets) Render(control.Profile) ([]overlay.Fragment, error) { return nil, nil }

func (l *LeakedSecrets) Verify(ctx context.Context, h host.Host, stage control.Stage) []control.Observation {
	o := onDisk(l.Key())
	const want = "no key, no token and no password"
	source := strings.Join(l.Places, ":")
	if stage.Runs() {
		o.add(source, want, "judged when the image was made", control.NotApplicable, nil)
		return o.out
	}
	w := leakWalk{LeakedSecrets: l, h: h}
	homes, err := homesOf(h)
	if err != nil {
		o.unknown("/etc/passwd", want, err)
	}
	places := map[string]bool{}
	for _, p := range l.Places {
		places[p] = true
	}
	for _, home := range homes {
		if !ofTheSystem(home) {
			places[home] = true
		}
	}
	for _, p := range slices.Sorted(maps.Keys(places)) {
		if !w.below(p, places) {
			w.visit(ctx, p)
		}
	}
	if l.Before != "" {
		w.visit(ctx, l.Before)
	}
	for i, err := range w.errs {
		if i == maxNamed {
			break
		}
		o.unknown(source, want, err)
	}
	o.judge(source, want, named(w.found, fmt.Sprintf("none in %d files", w.files)), len(w.found) == 0)
	return o.out
}

// ofTheSystem tells homes that are no homes: accounts of the system have /bin, /dev and / for theirs. What lies there came
// with packages.
func ofTheSystem(home string) bool {
	first, _, _ := strings.Cut(strings.TrimPrefix(home, "/"), "/")
	return slices.Contains([]string{"", "bin", "boot", "dev", "lib", "proc", "run", "sbin", "sys", "usr"}, first)
}

type leakWalk struct {
	*LeakedSecrets
	h     host.Host
	files int
	bytes int64
	found []string
	errs  []error
	ended bool // by a bound
}

// below tells whether a place is visited with another one.
func (w *leakWalk) below(p string, places map[string]bool) bool {
	for dir := path.Dir(p); dir != "/"; dir = path.Dir(dir) {
		if places[dir] {
			return true
		}
	}
	return false
}

func (w *leakWalk) visit(ctx context.Context, p string) {
	if w.ended || slices.Contains(w.PassedOver, p) {
		return
	}
	if err := ctx.Err(); err != nil {
		w.end(err)
		return
	}
	info, err := w.h.Lstat(p)
	switch {
	case absentIn(err):
	case err != nil:
		w.errs = append(w.errs, err)
	case info.Mode.IsDir():
		names, err := entries(w.h, p)
		if err != nil && !absentIn(err) {
			w.errs = append(w.errs, err)
		}
		for _, n := range names {
			w.visit(ctx, path.Join(p, n))
		}
	case info.Mode.IsRegular() && info.Size > 0:
		w.look(p, info.Size)
	}
}

func (w *leakWalk) end(why error) {
	w.errs = append(w.errs, why)
	w.ended = true
}

// absentIn knows a file that went away, or never was there.
func absentIn(err error) bool { return err != nil && errors.Is(err, fs.ErrNotExist) }

// look judges a file. Where a bound is hit the walk ends: the rest is not known.
func (w *leakWalk) look(p string, size int64) {
	w.files++
	w.bytes += size
	if w.files > mostLeakFiles || w.bytes > mostLeakBytes {
		w.end(fmt.Errorf("there are more than %d files or %d MiB: not all were looked at", mostLeakFiles, mostLeakBytes>>20))
		return
	}
	secrets, err := w.h.Secrets(p)
	if err != nil {
		if !absentIn(err) {
			w.errs = append(w.errs, err)
		}
		return
	}
	where := ""
	if was, ok := strings.CutPrefix(p, w.Before+"/"); ok && w.Before != "" {
		p, where = "/"+was, ", which the shutdown removes too late"
	}
	if slices.Contains(w.Allowed, p) {
		return
	}
	for _, what := range secrets.Shapes {
		w.found = append(w.found, what+" in "+p+where)
	}
	if len(secrets.Names) > 0 && w.namesCount(p) {
		w.found = append(w.found, "a value of "+strings.Join(secrets.Names, " and ")+" in "+p+where)
	}
}

// namesCount tells whether names are believed in a file.
func (w *leakWalk) namesCount(p string) bool {
	return slices.ContainsFunc(w.Named, func(pattern string) bool {
		subject := p
		if !path.IsAbs(pattern) {
			subject = path.Base(p)
		}
		matched, _ := path.Match(pattern, subject)
		return matched
	})
}
