package report

import (
	"fmt"
	"io"
	"slices"
	"strings"
	"time"

	"github.com/strongroom/strongroom/internal/check"
	"github.com/strongroom/strongroom/internal/control"
	"github.com/strongroom/strongroom/internal/page"
)

// outcomes in the order in which a summary names them.
var outcomes = []control.Outcome{control.Pass, control.Fail, control.Unknown, control.Pending, control.Waived, control.NotApplicable}

var marks = map[control.Outcome]struct{ word, color string }{
	control.Pass:          {"pass", "32"},
	control.Fail:          {"FAIL", "1;31"},
	control.Unknown:       {"UNKNOWN", "1;33"},
	control.Pending:       {"pending", "36"},
	control.Waived:        {"waived", "35"},
	control.NotApplicable: {"n/a", "2"},
}

// WriteText writes a report for a terminal or a console: what needs a person first, then one line per
// control, and the verdict where the eye ends up.
func WriteText(w io.Writer, d *Document, o Options) error {
	t := &text{Options: o, at: d.Started}
	bad := attention(d)
	if len(bad) > 0 && !o.Brief {
		t.heading("needs attention")
	}
	for _, c := range bad {
		t.control(c)
	}
	if !o.Brief {
		family := ""
		for i := range d.Controls {
			c := &d.Controls[i]
			if c.needsPerson() {
				continue
			}
			if c.Family != family {
				family = c.Family
				t.heading(page.Printable(family))
			}
			t.control(c)
		}
		t.coverage(d.Guide)
	}
	color := map[check.Verdict]string{check.Pass: "1;32", check.Fail: "1;31", check.Unknown: "1;33"}[d.Verdict]
	var counts []string
	for _, out := range outcomes {
		if n := d.Summary[out.String()]; n > 0 {
			counts = append(counts, fmt.Sprintf("%d %s", n, out))
		}
	}
	fmt.Fprintf(t, "%s at stage %s: %s (baseline %s, %.0f ms)\n",
		t.paint(color, "verdict "+strings.ToUpper(string(d.Verdict))), d.Stage, strings.Join(counts, ", "), short(page.Printable(d.Baseline)), d.Seconds*1000)
	_, err := io.WriteString(w, t.String())
	return err
}

// attention lists the controls that need a person: what closes the gate first, and certain failures before
// what nobody knows.
func attention(d *Document) []*Control {
	var bad []*Control
	for i := range d.Controls {
		if c := &d.Controls[i]; c.needsPerson() {
			bad = append(bad, c)
		}
	}
	rank := func(c *Control) int {
		n := 0
		if c.Severity != control.Must {
			n += 2
		}
		if c.Outcome == control.Unknown {
			n++
		}
		return n
	}
	slices.SortStableFunc(bad, func(a, b *Control) int { return rank(a) - rank(b) })
	return bad
}

// text is the report on its way to a terminal.
type text struct {
	Options
	strings.Builder
	at time.Time // of the run
}

func (t *text) paint(color, s string) string {
	if !t.Color {
		return s
	}
	return "\x1b[" + color + "m" + s + "\x1b[0m"
}

func (t *text) heading(s string) { fmt.Fprintf(t, "%s\n", t.paint("1", s)) }

const indent = "           "

// control writes a control's line, and below it what somebody needs to act on it.
func (t *text) control(c *Control) {
	m := marks[c.Outcome]
	note := ""
	if c.needsPerson() && c.Severity == control.Should {
		note = " (should: it does not close the gate)"
	}
	fmt.Fprintf(t, "  %s  %-30s %s%s\n", t.paint(m.color, fmt.Sprintf("%-7s", m.word)), page.Printable(c.ID), page.Printable(c.Title), note)
	for i := range c.Observations {
		o := &c.Observations[i]
		if !t.Verbose && o.Outcome != control.Fail && o.Outcome != control.Unknown {
			continue
		}
		fmt.Fprintf(t, "%s%s\n", indent, fact(o))
	}
	if c.Waiver != nil {
		fmt.Fprintf(t, "%s%s\n", indent, c.Waiver.sentence(c.Outcome, t.at))
	}
	if c.needsPerson() && c.Fix != "" {
		fmt.Fprintf(t, "%shint: %s\n", indent, page.Printable(c.Fix))
	}
}

