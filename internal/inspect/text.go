package inspect

import (
	"encoding/json"
	"fmt"
	"io"
	"strings"
	"unicode"
)

// WriteJSON writes the document.
func WriteJSON(w io.Writer, v any) error {
	e := json.NewEncoder(w)
	e.SetIndent("", "  ")
	e.SetEscapeHTML(false)
	return e.Encode(v)
}

var marks = map[Verdict]struct{ word, color string }{
	Pass: {"pass", "32"}, Fail: {"FAIL", "1;31"}, Unknown: {"UNKNOWN", "1;33"}, Absent: {"absent", "2"},
}

// text is an inspection on its way to a terminal.
type text struct {
	strings.Builder
	color bool
}

func (t *text) paint(color, s string) string {
	if !t.color {
		return s
	}
	return "\x1b[" + color + "m" + s + "\x1b[0m"
}

func (t *text) heading(s string) { fmt.Fprintf(t, "\n%s\n", t.paint("1", s)) }

func (t *text) line(format string, args ...any) {
	for i, a := range args {
		if s, ok := a.(string); ok {
			args[i] = printable(s)
		}
	}
	fmt.Fprintf(t, "  "+format+"\n", args...)
}

// WriteText writes an inspection for a terminal: what was found, then what was verified, and the verdict where the eye ends up.
func WriteText(w io.Writer, i *Inspection, color bool) error {
	t := &text{color: color}
	fmt.Fprintf(t, "%s: %s", printable(i.Image.Path), i.Image.Format)
	if i.Image.Disk > 0 {
		fmt.Fprintf(t, ", a disk of %s in a file of %s", size(i.Image.Disk), size(i.Image.Size))
	}
	t.WriteString("\n")
	t.table(i.Table)
	t.kernels(i.Kernels)
	t.root(i.Root)
	t.hardening(i.Hardening)
	t.heading("verified")
	for _, bad := range []bool{false, true} { // what needs a person comes last, beside the verdict
		for _, c := range i.Checks {
			if (c.Verdict == Fail || c.Verdict == Unknown) == bad {
				t.check(c)
			}
		}
	}
	verdict := marks[i.Verdict]
	count := map[Verdict]int{}
	for _, c := range i.Checks {
		count[c.Verdict]++
	}
	fmt.Fprintf(t, "\n%s: %d pass, %d fail, %d unknown\n", t.paint(verdict.color, "verdict "+strings.ToUpper(string(i.Verdict))), count[Pass], count[Fail], count[Unknown])
	_, err := io.WriteString(w, t.String())
	return err
}

func (t *text) check(c Check) {
	m := marks[c.Verdict]
	where := ""
	if c.Where != "" {
		where = c.Where + ": "
	}
	fmt.Fprintf(t, "  %s %-24s %s%s\n", t.paint(m.color, fmt.Sprintf("%-7s", m.word)), c.ID, printable(where), printable(c.Says))
	if c.Hint != "" {
		fmt.Fprintf(t, "  %-7s %-24s hint: %s\n", "", "", printable(c.Hint))
	}
}

func (t *text) table(table *Table) {
	if table == nil {
		return
	}
	t.heading("partitions of disk " + table.Disk)
	for _, p := range table.Partitions {
		t.line("%2d  %-24s %10s at %-11d %-18s %s  %s", p.Number, p.Label, size(p.Size), p.Start, p.Name, p.UUID, p.Content)
		for _, f := range p.Files {
			t.line("      /%s, %s, sha256 %.16s…", f.Name, size(f.Size), f.SHA256)
		}
	}
}

func (t *text) kernels(kernels []Kernel) {
	for _, k := range kernels {
		t.heading("unified kernel image " + printable(k.Path))
		t.line("Linux %s, %s, %s, sha256 %s", k.Release, k.Stub, size(k.Size), k.SHA256)
		t.line("command line: %s", k.CommandLine)
		for _, s := range k.Signers {
			trusted := ""
			if s.Trusted {
				trusted = ", which was named"
			}
			t.line("signed by %s, certificate sha256 %.16s…%s", s.Subject, s.SHA256, trusted)
		}
		if len(k.Signers) == 0 {
			t.line("not signed")
		}
		var sections []string
		for _, s := range k.Sections {
			sections = append(sections, fmt.Sprintf("%s %s", s.Name, size(s.Size)))
		}
		t.line("sections: %s", strings.Join(sections, ", "))
	}
}

func (t *text) root(r *Root) {
	if r == nil {
		return
	}
	t.heading("root file system")
	t.line("%s %s, %s, %s: %d names, %s unpacked, %s packed", r.ImageID, r.Version, r.System, r.FileSystem, r.Files, size(r.Bytes), size(r.PackedBytes))
	if r.PackagesBy != "" {
		t.line("%d packages, by %s", len(r.Packages), r.PackagesBy)
	} else {
		t.line("no list of packages in it")
	}
	t.line("%d units are wanted at boot", len(r.Enabled))
	for _, l := range r.Listening {
		if l.Network || l.Enabled {
			t.line("listens: %s %s (%s)", l.Unit, l.Address, map[bool]string{true: "enabled", false: "not enabled"}[l.Enabled])
		}
	}
	if len(r.Privileged) == 0 {
		t.line("no file with a set-id bit or a capability")
	}
	for _, p := range r.Privileged {
		t.line("privileged: %s %s %d:%d %s", p.Mode, p.Path, p.UID, p.GID, p.Capability)
	}
	const most = 12
	for _, d := range r.Directories[:min(most, len(r.Directories))] {
		t.line("%10s %6d files  %s", size(d.Bytes), d.Files, d.Path)
	}
}

func (t *text) hardening(h *Hardening) {
	if h == nil {
		return
	}
	t.heading("hardening, as hostcheck judges it at stage image")
	t.line("%s, baseline %s", h.Profile, h.Baseline)
	t.line("%d controls pass, %d are pending, %d fail, %d unknown", h.Controls["pass"], h.Controls["pending"], h.Controls["fail"], h.Controls["unknown"])
	for _, f := range h.Failed {
		t.line("%s %s (%s) %s: want %s, got %s", f.Outcome, f.Control, f.Severity, f.Source, f.Want, f.Got)
	}
}

// size writes a number of bytes for people.
func size(n int64) string {
	switch {
	case n >= 1<<30:
		return fmt.Sprintf("%.1f GiB", float64(n)/(1<<30))
	case n >= 1<<20:
		return fmt.Sprintf("%.1f MiB", float64(n)/(1<<20))
	case n >= 1<<10:
		return fmt.Sprintf("%.1f KiB", float64(n)/(1<<10))
	}
	return fmt.Sprintf("%d B", n)
}

// printable keeps what an image says from steering a terminal.
func printable(s string) string {
	return strings.Map(func(r rune) rune {
		if !unicode.IsPrint(r) {
			return unicode.ReplacementChar
		}
		return r
	}, s)
}
