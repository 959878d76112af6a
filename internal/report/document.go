// Package report writes the result of a check for people (text, HTML), for programs (JSON), for build
// servers (JUnit, SARIF) and for auditors (HTML, OSCAL).
package report

import (
	"strings"
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
	Join     *Join           `json:"join,omitempty"` // only in what a running agent serves, and of a node that is to join
	Stage    control.Stage   `json:"stage"`
	Verdict  check.Verdict   `json:"verdict"`
	Started  time.Time       `json:"started"` // UTC
	Seconds  float64         `json:"seconds"` // the run's wall time
	Summary  map[string]int  `json:"summary"` // outcome → number of controls
	Source   GuideSource     `json:"guide_source"`
	Guide    []GuideItem     `json:"guide"` // in the guide's order
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
	// Platform is "metal", "vm" or "container"; Virtualization is systemd's word for what a system runs in that is not on
	// metal: "kvm", "amazon", "docker".
	Platform       string `json:"platform,omitempty"`
	Virtualization string `json:"virtualization,omitempty"`
}

// Join is where the node stood on its way into the cluster when the report was read. It is not judged: a verdict is about the host.
type Join struct {
	State  string    `json:"state"` // as hostcheck_join_state: "ready"
	Since  time.Time `json:"since"` // UTC
	Reason string    `json:"reason,omitempty"`
	Hint   string    `json:"hint,omitempty"`
}

// GuideSource is the document whose items controls serve.
type GuideSource struct {
	Name     string `json:"name,omitempty"`
	Revision string `json:"revision,omitempty"` // the day on which it was changed last, "2026-06-25"
	URL      string `json:"url,omitempty"`
}

// GuideItem says how far one item of the hardening guide is proven.
type GuideItem struct {
	Item     string             `json:"item"` // "B4"
	Title    string             `json:"title"`
	Level    control.GuideLevel `json:"level"`
	Asks     string             `json:"asks"` // what it wants of a node, in one sentence
	Outcome  control.Outcome    `json:"outcome"`
	Controls []string           `json:"controls"`         // ids of the controls that serve it
	Reason   string             `json:"reason,omitempty"` // of an item that no host can prove
}

// Control is the result for one control.
type Control struct {
	ID           string           `json:"id"`
	Title        string           `json:"title"`
	Family       string           `json:"family"`
	Severity     control.Severity `json:"severity"`
	Stage        control.Stage    `json:"stage"` // the first at which its effective state is judged
	Outcome      control.Outcome  `json:"outcome"`
	Guide        []string         `json:"guide"` // items of the hardening guide: "B4"
	Refs         []string         `json:"refs"`  // of other catalogues: "CIS 1.5"
	Rationale    string           `json:"rationale,omitempty"`
	Fix          string           `json:"fix,omitempty"`
	Waiver       *Waiver          `json:"waiver,omitempty"`
	Observations []Observation    `json:"observations"`
}

// needsPerson reports whether somebody has to do something about the control.
func (c *Control) needsPerson() bool {
	return c.Outcome == control.Fail || c.Outcome == control.Unknown
}

// Waiver is a decision to run with a control that fails.
type Waiver struct {
	Reason  string    `json:"reason"`
	Owner   string    `json:"owner"`
	Expires time.Time `json:"expires"` // UTC; from then on the failure is a failure again
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
		// Empty lists for programs, never null.
		Guide: make([]GuideItem, 0, len(r.Guide)), Controls: make([]Control, 0, len(r.Controls)),
	}
	d.Source = GuideSource{r.GuideSource.Name, r.GuideSource.Revision, r.GuideSource.URL}
	for _, g := range r.Guide {
		d.Guide = append(d.Guide, GuideItem{
			Item: g.Item.ID, Title: g.Item.Title, Level: g.Item.Level, Asks: g.Item.Asks,
			Outcome: g.Outcome, Controls: append([]string{}, g.Controls...), Reason: g.Reason,
		})
	}
	for _, c := range r.Controls {
		d.Summary[c.Outcome.String()]++
		j := Control{
			ID: c.Control.ID, Title: c.Control.Title, Family: c.Control.Family, Severity: c.Control.Severity,
			Stage: c.Control.Stage, Outcome: c.Outcome,
			Guide: append([]string{}, c.Control.Guide...), Refs: append([]string{}, c.Control.Refs...),
			Rationale: strings.TrimSpace(c.Control.Rationale), Fix: strings.TrimSpace(c.Control.Fix),
			Observations: make([]Observation, 0, len(c.Observations)),
		}
		if w := c.Waiver; w != nil {
			j.Waiver = &Waiver{w.Reason, w.Owner, w.Expires}
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
