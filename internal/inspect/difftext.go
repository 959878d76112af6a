package inspect

import (
	"fmt"
	"io"
)

// WriteDiffText writes a comparison for a terminal. Of a long list the beginning is shown; JSON has all of it.
func WriteDiffText(w io.Writer, d *Diff, color bool) error {
	t := &text{color: color}
	if d.Identical {
		fmt.Fprintf(t, "%s: the disks of %s and %s have the same bytes\n", t.paint("1;32", "identical"), printable(d.A), printable(d.B))
		_, err := io.WriteString(w, t.String())
		return err
	}
	fmt.Fprintf(t, "%s and %s differ from byte %d of the disk on: %s\n", printable(d.A), printable(d.B), d.First.At, d.First.describe())
	t.heading("regions")
	for _, r := range d.Regions {
		t.line("byte %d: %s", r.At, r.describe())
	}
	t.changes(fmt.Sprintf("packages: %d differ", len(d.Packages)), d.Packages)
	t.touched(fmt.Sprintf("controls: %d own files that differ", len(d.Controls)), d.Controls)
	t.touched(fmt.Sprintf("packages that own files that differ: %d", len(d.Owners)), d.Owners)
	t.changes(fmt.Sprintf("files: %d differ", len(d.Files)), d.Files)
	_, err := io.WriteString(w, t.String())
	return err
}

func (r Region) describe() string {
	s := fmt.Sprintf("%s, byte %d", r.Name, r.Offset)
	if r.File != "" {
		s += ", " + r.File
	}
	if r.Control != "" {
		s += " (control " + r.Control + ")"
	}
	if r.Says != "" {
		s += ": " + r.Says
	}
	return printable(s)
}

const shown = 40

func (t *text) changes(title string, list []Change) {
	if len(list) == 0 {
		return
	}
	t.heading(title)
	for _, c := range list[:min(shown, len(list))] {
		owner := ""
		if c.Package != "" {
			owner += " of " + c.Package
		}
		if c.Control != "" {
			owner += " of control " + c.Control
		}
		values := ""
		if c.A != "" || c.B != "" {
			values = fmt.Sprintf(": %s → %s", orNone(c.A), orNone(c.B))
		}
		t.line("%-8s %s%s%s", c.Kind, c.Name, owner, values)
	}
	t.more(len(list))
}

func (t *text) touched(title string, list []Touched) {
	if len(list) == 0 {
		return
	}
	t.heading(title)
	for _, x := range list[:min(shown, len(list))] {
		t.line("%s: %d, from %s on", x.Name, len(x.Files), x.Files[0])
	}
	t.more(len(list))
}

func (t *text) more(n int) {
	if n > shown {
		t.line("… and %d more", n-shown)
	}
}

func orNone(s string) string {
	if s == "" {
		return "none"
	}
	return s
}
