package agent

import (
	"errors"
	"fmt"
	"io/fs"
	"os"

	"github.com/strongroom/strongroom/internal/report"
)

// gateFile is the report that the gate leaves. It is replaced at each run of the gate.
type gateFile struct {
	path string
	info fs.FileInfo // of the file that said is from
	said *report.Document
}

// read gives the gate's last report, nil when there is none, and whether it is new.
func (g *gateFile) read() (said *report.Document, fresh bool, err error) {
	f, err := os.Open(g.path)
	if errors.Is(err, fs.ErrNotExist) {
		fresh = g.said != nil
		g.said, g.info = nil, nil
		return nil, fresh, nil
	}
	if err != nil {
		g.said = nil
		return nil, false, err
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		g.said = nil
		return nil, false, err
	}
	// Time alone is too coarse: two runs of the gate can fall into one tick of the kernel's clock.
	if g.info != nil && os.SameFile(info, g.info) && info.ModTime().Equal(g.info.ModTime()) {
		return g.said, false, nil
	}
	g.said, g.info = nil, info
	d, err := report.ReadJSON(f)
	if err != nil {
		return nil, false, fmt.Errorf("%s: %w", g.path, err)
	}
	g.said = d
	return d, true, nil
}
