package report

import (
	"bytes"
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strconv"
	"strings"
	"time"
	"unicode"

	"github.com/strongroom/strongroom/internal/control"
	"github.com/strongroom/strongroom/internal/page"
)

// Versions and names of the assessment results.
const (
	oscalVersion = "1.1.3"
	oscalNS      = homepage + "/ns/oscal" // of our property names; nothing has to be found there
)

// The part of OSCAL assessment results that is written. Property names are the standard's; an empty list is
// not allowed there, so that lists are left out when they are empty.
type (
	oscalFile struct {
		Results oscalAssessment `json:"assessment-results"`
	}
	oscalAssessment struct {
		UUID     string          `json:"uuid"`
		Metadata oscalMetadata   `json:"metadata"`
		Import   oscalImport     `json:"import-ap"`
		Back     oscalBackMatter `json:"back-matter"`
		Results  []oscalResult   `json:"results"`
	}
	oscalMetadata struct {
		Title    string      `json:"title"`
		Modified string      `json:"last-modified"`
		Version  string      `json:"version"`
		OSCAL    string      `json:"oscal-version"`
		Props    []oscalProp `json:"props,omitempty"`
	}
	oscalImport struct {
		Href string `json:"href"`
	}
	oscalBackMatter struct {
		Resources []oscalResource `json:"resources"`
	}
	oscalResource struct {
		UUID        string      `json:"uuid"`
		Title       string      `json:"title"`
		Description string      `json:"description"`
		Props       []oscalProp `json:"props,omitempty"`
	}
	oscalResult struct {
		UUID        string        `json:"uuid"`
		Title       string        `json:"title"`
		Description string        `json:"description"`
		Start       string        `json:"start"`
		End         string        `json:"end"`
		Props       []oscalProp   `json:"props,omitempty"`
		Remarks     string        `json:"remarks,omitempty"`
		Local       oscalLocal    `json:"local-definitions"`
		Reviewed    oscalReviewed `json:"reviewed-controls"`
		// observations, risks and findings follow: see WriteOSCAL
	}
	oscalLocal struct {
		Components []oscalComponent `json:"components"`
		Inventory  []oscalInventory `json:"inventory-items"`
	}
	oscalComponent struct {
		UUID        string      `json:"uuid"`
		Type        string      `json:"type"`
		Title       string      `json:"title"`
		Description string      `json:"description"`
		Props       []oscalProp `json:"props,omitempty"`
		Status      oscalState  `json:"status"`
	}
	oscalInventory struct {
		UUID        string      `json:"uuid"`
		Description string      `json:"description"`
		Props       []oscalProp `json:"props,omitempty"`
	}
	oscalReviewed struct {
		Selections []oscalSelection `json:"control-selections"`
	}
	oscalSelection struct {
		Description string         `json:"description"`
		All         *struct{}      `json:"include-all,omitempty"`
		Include     []oscalControl `json:"include-controls,omitempty"`
	}
	oscalControl struct {
		ID string `json:"control-id"`
	}
	oscalObservation struct {
		UUID        string          `json:"uuid"`
		Title       string          `json:"title"`
		Description string          `json:"description"`
		Props       []oscalProp     `json:"props,omitempty"`
		Methods     []string        `json:"methods"`
		Types       []string        `json:"types"`
		Origins     []oscalOrigin   `json:"origins"`
		Subjects    []oscalSubject  `json:"subjects"`
		Evidence    []oscalEvidence `json:"relevant-evidence"`
		Collected   string          `json:"collected"`
	}
	oscalOrigin struct {
		Actors []oscalActor `json:"actors"`
	}
	oscalActor struct {
		Type string `json:"type"`
		UUID string `json:"actor-uuid"`
	}
	oscalSubject struct {
		UUID string `json:"subject-uuid"`
		Type string `json:"type"`
	}
	oscalEvidence struct {
		Description string      `json:"description"`
		Props       []oscalProp `json:"props,omitempty"`
	}
	oscalRisk struct {
		UUID         string          `json:"uuid"`
		Title        string          `json:"title"`
		Description  string          `json:"description"`
		Statement    string          `json:"statement"`
		Props        []oscalProp     `json:"props,omitempty"`
		Status       string          `json:"status"`
		Deadline     string          `json:"deadline,omitempty"`
		Remediations []oscalResponse `json:"remediations,omitempty"`
		Observations []oscalSeen     `json:"related-observations,omitempty"`
	}
	oscalResponse struct {
		UUID        string `json:"uuid"`
		Lifecycle   string `json:"lifecycle"`
		Title       string `json:"title"`
		Description string `json:"description"`
	}
	oscalFinding struct {
		UUID         string          `json:"uuid"`
		Title        string          `json:"title"`
		Description  string          `json:"description"`
		Props        []oscalProp     `json:"props,omitempty"`
		Target       oscalTarget     `json:"target"`
		Observations []oscalSeen     `json:"related-observations,omitempty"`
		Risks        []oscalRiskUsed `json:"related-risks,omitempty"`
	}
	oscalTarget struct {
		Type   string     `json:"type"`
		ID     string     `json:"target-id"`
		Status oscalState `json:"status"`
	}
	oscalState struct {
		State   string `json:"state"`
		Reason  string `json:"reason,omitempty"`
		Remarks string `json:"remarks,omitempty"`
	}
	oscalSeen struct {
		UUID string `json:"observation-uuid"`
	}
	oscalRiskUsed struct {
		UUID string `json:"risk-uuid"`
	}
	oscalProp struct {
		Name  string `json:"name"`
		NS    string `json:"ns"`
		Value string `json:"value"`
	}
)

