package report

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"slices"

	"github.com/strongroom/strongroom/internal/check"
	"github.com/strongroom/strongroom/internal/control"
)

// WriteJSON writes the document with one final newline. The controls are encoded one by one: the gate's
// memory has no room for the whole text.
func WriteJSON(w io.Writer, d *Document) error {
	var b bytes.Buffer
	e := json.NewEncoder(&b)
	e.SetEscapeHTML(false)
	e.SetIndent("", " ")
	shell := *d
	shell.Controls = []Control{}
	if err := e.Encode(shell); err != nil {
		return err
	}
	// The controls are the last member, so that what is left to write after them is known.
	const empty, end = "]\n}\n", "\n ]\n}\n"
	head := bytes.TrimSuffix(b.Bytes(), []byte(empty))
	if _, err := w.Write(head); err != nil {
		return err
	}
	if len(d.Controls) == 0 {
		_, err := io.WriteString(w, empty)
		return err
	}
	e.SetIndent("  ", " ")
	separator := "\n  "
	for i := range d.Controls {
		b.Reset()
		b.WriteString(separator)
		separator = ",\n  "
		if err := e.Encode(&d.Controls[i]); err != nil {
			return err
		}
		if _, err := w.Write(bytes.TrimSuffix(b.Bytes(), []byte("\n"))); err != nil {
			return err
		}
	}
	_, err := io.WriteString(w, end)
	return err
}

// largest is how much of a stream ReadJSON reads.
const largest = 32 << 20

// ReadJSON reads a document and refuses another schema, and words that no report of this schema has. What
// it gives still holds strings of the host that was judged: every writer escapes them.
func ReadJSON(r io.Reader) (*Document, error) {
	var d Document
	if err := json.NewDecoder(io.LimitReader(r, largest)).Decode(&d); err != nil {
		return nil, fmt.Errorf("cannot decode report: %w", err)
	}
	if d.Schema != Schema {
		return nil, fmt.Errorf("cannot decode report: schema %q is not %s", d.Schema, Schema)
	}
	if err := d.validate(); err != nil {
		return nil, fmt.Errorf("cannot decode report: %w", err)
	}
	d.fill()
	return &d, nil
}

// fill makes empty lists of those that are not there: older programs wrote fewer members, and lists are
// never null.
func (d *Document) fill() {
	d.Guide, d.Controls = filled(d.Guide), filled(d.Controls)
	for i := range d.Guide {
		d.Guide[i].Controls = filled(d.Guide[i].Controls)
	}
	for i := range d.Controls {
		c := &d.Controls[i]
		c.Guide, c.Refs, c.Observations = filled(c.Guide), filled(c.Refs), filled(c.Observations)
	}
	if d.Summary == nil {
		d.Summary = map[string]int{}
	}
}

func filled[T any](list []T) []T {
	if list == nil {
		return []T{}
	}
	return list
}

// validate refuses what no run writes. An outcome or a stage that nobody knows is refused by its own decoder.
func (d *Document) validate() error {
	if !slices.Contains([]check.Verdict{check.Pass, check.Fail, check.Unknown}, d.Verdict) {
		return fmt.Errorf("unknown verdict %q", d.Verdict)
	}
	if !(d.Seconds >= 0 && d.Seconds < 1e6) {
		return fmt.Errorf("seconds: %g is no time of a run", d.Seconds)
	}
	for word, n := range d.Summary {
		var o control.Outcome
		if err := o.UnmarshalText([]byte(word)); err != nil || n < 1 {
			return fmt.Errorf("summary: %q: %d is no number of controls", word, n)
		}
	}
	for _, c := range d.Controls {
		if !control.ValidID(c.ID) {
			return fmt.Errorf("control %q: not an id", c.ID)
		}
		if c.Severity != control.Must && c.Severity != control.Should {
			return fmt.Errorf("control %s: unknown severity %q", c.ID, c.Severity)
		}
		for _, o := range c.Observations {
			if o.Layer != control.OnDisk && o.Layer != control.Effective {
				return fmt.Errorf("control %s: unknown layer %q", c.ID, o.Layer)
			}
		}
	}
	for _, g := range d.Guide {
		if g.Level != control.GuideBaseline && g.Level != control.GuideExtended {
			return fmt.Errorf("guide item %q: unknown level %q", g.Item, g.Level)
		}
	}
	return nil
}
