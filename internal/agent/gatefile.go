package agent

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"time"

	"github.com/strongroom/strongroom/internal/report"
)

// gateFile is the report that the gate leaves. It is replaced at each run of the gate.
type gateFile struct {
	path     string
	modified time.Time
	said     *report.Document
}

// read gives the gate's last report, nil when there is none, and whether it is new.
func (g *gateFile) read() (said *report.Document, fresh bool, err error) {
	f, err := os.Open(g.path)
	if errors.Is(err, fs.ErrNotExist) {
		fresh = g.said != nil
		g.said, g.modified = nil, time.Time{}
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
	if info.ModTime().Equal(g.modified) {
		return g.said, false, nil
	}
	g.said, g.modified = nil, info.ModTime()
	d, err := report.ReadJSON(f)
	if err != nil {
		return nil, false, fmt.Errorf("%s: %w", g.path, err)
	}
	g.said = d
	return d, true, nil
}
