package node

import (
	"cmp"
	"fmt"
	"slices"
	"strings"

	"github.com/hashicorp/hcl/v2"
)

// Mistake is one thing that is wrong in a configuration file, with the way out.
type Mistake struct {
	File    string
	Line    int
	Column  int
	Problem string
	Hint    string
}

func (m Mistake) String() string {
	s := fmt.Sprintf("%s:%d: %s", m.File, m.Line, m.Problem)
	if m.Hint != "" {
		s += "\n  hint: " + m.Hint
	}
	return s
}

// Mistakes are all that is wrong in one file, in the order of its lines.
type Mistakes []Mistake

func (ms Mistakes) Error() string {
	lines := make([]string, len(ms))
	for i, m := range ms {
		lines[i] = m.String()
	}
	return strings.Join(lines, "\n")
}

// orNil gives an error only when there is one: a Mistakes of length zero in an error
// interface would not be nil.
func (ms Mistakes) orNil() error {
	if len(ms) == 0 {
		return nil
	}
	slices.SortStableFunc(ms, func(a, b Mistake) int {
		return cmp.Or(cmp.Compare(a.Line, b.Line), cmp.Compare(a.Column, b.Column))
	})
	return ms
}

func (ms *Mistakes) add(at hcl.Range, hint, format string, args ...any) {
	*ms = append(*ms, Mistake{
		File: at.Filename, Line: at.Start.Line, Column: at.Start.Column,
		Problem: fmt.Sprintf(format, args...), Hint: hint,
	})
}

// addDiagnostics takes over what the HCL library found. Its summary is the problem, its
// detail the hint.
func (ms *Mistakes) addDiagnostics(file string, diags hcl.Diagnostics) {
	for _, d := range diags {
		at := hcl.Range{Filename: file, Start: hcl.Pos{Line: 1, Column: 1}}
		if d.Subject != nil {
			at = *d.Subject
		}
		ms.add(at, strings.Join(strings.Fields(d.Detail), " "), "%s", lowerFirst(d.Summary))
	}
}

func lowerFirst(s string) string {
	if s == "" {
		return s
	}
	return strings.ToLower(s[:1]) + s[1:]
}
