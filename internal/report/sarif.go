package report

import (
	"encoding/json"
	"io"
	"net/url"
	"path"
	"strings"
	"time"

	"github.com/strongroom/strongroom/internal/check"
	"github.com/strongroom/strongroom/internal/control"
	"github.com/strongroom/strongroom/internal/page"
)

// homepage is where the tool comes from.
const homepage = "https://github.com/strongroom/strongroom"

// The part of SARIF 2.1.0 that is written. Property names are the standard's.
type (
	sarifLog struct {
		Schema  string     `json:"$schema"`
		Version string     `json:"version"`
		Runs    []sarifRun `json:"runs"`
	}
	sarifRun struct {
		Tool        sarifTool                `json:"tool"`
		Automation  sarifAutomation          `json:"automationDetails"`
		Invocations []sarifInvocation        `json:"invocations"`
		Bases       map[string]sarifArtifact `json:"originalUriBaseIds"`
		Results     []sarifResult            `json:"results"`
		Properties  map[string]string        `json:"properties"`
	}
	sarifTool struct {
		Driver sarifDriver `json:"driver"`
	}
	sarifDriver struct {
		Name    string      `json:"name"`
		Version string      `json:"version,omitempty"`
		URI     string      `json:"informationUri"`
		Rules   []sarifRule `json:"rules"`
	}
	sarifRule struct {
		ID         string           `json:"id"`
		Short      sarifText        `json:"shortDescription"`
		Full       *sarifText       `json:"fullDescription,omitempty"`
		Help       *sarifText       `json:"help,omitempty"`
		Default    sarifDefault     `json:"defaultConfiguration"`
		Properties sarifRuleDetails `json:"properties"`
	}
	sarifDefault struct {
		Level string `json:"level"`
	}
	sarifRuleDetails struct {
		Tags     []string         `json:"tags"` // property bags have this one name in common
		Severity control.Severity `json:"severity"`
		Stage    control.Stage    `json:"stage"`
		Guide    []string         `json:"guide"`
		Refs     []string         `json:"refs"`
	}
	sarifAutomation struct {
		ID string `json:"id"` // code scanning keeps runs of different ids apart
	}
	sarifInvocation struct {
		Successful    bool                `json:"executionSuccessful"`
		Start         time.Time           `json:"startTimeUtc"`
		End           time.Time           `json:"endTimeUtc"`
		Notifications []sarifNotification `json:"toolExecutionNotifications,omitempty"`
	}
	sarifNotification struct {
		Level      string         `json:"level"`
		Message    sarifText      `json:"message"`
		Associated sarifReference `json:"associatedRule"`
	}
	sarifReference struct {
		ID    string `json:"id"`
		Index int    `json:"index"`
	}
	sarifResult struct {
		Rule         string             `json:"ruleId"`
		Index        int                `json:"ruleIndex"`
		Kind         string             `json:"kind"`
		Level        string             `json:"level"`
		Message      sarifText          `json:"message"`
		Locations    []sarifLocation    `json:"locations"`
		Fingerprints map[string]string  `json:"partialFingerprints"`
		Suppressions []sarifSuppression `json:"suppressions"`
		Properties   sarifDetails       `json:"properties"`
	}
	sarifLocation struct {
		Physical sarifPhysical  `json:"physicalLocation"`
		Logical  []sarifLogical `json:"logicalLocations"`
	}
	sarifPhysical struct {
		Artifact sarifArtifact `json:"artifactLocation"`
	}
	sarifArtifact struct {
		URI  string `json:"uri"`
		Base string `json:"uriBaseId,omitempty"`
	}
	sarifLogical struct {
		Name string `json:"fullyQualifiedName"`
		Kind string `json:"kind"`
	}
	sarifSuppression struct {
		Kind          string       `json:"kind"`
		Status        string       `json:"status"`
		Justification string       `json:"justification"`
		Properties    sarifExpires `json:"properties"`
	}
	sarifExpires struct {
		Owner   string    `json:"owner"`
		Expires time.Time `json:"expires"` // the standard has no place for it
	}
	sarifDetails struct {
		Outcome control.Outcome `json:"outcome"`
		Facts   []sarifFact     `json:"facts,omitempty"`
	}
	sarifFact struct {
		Source string          `json:"source"`
		Want   string          `json:"want,omitempty"`
		Got    string          `json:"got,omitempty"`
		Error  string          `json:"error,omitempty"`
		Layer  control.Layer   `json:"layer"`
		Result control.Outcome `json:"outcome"`
	}
	sarifText struct {
		Text string `json:"text"`
	}
)