// coverage writes how far the hardening guide is proven, in one line.
func (t *text) coverage(items []GuideItem) {
	var parts []string
	for _, c := range covered(items) {
		part := fmt.Sprintf("%s %d of %d hold", c.Level, len(c.Items[control.Pass]), c.Total)
		for _, out := range outcomes {
			list := c.Items[out]
			switch {
			case out == control.Pass || len(list) == 0:
			case out == control.Fail || out == control.Unknown || out == control.Waived:
				part += fmt.Sprintf(", %s %s", out, page.Printable(strings.Join(list, " ")))
			default:
				part += fmt.Sprintf(", %d %s", len(list), out)
			}
		}
		parts = append(parts, part)
	}
	if len(parts) > 0 {
		fmt.Fprintf(t, "%s %s\n", t.paint("1", "guide"), strings.Join(parts, "; "))
	}
}

// coverage of one level of the guide.
type coverage struct {
	Level control.GuideLevel
	Total int
	Items map[control.Outcome][]string // outcome → ids of the items
}

// covered counts the items of each level that occurs.
func covered(items []GuideItem) []coverage {
	var list []coverage
	for _, level := range []control.GuideLevel{control.GuideBaseline, control.GuideExtended} {
		c := coverage{level, 0, map[control.Outcome][]string{}}
		for _, g := range items {
			if g.Level == level {
				c.Total++
				c.Items[g.Outcome] = append(c.Items[g.Outcome], g.Item)
			}
		}
		if c.Total > 0 {
			list = append(list, c)
		}
	}
	return list
}

// fact says on one line what was seen, with nothing of the host unescaped.
func fact(o *Observation) string {
	switch {
	case o.Error != "":
		return fmt.Sprintf("%s: cannot tell: %s", page.Printable(o.Source), cut(page.Printable(o.Error)))
	case o.Outcome == control.Pending:
		return page.Printable(o.Want)
	}
	return fmt.Sprintf("%s: want %s, got %s", page.Printable(o.Source), page.Printable(o.Want), cut(page.Printable(o.Got)))
}

// sentence says who took on the failure, and until when, as it stood at the time of the run.
func (w *Waiver) sentence(o control.Outcome, at time.Time) string {
	state := "waived until"
	switch {
	case !at.Before(w.Expires):
		state = "the waiver lapsed on"
	case o != control.Waived:
		state = "a waiver that is not used, until"
	}
	return fmt.Sprintf("%s %s%s, by %s: %s", state, day(w.Expires), daysLeft(w.Expires.Sub(at)), page.Printable(w.Owner), page.Printable(w.Reason))
}

// daysLeft is how much time a waiver has, nothing once it has none: whole days, and the last one as such.
func daysLeft(left time.Duration) string {
	switch days := int(left / (24 * time.Hour)); {
	case left <= 0:
		return ""
	case days == 0:
		return " (its last day)"
	case days == 1:
		return " (1 day left)"
	default:
		return fmt.Sprintf(" (%d days left)", days)
	}
}

// day is a moment as people agree on it: in UTC, with the zone.
func day(t time.Time) string { return t.UTC().Format("2006-01-02 15:04 UTC") }

// short is how much of a digest tells it from another one.
func short(digest string) string { return fmt.Sprintf("%.12s", digest) }

// longest is how much of one value a line shows: a console is no place for a list of system calls.
const longest = 300

// cut shortens a value that is longer than a reader wants.
func cut(s string) string {
	runes := []rune(s)
	if len(runes) <= longest {
		return s
	}
	return fmt.Sprintf("%s… (%d characters more in the JSON report)", string(runes[:longest]), len(runes)-longest)
}

func printables(list []string) []string {
	out := make([]string, len(list))
	for i, s := range list {
		out[i] = page.Printable(s)
	}
	return out
}
