package baseline

import (
	"errors"
	"fmt"
	"io/fs"
	"slices"
	"strings"

	"github.com/strongroom/strongroom/internal/control"
	"github.com/strongroom/strongroom/internal/distribution"
	"github.com/strongroom/strongroom/internal/overlay"
)

// staticFile is a file of the units tree.
type staticFile struct {
	source  string // its path in that tree
	path    string // its path on the host
	content []byte
}

// dataWords say how the data partitions of a profile lie on the disk: encrypted, or in the clear.
var dataWords = []string{"encrypted", "clear"}

func dataWord(p control.Profile) string {
	if p.Parameters[DataEncryption] == "tpm" {
		return dataWords[0]
	}
	return dataWords[1]
}

// shipWord names what is for profiles alone that ship the journal.
const shipWord = "ships"

// LogShipping is the parameter that says what ships the journal off the node: JournalUpload or "none".
const (
	LogShipping   = "log_shipping"
	JournalUpload = "journal-upload"
)

// DataEncryption is the parameter that says whether the data partitions are encrypted: "tpm" or "none".
const DataEncryption = "data_encryption"

// readStatic lists what the units tree has for one profile. A file's path below that tree is its path on
// the host, but for leading directories that are named after a server, a layout, a family of distributions, a word of dataWords or shipWord: what
// lies in them is for profiles of that name alone, and its path begins below. Symlinks cannot be embedded, so a file named X.symlink
// holds the target of a link named X.
func readStatic(units fs.FS, p control.Profile) ([]staticFile, error) {
	if units == nil {
		return nil, nil
	}
	d, err := distribution.Find(p.Layout, p.Distribution)
	if err != nil {
		return nil, err
	}
	selectors := slices.Concat(Servers, Layouts, distribution.Families, dataWords, []string{shipWord})
	ours := []string{p.Server, p.Layout, string(d.Family), dataWord(p)}
	if p.Parameters[LogShipping] == JournalUpload {
		ours = append(ours, shipWord)
	}
	var out []staticFile
	err = fs.WalkDir(units, ".", func(p string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() || strings.HasSuffix(p, ".go") {
			return err
		}
		onHost := p
		for {
			first, rest, _ := strings.Cut(onHost, "/")
			if !slices.Contains(selectors, first) {
				break
			}
			if !slices.Contains(ours, first) {
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
