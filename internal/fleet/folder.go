package fleet

import (
	"cmp"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/strongroom/strongroom/internal/control"
	"github.com/strongroom/strongroom/internal/report"
)

// ErrNoReports says that a folder has nothing to show.
var ErrNoReports = errors.New("no report (*.json, strongroom.report/v1) is there")

// FromFolder reads every report (*.json) below a folder. The folders in it are clusters: a report in dir/prod-eu1/ is one of
// the cluster prod-eu1. Of several reports of one node the newest is how the node is, and the older ones are how it was.
// A file that is no report is refused, all of them at once.
func FromFolder(dir string, known map[string]Control) (*Fleet, error) {
	type reported struct {
		*report.Document
		cluster string
	}
	nodes := map[string][]reported{}
	var mistakes []error
	err := filepath.WalkDir(dir, func(path string, entry fs.DirEntry, err error) error {
		if err != nil {
			return fmt.Errorf("cannot read reports: %w", err)
		}
		if entry.IsDir() || !strings.HasSuffix(path, ".json") {
			return nil
		}
		d, err := read(path)
		if err != nil {
			mistakes = append(mistakes, err)
			return nil
		}
		cluster := ""
		if below, err := filepath.Rel(dir, filepath.Dir(path)); err == nil && below != "." {
			cluster = strings.Split(filepath.ToSlash(below), "/")[0]
		}
		name := cmp.Or(d.Host.NodeID, d.Host.MachineID)
		if name == "" {
			name = strings.TrimSuffix(filepath.Base(path), ".json")
		}
		nodes[cluster+"/"+name] = append(nodes[cluster+"/"+name], reported{d, cluster})
		return nil
	})
	if err != nil {
		return nil, err
	}
	if len(mistakes) > 0 {
		return nil, errors.Join(mistakes...)
	}
	if len(nodes) == 0 {
		return nil, fmt.Errorf("%s: %w", dir, ErrNoReports)
	}
	f := &Fleet{Source: "the reports in " + filepath.Base(filepath.Clean(dir))}
	for _, list := range nodes {
		for _, r := range list {
			if f.Since.IsZero() || r.Started.Before(f.Since) {
				f.Since = r.Started.UTC()
			}
			if r.Started.After(f.At) {
				f.At = r.Started.UTC()
			}
		}
	}
	controls := map[string]Control{}
	for key, list := range nodes {
		slices.SortFunc(list, func(a, b reported) int { return a.Started.Compare(b.Started) })
		_, name, _ := strings.Cut(key, "/")
		var history []*report.Document
		for _, r := range list {
			history = append(history, r.Document)
			for _, c := range r.Controls {
				controls[c.ID] = Control{c.ID, c.Title, c.Severity}
			}
		}
		last := list[len(list)-1]
		n := nodeOf(last.Document)
		n.Name, n.Cluster = name, last.cluster
		f.Nodes = append(f.Nodes, n)
		f.Spans = append(f.Spans, spansOf(name, history, f.At)...)
	}
	for _, c := range controls {
		f.Controls = append(f.Controls, c)
	}
	f.describe(known)
	f.sort()
	return f, nil
}

func read(path string) (*report.Document, error) {
	file, err := os.Open(path)
	if err != nil {
		return nil, fmt.Errorf("cannot open report: %w", err)
	}
	defer file.Close()
	d, err := report.ReadJSON(file)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	return d, nil
}

func nodeOf(d *report.Document) Node {
	n := Node{
		Verdict: string(d.Verdict), Stage: d.Stage.String(), Image: d.Host.ImageID, ImageVersion: d.Host.ImageVersion,
		RootHash: d.Host.RootHash, Baseline: d.Baseline, Judged: d.Started.UTC(), Outcomes: map[string]control.Outcome{},
	}
	if d.Join != nil {
		n.Join = d.Join.State
	}
	for _, c := range d.Controls {
		n.Outcomes[c.ID] = c.Outcome
	}
	return n
}

// spansOf tells when which control of a node did not hold, from its reports in the order of time. What a report
// says holds until the next one.
func spansOf(name string, history []*report.Document, end time.Time) []Span {
	open := map[string]Span{}
	var spans []Span
	for _, d := range history {
		at := d.Started.UTC()
		now := map[string]control.Outcome{}
		for _, c := range d.Controls {
			if away(c.Outcome) {
				now[c.ID] = c.Outcome
			}
		}
		for id, s := range open {
			if o, still := now[id]; !still || o != s.Outcome {
				s.To = at
				spans = append(spans, s)
				delete(open, id)
			}
		}
		for id, o := range now {
			if _, known := open[id]; !known {
				open[id] = Span{Node: name, Control: id, Outcome: o, From: at}
			}
		}
	}
	for _, s := range open {
		s.To = end
		spans = append(spans, s)
	}
	return spans
}