// WriteOSCAL writes a report as OSCAL assessment results, for an auditor's tools. A fact is an observation,
// a control that was judged is a finding, and what is wrong with it a risk: open with its remedy, or an
// approved deviation with the waiver's end as its deadline. The same report always gives the same bytes.
func WriteOSCAL(w io.Writer, d *Document) error {
	// The standard's timestamps have four digits and begin in 1900.
	for _, t := range append([]time.Time{d.Started}, waiverEnds(d)...) {
		if year := t.UTC().Year(); year < 1970 || year > 2899 {
			return fmt.Errorf("a time of the report is %s, which OSCAL cannot state", t.UTC().Format(time.RFC3339))
		}
	}
	// Facts are by far the most of the file, so that they are encoded one by one: the frame first, and into
	// its end the three long lists.
	o := newOSCAL(d)
	var frame bytes.Buffer
	e := json.NewEncoder(&frame)
	e.SetEscapeHTML(false)
	e.SetIndent("", " ")
	if err := e.Encode(oscalFile{o.assessment()}); err != nil {
		return err
	}
	const end = "\n   }\n  ]\n }\n}\n"
	if _, err := w.Write(bytes.TrimSuffix(frame.Bytes(), []byte(end))); err != nil {
		return err
	}
	observations := jsonList{w: w, name: "observations"}
	risks := jsonList{w: w, name: "risks"}
	findings := jsonList{w: w, name: "findings"}
	for _, c := range o.judged() {
		for _, x := range o.observations(c) {
			observations.add(x)
		}
	}
	observations.end()
	for _, c := range o.judged() {
		if c.Outcome != control.Pass {
			risks.add(o.risk(c))
		}
	}
	risks.end()
	for _, c := range o.judged() {
		findings.add(o.finding(c))
	}
	findings.end()
	_, err := io.WriteString(w, end)
	return errors.Join(observations.err, risks.err, findings.err, err)
}

// jsonList writes a member of the result, one element at a time; none when it has no element.
type jsonList struct {
	w    io.Writer
	name string
	n    int
	b    bytes.Buffer
	err  error
}

func (l *jsonList) add(element any) {
	separator := ","
	if l.n == 0 {
		separator = ",\n    \"" + l.name + "\": ["
	}
	l.n++
	l.b.Reset()
	l.b.WriteString(separator + "\n     ")
	e := json.NewEncoder(&l.b)
	e.SetEscapeHTML(false)
	e.SetIndent("     ", " ")
	err := e.Encode(element)
	if err == nil {
		_, err = l.w.Write(bytes.TrimSuffix(l.b.Bytes(), []byte("\n")))
	}
	l.err = cmp.Or(l.err, err)
}

func (l *jsonList) end() {
	if l.n > 0 {
		_, err := io.WriteString(l.w, "\n    ]")
		l.err = cmp.Or(l.err, err)
	}
}

func waiverEnds(d *Document) []time.Time {
	var list []time.Time
	for i := range d.Controls {
		if waiver := d.Controls[i].Waiver; waiver != nil {
			list = append(list, waiver.Expires)
		}
	}
	return list
}

// oscal is a report on its way into the standard's terms.
type oscal struct {
	d         *Document
	id        string // of the run: what every identifier in the file derives from
	collected string
}

