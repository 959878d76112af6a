package report

import (
	"fmt"
	"io"
	"strconv"
	"strings"

	"github.com/strongroom/strongroom/internal/check"
	"github.com/strongroom/strongroom/internal/control"
)

// TextOptions of WriteText.
type TextOptions struct {
	Color   bool
	Verbose bool // also the observations of controls that pass
	Brief   bool // only what needs a person: the console of a node
}

var marks = map[control.Outcome]struct{ word, color string }{
	control.Pass:          {"pass", "32"},
	control.Fail:          {"FAIL", "1;31"},
	control.Unknown:       {"UNKNOWN", "1;33"},
	control.Pending:       {"pending", "36"},
	control.Waived:        {"waived", "35"},
	control.NotApplicable: {"n/a", "2"},
}

// WriteText writes a report for a terminal or a console.
func WriteText(w io.Writer, d *Document, o TextOptions) error {
	var b strings.Builder
	paint := func(color, s string) string {
		if !o.Color {
			return s
		}
		return "\x1b[" + color + "m" + s + "\x1b[0m"
	}
	family := ""
	for _, c := range d.Controls {
		bad := c.Outcome == control.Fail || c.Outcome == control.Unknown
		if o.Brief && !bad {
			continue
		}
		if c.Family != family && !o.Brief {
			family = c.Family
			fmt.Fprintf(&b, "%s\n", paint("1", family))
		}
		m := marks[c.Outcome]
		note := ""
		if bad && c.Severity == control.Should {
			note = " (should: it does not close the gate)"
		}
		fmt.Fprintf(&b, "  %s  %-30s %s%s\n", paint(m.color, fmt.Sprintf("%-7s", m.word)), c.ID, c.Title, note)
		for _, obs := range c.Observations {
			badObs := obs.Outcome == control.Fail || obs.Outcome == control.Unknown
			if !badObs && !o.Verbose {
				continue
			}
			switch {
			case obs.Error != "":
				fmt.Fprintf(&b, "           %s: cannot tell: %s\n", printable(obs.Source), printable(obs.Error))
			case obs.Outcome == control.Pending:
				fmt.Fprintf(&b, "           %s\n", printable(obs.Want))
			default:
				fmt.Fprintf(&b, "           %s: want %s, got %s\n", printable(obs.Source), printable(obs.Want), cut(printable(obs.Got)))
			}
		}
		if bad && c.Fix != "" {
			fmt.Fprintf(&b, "           hint: %s\n", c.Fix)
		}
	}
	color := map[check.Verdict]string{check.Pass: "1;32", check.Fail: "1;31", check.Unknown: "1;33"}[d.Verdict]
	var counts []string
	for _, out := range []control.Outcome{control.Pass, control.Fail, control.Unknown, control.Pending, control.Waived, control.NotApplicable} {
		if n := d.Summary[out.String()]; n > 0 {
			counts = append(counts, fmt.Sprintf("%d %s", n, out))
		}
	}
	fmt.Fprintf(&b, "%s at stage %s: %s (baseline %.12s, %.0f ms)\n",
		paint(color, "verdict "+strings.ToUpper(string(d.Verdict))), d.Stage, strings.Join(counts, ", "), d.Baseline, d.Seconds*1000)
	_, err := io.WriteString(w, b.String())
	return err
}

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

// printable escapes what is not text on one line. The bytes come from the host that is judged, and must
// neither forge a line of the report nor speak to the terminal that shows it.
func printable(s string) string {
	if !strings.ContainsFunc(s, func(r rune) bool { return !strconv.IsPrint(r) }) {
		return s
	}
	quoted := strconv.Quote(s)
	return quoted[1 : len(quoted)-1]
}
