package report

import (
	"encoding/xml"
	"fmt"
	"io"
	"strconv"
	"strings"
	"time"

	"github.com/strongroom/strongroom/internal/control"
	"github.com/strongroom/strongroom/internal/page"
)

// The elements that Jenkins, GitLab and their like agree on. A test suite is a family of controls.
type (
	junitSuites struct {
		XMLName xml.Name `xml:"testsuites"`
		Name    string   `xml:"name,attr"`
		junitCounts
		Time   string       `xml:"time,attr"` // seconds
		Suites []junitSuite `xml:"testsuite"`
	}
	junitSuite struct {
		Name string `xml:"name,attr"`
		junitCounts
		Time       string          `xml:"time,attr"`
		Timestamp  string          `xml:"timestamp,attr"` // UTC, without a zone: so the format wants it
		Hostname   string          `xml:"hostname,attr"`
		Properties []junitProperty `xml:"properties>property"`
		Cases      []junitCase     `xml:"testcase"`
	}
	junitCounts struct {
		Tests    int `xml:"tests,attr"`
		Failures int `xml:"failures,attr"`
		Errors   int `xml:"errors,attr"`
		Skipped  int `xml:"skipped,attr"`
	}
	junitProperty struct {
		Name  string `xml:"name,attr"`
		Value string `xml:"value,attr"`
	}
	junitCase struct {
		Class   string       `xml:"classname,attr"`
		Name    string       `xml:"name,attr"`
		Time    string       `xml:"time,attr"`
		Failure *junitResult `xml:"failure"`
		Error   *junitResult `xml:"error"`
		Skipped *junitResult `xml:"skipped"`
	}
	junitResult struct {
		Message string `xml:"message,attr"`
		Type    string `xml:"type,attr,omitempty"`
		Body    string `xml:",cdata"`
	}
)

func (c *junitCounts) add(o junitCounts) {
	c.Tests += o.Tests
	c.Failures += o.Failures
	c.Errors += o.Errors
	c.Skipped += o.Skipped
}

// WriteJUnit writes a report for a build server: a control that fails is a failure, one about which nothing
// could be said is an error, and one that is waived, pending or not applicable is skipped, with the reason.
func WriteJUnit(w io.Writer, d *Document) error {
	all := junitSuites{Name: "hostcheck stage " + d.Stage.String(), Time: strconv.FormatFloat(d.Seconds, 'f', 3, 64)}
	byFamily := map[string]int{}
	for i := range d.Controls {
		c := &d.Controls[i]
		at, known := byFamily[c.Family]
		if !known {
			at = len(all.Suites)
			byFamily[c.Family] = at
			all.Suites = append(all.Suites, junitSuite{
				Name: page.Printable(c.Family), Time: "0", // what one family costs is not measured: all run at once
				Timestamp: d.Started.UTC().Format("2006-01-02T15:04:05"), Hostname: page.Printable(d.Host.name()), Properties: junitProperties(d),
			})
		}
		s := &all.Suites[at]
		test, counts := junitTest(c, d.Started)
		s.Cases = append(s.Cases, test)
		s.add(counts)
		all.add(counts)
	}
	if _, err := io.WriteString(w, xml.Header); err != nil {
		return err
	}
	e := xml.NewEncoder(w)
	e.Indent("", " ")
	if err := e.Encode(all); err != nil {
		return err
	}
	_, err := io.WriteString(w, "\n")
	return err
}

func junitProperties(d *Document) []junitProperty {
	var list []junitProperty
	for _, p := range d.facts() {
		list = append(list, junitProperty{p.name, p.value})
	}
	return list
}

func junitTest(c *Control, at time.Time) (junitCase, junitCounts) {
	test := junitCase{Class: page.Printable(c.Family), Name: page.Printable(c.ID), Time: "0"}
	counts := junitCounts{Tests: 1}
	switch c.Outcome {
	case control.Pass:
	case control.Fail:
		counts.Failures = 1
		test.Failure = &junitResult{Message: message(c), Type: string(c.Severity), Body: junitBody(c, at)}
	case control.Waived, control.Pending, control.NotApplicable:
		counts.Skipped = 1
		test.Skipped = &junitResult{Message: skipReason(c, at)}
	default: // what nobody could tell never passes
		counts.Errors = 1
		test.Error = &junitResult{Message: message(c), Type: string(c.Severity), Body: junitBody(c, at)}
	}
	return test, counts
}

// message says what is wrong in one line: the title, and the first fact that decided.
func message(c *Control) string {
	for i := range c.Observations {
		if o := &c.Observations[i]; o.Outcome == c.Outcome {
			return page.Printable(c.Title) + ": " + fact(o)
		}
	}
	return page.Printable(c.Title)
}

// skipReason says why a control has no result.
func skipReason(c *Control, at time.Time) string {
	switch {
	case c.Outcome == control.Waived && c.Waiver != nil:
		return c.Waiver.sentence(c.Outcome, at)
	case c.Outcome == control.Pending:
		return "pending: judged from stage " + c.Stage.String() + " on"
	}
	for i := range c.Observations {
		if o := &c.Observations[i]; o.Outcome == c.Outcome && o.Got != "" {
			return fmt.Sprintf("%s: %s", c.Outcome, page.Printable(o.Got))
		}
	}
	return c.Outcome.String()
}

// junitBody is what somebody reads who opens a failed test.
func junitBody(c *Control, at time.Time) string {
	var b strings.Builder
	b.WriteString("\n")
	for i := range c.Observations {
		if o := &c.Observations[i]; o.Outcome == control.Fail || o.Outcome == control.Unknown {
			fmt.Fprintf(&b, "%s\n", fact(o))
		}
	}
	if c.Waiver != nil {
		fmt.Fprintf(&b, "%s\n", c.Waiver.sentence(c.Outcome, at))
	}
	if c.Rationale != "" {
		fmt.Fprintf(&b, "why: %s\n", page.Printable(c.Rationale))
	}
	if c.Fix != "" {
		fmt.Fprintf(&b, "hint: %s\n", page.Printable(c.Fix))
	}
	return b.String()
}