func newOSCAL(d *Document) *oscal {
	return &oscal{d, identifier("run", d.Host.name(), d.Baseline, d.Stage.String(), oscalTime(d.Started)), oscalTime(d.Started)}
}

// uuid identifies a part of this run.
func (o *oscal) uuid(parts ...string) string { return identifier(append([]string{o.id}, parts...)...) }

// tool and host stay the same from run to run.
func (o *oscal) tool() string { return identifier("tool", o.d.Tool.Name, o.d.Tool.Version) }
func (o *oscal) host() string { return identifier("host", o.d.Host.name()) }
func (o *oscal) plan() string { return identifier("baseline", o.d.Baseline) }

func (o *oscal) assessment() oscalAssessment {
	d := o.d
	return oscalAssessment{
		UUID: o.id,
		Metadata: oscalMetadata{
			Title:    markdown("Assessment of " + d.Host.name() + " at stage " + d.Stage.String()),
			Modified: o.collected, Version: oscalTime(d.Started), OSCAL: oscalVersion,
		},
		Import:  oscalImport{"#" + o.plan()},
		Results: []oscalResult{o.result()},
		Back: oscalBackMatter{[]oscalResource{{
			UUID: o.plan(), Title: "Baseline",
			Description: "The statement that lies on the host as /usr/lib/strongroom/baseline.json: every control with its values, and nothing else is judged. It takes the place of an assessment plan.",
			Props:       props(property{"sha256", d.Baseline}),
		}}},
	}
}

func (o *oscal) result() oscalResult {
	d := o.d
	r := oscalResult{
		UUID: o.uuid("result"), Title: "Stage " + d.Stage.String(),
		Description: fmt.Sprintf("%s judged the effective state of the host against its baseline. Verdict: %s.", markdown(d.Tool.Name), d.Verdict),
		Start:       o.collected, End: oscalTime(d.Started.Add(time.Duration(d.Seconds * float64(time.Second)))),
		Props: props(d.facts()...),
		Local: oscalLocal{
			Components: []oscalComponent{{
				UUID: o.tool(), Type: "software", Title: markdown(d.Tool.Name), Description: "The program that judged.",
				Props: props(property{"version", d.Tool.Version}), Status: oscalState{State: "operational"},
			}},
			Inventory: []oscalInventory{{UUID: o.host(), Description: "The machine that was judged.", Props: props(d.facts()...)}},
		},
	}
	reviewed := oscalSelection{Description: "The controls about which this run says something."}
	for _, c := range o.judged() {
		reviewed.Include = append(reviewed.Include, oscalControl{c.ID})
	}
	if reviewed.Include == nil {
		reviewed.All = &struct{}{} // a selection must select; there is no finding, so nothing is claimed
	}
	r.Reviewed.Selections = []oscalSelection{reviewed}
	var open []string
	for i := range d.Controls {
		if c := &d.Controls[i]; !assessed(c) {
			open = append(open, "* "+c.ID+": "+markdown(skipReason(c, d.Started)))
		}
	}
	if open != nil {
		r.Remarks = "Controls without a finding, which nobody may read as satisfied:\n\n" + strings.Join(open, "\n")
	}
	return r
}

// assessed reports whether a run says anything about a control.
func assessed(c *Control) bool {
	return c.Outcome != control.Pending && c.Outcome != control.NotApplicable
}

func (o *oscal) judged() []*Control {
	var list []*Control
	for i := range o.d.Controls {
		if c := &o.d.Controls[i]; assessed(c) {
			list = append(list, c)
		}
	}
	return list
}

// seen names the observations of a control: every fact that was looked at.
func (o *oscal) seen(c *Control) []oscalSeen {
	var list []oscalSeen
	for i := range c.Observations {
		if f := &c.Observations[i]; f.Outcome != control.Pending && f.Outcome != control.NotApplicable {
			list = append(list, oscalSeen{o.uuid("observation", c.ID, strconv.Itoa(i))})
		}
	}
	return list
}

