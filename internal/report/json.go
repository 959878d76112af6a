// Package report writes the result of a check for programs (JSON) and people (text).
package report

import (
	"encoding/json"
	"fmt"
	"io"
	"time"

	"github.com/strongroom/strongroom/internal/check"
	"github.com/strongroom/strongroom/internal/control"
)

// Schema names the JSON format. Fields may be added under the same number.
const Schema = "strongroom.report/v1"

// Document is the JSON form of a report.
type Document struct {
	Schema   string          `json:"schema"`
	Tool     Tool            `json:"tool"`
	Baseline string          `json:"baseline"` // SHA-256 of the baseline, hex
	Profile  control.Profile `json:"profile"`
	Host     Host            `json:"host"`
	Stage    control.Stage   `json:"stage"`
	Verdict  check.Verdict   `json:"verdict"`
	Started  time.Time       `json:"started"` // UTC
	Seconds  float64         `json:"seconds"` // the run's wall time
	Summary  map[string]int  `json:"summary"` // outcome → number of controls
	Controls []Control       `json:"controls"`
}

// Tool is the program that judged.
type Tool struct {
	Name    string `json:"name"`
	Version string `json:"version"`
}

// Host is the machine that was judged.
type Host struct {
	MachineID    string `json:"machine_id,omitempty"`
	NodeID       string `json:"node_id,omitempty"`
	ImageID      string `json:"image_id,omitempty"`
	ImageVersion string `json:"image_version,omitempty"`
	RootHash     string `json:"root_hash,omitempty"`
	Kernel       string `json:"kernel,omitempty"`
}

// Control is the result for one control.
type Control struct {
	ID           string           `json:"id"`
	Title        string           `json:"title"`
	Family       string           `json:"family"`
	Severity     control.Severity `json:"severity"`
	Outcome      control.Outcome  `json:"outcome"`
	Guide        []string         `json:"guide"`
	Fix          string           `json:"fix,omitempty"`
	Observations []Observation    `json:"observations"`
}

// Observation is one fact that was looked at.
type Observation struct {
	Resource string          `json:"resource"` // kind:name
	Layer    control.Layer   `json:"layer"`
	Outcome  control.Outcome `json:"outcome"`
	Want     string          `json:"want,omitempty"`
	Got      string          `json:"got,omitempty"`
	Source   string          `json:"source"`
	Error    string          `json:"error,omitempty"`
}

// New gives the JSON form of a check's result.
func New(r *check.Report, version string) *Document {
	d := &Document{
		Schema: Schema, Tool: Tool{"hostcheck", version}, Baseline: r.Baseline, Profile: r.Profile,
		Host:  Host(r.Identity),
		Stage: r.Stage, Verdict: r.Verdict, Started: r.Started, Seconds: r.Duration.Seconds(), Summary: map[string]int{},
		Controls: make([]Control, 0, len(r.Controls)), // an empty list for programs, never null
	}
	for _, c := range r.Controls {
		d.Summary[c.Outcome.String()]++
		j := Control{
			ID: c.Control.ID, Title: c.Control.Title, Family: c.Control.Family, Severity: c.Control.Severity,
			Outcome: c.Outcome, Guide: append([]string{}, c.Control.Guide...), Observations: make([]Observation, 0, len(c.Observations)),
		}
		if c.Outcome == control.Fail || c.Outcome == control.Unknown {
			j.Fix = c.Control.Fix
		}
		for _, o := range c.Observations {
			jo := Observation{Resource: o.Resource.String(), Layer: o.Layer, Outcome: o.Outcome, Want: o.Want, Got: o.Got, Source: o.Source}
			if o.Err != nil {
				jo.Error = o.Err.Error()
			}
			j.Observations = append(j.Observations, jo)
		}
		d.Controls = append(d.Controls, j)
	}
	return d
}

// WriteJSON writes the document with one final newline.
func WriteJSON(w io.Writer, d *Document) error {
	e := json.NewEncoder(w)
	e.SetEscapeHTML(false)
	e.SetIndent("", " ")
	return e.Encode(d)
}

// ReadJSON reads a document and refuses another schema.
func ReadJSON(r io.Reader) (*Document, error) {
	var d Document
	if err := json.NewDecoder(io.LimitReader(r, 32<<20)).Decode(&d); err != nil {
		return nil, fmt.Errorf("cannot decode report: %w", err)
	}
	if d.Schema != Schema {
		return nil, fmt.Errorf("cannot decode report: schema %q is not %s", d.Schema, Schema)
	}
	return &d, nil
}
