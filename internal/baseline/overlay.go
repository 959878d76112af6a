package baseline

import (
	"errors"
	"fmt"
	"io/fs"
	"slices"
	"strings"

	"github.com/strongroom/strongroom/internal/overlay"
)

// staticFile is a file of the units tree.
type staticFile struct {
	source  string // its path in that tree
	path    string // its path on the host
	content []byte
}

// readStatic lists what the units tree has for one server. A file's path below that tree is its path on
// the host, but for the directories that are named after a server: what lies in them is for that server alone, and
// its path begins below. Symlinks cannot be embedded, so a file named X.symlink holds the target of a link named X.
func readStatic(units fs.FS, serverID string) ([]staticFile, error) {
	if units == nil {
		return nil, nil
	}
	var out []staticFile
	err := fs.WalkDir(units, ".", func(p string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() || strings.HasSuffix(p, ".go") {
			return err
		}
		onHost := p
		if first, rest, _ := strings.Cut(p, "/"); slices.Contains(Servers, first) {
			if first != serverID {
				return nil
			}
			onHost = rest
		}
		content, err := fs.ReadFile(units, p)
		out = append(out, staticFile{p, "/" + onHost, content})
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("cannot read unit files: %w", err)
	}
	return out, nil
}

// Overlay renders the baseline: the files of every control, the unit files that images carry
// verbatim, and the baseline itself. Binaries are not part of it.
func (b *Baseline) Overlay() (*overlay.Tree, error) {
	tree := &overlay.Tree{}
	var errs []error
	for _, f := range b.static {
		fragment := overlay.File(f.path, string(f.content))
		if link, ok := strings.CutSuffix(f.path, ".symlink"); ok {
			fragment = overlay.Symlink(link, strings.TrimSpace(string(f.content)))
		}
		errs = append(errs, tree.Add("systemd/"+f.source, fragment))
	}
	for _, c := range b.Controls {
		for _, r := range c.Resources {
			fragments, err := r.Render(b.Profile)
			if err != nil {
				errs = append(errs, fmt.Errorf("control %s: cannot render %s: %w", c.ID, r.Key(), err))
			}
			for _, f := range fragments {
				errs = append(errs, tree.Add(c.ID, f))
			}
		}
	}
	j, err := b.JSON()
	if err != nil {
		return nil, err
	}
	errs = append(errs, tree.Add("baseline", overlay.File(Path, string(j))))
	if err := errors.Join(errs...); err != nil {
		return nil, err
	}
	return tree, nil
}