func (o *oscal) observations(c *Control) []oscalObservation {
	var list []oscalObservation
	for i := range c.Observations {
		f := &c.Observations[i]
		if f.Outcome == control.Pending || f.Outcome == control.NotApplicable {
			continue
		}
		list = append(list, oscalObservation{
			UUID: o.uuid("observation", c.ID, strconv.Itoa(i)), Title: markdown(c.ID + ": " + f.Resource), Description: markdown(fact(f)),
			Props:   props(property{"outcome", f.Outcome.String()}, property{"layer", string(f.Layer)}, property{"resource", f.Resource}),
			Methods: []string{"TEST"}, Types: []string{"control-objective"},
			Origins:  []oscalOrigin{{[]oscalActor{{"tool", o.tool()}}}},
			Subjects: []oscalSubject{{o.host(), "inventory-item"}},
			Evidence: []oscalEvidence{{
				Description: "What was read, and what the baseline wants it to be.",
				Props:       props(property{"source", f.Source}, property{"want", f.Want}, property{"got", f.Got}, property{"error", f.Error}),
			}},
			Collected: o.collected,
		})
	}
	return list
}

// finding says whether a control is satisfied.
func (o *oscal) finding(c *Control) oscalFinding {
	f := oscalFinding{
		UUID: o.uuid("finding", c.ID), Title: markdown(c.Title), Description: markdown(message(c)),
		Props: props(append(append(each("guide-item", c.Guide), each("reference", c.Refs)...),
			property{"outcome", c.Outcome.String()}, property{"severity", string(c.Severity)}, property{"family", c.Family})...),
		Target:       oscalTarget{"objective-id", c.ID, oscalState{State: "satisfied", Reason: "pass"}},
		Observations: o.seen(c),
	}
	if c.Outcome == control.Pass {
		f.Description = f.Title
		return f
	}
	f.Risks = []oscalRiskUsed{{o.uuid("risk", c.ID)}}
	f.Target.Status = oscalState{State: "not-satisfied", Reason: "fail"}
	switch {
	case c.Outcome == control.Unknown:
		f.Target.Status.Reason = "other"
		f.Target.Status.Remarks = "The fact could not be read, so that nothing can be said; that never counts as satisfied."
	case c.Waiver != nil:
		f.Target.Status.Remarks = markdown(c.Waiver.sentence(c.Outcome, o.d.Started))
	}
	return f
}

// risk is what follows from a control that is not satisfied, and the way out.
func (o *oscal) risk(c *Control) oscalRisk {
	risk := oscalRisk{
		UUID: o.uuid("risk", c.ID), Title: markdown(c.Title), Description: markdown(message(c)), Statement: markdown(cmp.Or(c.Rationale, c.Title)),
		Props: props(property{"severity", string(c.Severity)}), Status: "open", Observations: o.seen(c),
	}
	if c.Fix != "" {
		risk.Remediations = []oscalResponse{{o.uuid("remedy", c.ID), "recommendation", "The way out", markdown(c.Fix)}}
	}
	if c.Waiver != nil {
		risk.Props = append(risk.Props, props(property{"waiver-owner", c.Waiver.Owner}, property{"waiver-reason", c.Waiver.Reason})...)
	}
	if c.Outcome == control.Waived {
		risk.Status = "deviation-approved"
		if c.Waiver != nil {
			risk.Deadline = oscalTime(c.Waiver.Expires)
		}
	}
	return risk
}

func each(name string, values []string) []property {
	var list []property
	for _, v := range values {
		list = append(list, property{name, v})
	}
	return list
}

// props gives properties as the standard wants them: a name that is a token, and a value that is not empty.
func props(list ...property) []oscalProp {
	var out []oscalProp
	for _, p := range list {
		if value := strings.TrimSpace(page.Printable(p.value)); value != "" {
			out = append(out, oscalProp{token(p.name), oscalNS, value})
		}
	}
	return out
}

// token replaces what may not stand in a name.
func token(s string) string {
	s = strings.Map(func(r rune) rune {
		if unicode.IsLetter(r) || unicode.IsNumber(r) || strings.ContainsRune("._-", r) {
			return r
		}
		return '_'
	}, s)
	if s == "" || !unicode.IsLetter([]rune(s)[0]) {
		s = "_" + s
	}
	return s
}

// oscalTime gives a moment in UTC, as precise as it is.
func oscalTime(t time.Time) string { return t.UTC().Format("2006-01-02T15:04:05.999Z07:00") }

// markdown escapes a text where the standard reads Markdown, in which a host's bytes could be a link or HTML.
func markdown(s string) string {
	return markdownEscaper.Replace(page.Printable(s))
}

var markdownEscaper = strings.NewReplacer(`\`, `\\`, "`", "\\`", "*", `\*`, "_", `\_`, "[", `\[`, "]", `\]`, "<", `\<`, ">", `\>`, "&", `\&`, "#", `\#`, "|", `\|`, "~", `\~`, "!", `\!`)