// WriteSARIF writes a report for code scanning. Scanners turn every result into an alert, whatever its kind,
// so that only what fails, what nobody could tell and what is waived (suppressed, with the justification) is
// a result; all adds the rest.
func WriteSARIF(w io.Writer, d *Document, all bool) error {
	run := sarifRun{
		Tool:       sarifTool{sarifDriver{Name: page.Printable(d.Tool.Name), Version: page.Printable(d.Tool.Version), URI: homepage, Rules: make([]sarifRule, 0, len(d.Controls))}},
		Automation: sarifAutomation{strings.Join([]string{"strongroom", url.PathEscape(d.Host.name()), d.Stage.String(), ""}, "/")},
		Bases:      map[string]sarifArtifact{"HOST": {URI: "file:///"}},
		Results:    []sarifResult{},
		Properties: map[string]string{},
	}
	for _, p := range d.facts() {
		run.Properties[p.name] = p.value
	}
	called := sarifInvocation{
		// A run that could not look at everything it must look at was no success.
		Successful: d.Verdict != check.Unknown,
		Start:      d.Started.UTC(), End: d.Started.Add(time.Duration(d.Seconds * float64(time.Second))).UTC().Truncate(time.Microsecond),
	}
	for i := range d.Controls {
		c := &d.Controls[i]
		run.Tool.Driver.Rules = append(run.Tool.Driver.Rules, sarifRuleOf(c))
		if c.Outcome == control.Unknown {
			called.Notifications = append(called.Notifications, sarifNotification{sarifLevel(c), sarifText{message(c)}, sarifReference{c.ID, i}})
		}
		if all || c.needsPerson() || c.Outcome == control.Waived {
			run.Results = append(run.Results, sarifResultOf(d, c, i))
		}
	}
	run.Invocations = []sarifInvocation{called}
	e := json.NewEncoder(w)
	e.SetEscapeHTML(false)
	e.SetIndent("", " ")
	return e.Encode(sarifLog{
		Schema:  "https://docs.oasis-open.org/sarif/sarif/v2.1.0/errata01/os/schemas/sarif-schema-2.1.0.json",
		Version: "2.1.0", Runs: []sarifRun{run},
	})
}

func sarifRuleOf(c *Control) sarifRule {
	r := sarifRule{
		ID: c.ID, Short: sarifText{page.Printable(c.Title)}, Default: sarifDefault{sarifLevel(c)},
		Properties: sarifRuleDetails{
			Tags: []string{"security", page.Printable(c.Family)}, Severity: c.Severity, Stage: c.Stage,
			Guide: printables(c.Guide), Refs: printables(c.Refs),
		},
	}
	if c.Rationale != "" {
		r.Full = &sarifText{page.Printable(c.Rationale)}
	}
	if c.Fix != "" {
		r.Help = &sarifText{"The way out: " + page.Printable(c.Fix)}
	}
	return r
}

func sarifLevel(c *Control) string {
	if c.Severity == control.Must {
		return "error"
	}
	return "warning"
}

func sarifResultOf(d *Document, c *Control, index int) sarifResult {
	r := sarifResult{
		Rule: c.ID, Index: index, Kind: "fail", Level: sarifLevel(c), Message: sarifText{message(c)},
		Fingerprints: map[string]string{"strongroomControl/v1": identifier("fingerprint", d.Host.name(), c.ID)},
		Suppressions: []sarifSuppression{}, // looked for, and there is none
		Properties:   sarifDetails{Outcome: c.Outcome},
	}
	decided := false
	for i := range c.Observations {
		o := &c.Observations[i]
		if o.Outcome != c.Outcome {
			continue
		}
		decided = true
		r.Locations = append(r.Locations, sarifLocationOf(o))
		if c.needsPerson() || c.Outcome == control.Waived {
			r.Properties.Facts = append(r.Properties.Facts, sarifFact{page.Printable(o.Source), page.Printable(o.Want), page.Printable(o.Got), page.Printable(o.Error), o.Layer, o.Outcome})
		}
	}
	if !decided {
		r.Locations = []sarifLocation{sarifLocationOf(&Observation{Source: "hostcheck"})}
	}
	switch c.Outcome {
	case control.Waived:
		s := sarifSuppression{Kind: "external", Status: "accepted"}
		if c.Waiver != nil {
			s.Justification = page.Printable(c.Waiver.Reason)
			s.Properties = sarifExpires{page.Printable(c.Waiver.Owner), c.Waiver.Expires}
		}
		r.Suppressions = append(r.Suppressions, s)
	// The standard wants level none for every kind but fail. What nobody could tell stays a failure here:
	// a scanner that counts levels must not take it for a pass.
	case control.Pass:
		r.Kind, r.Level, r.Message.Text = "pass", "none", page.Printable(c.Title)
	case control.Pending:
		r.Kind, r.Level, r.Message.Text = "open", "none", skipReason(c, d.Started)
	case control.NotApplicable:
		r.Kind, r.Level, r.Message.Text = "notApplicable", "none", skipReason(c, d.Started)
	}
	return r
}

// sarifLocationOf gives the file that a fact was read from. A fact that no file holds is placed in the
// baseline, which asks for it: a result without a file is refused by code scanning.
func sarifLocationOf(o *Observation) sarifLocation {
	file, kind := "usr/lib/strongroom/baseline.json", "resource"
	if first, _, _ := strings.Cut(o.Source, " "); strings.HasPrefix(first, "/") && path.Clean(first) != "/" {
		file = strings.TrimPrefix(path.Clean(first), "/")
	}
	return sarifLocation{
		Physical: sarifPhysical{sarifArtifact{(&url.URL{Path: file}).String(), "HOST"}},
		Logical:  []sarifLogical{{page.Printable(o.Resource + " " + o.Source), kind}},
	}
}
