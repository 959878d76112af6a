package report

import (
	"bufio"
	"crypto/sha256"
	_ "embed"
	"encoding/base64"
	"fmt"
	"html"
	"io"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/strongroom/strongroom/internal/check"
	"github.com/strongroom/strongroom/internal/control"
)

//go:embed report.css
var style string

// WriteHTML writes a report as one page for people: it holds all it needs, runs no script, and prints with
// everything unfolded.
func WriteHTML(w io.Writer, d *Document) error {
	p := &page{d: d, out: bufio.NewWriter(w)}
	p.head()
	p.banner()
	p.raw("<main id=\"main\">\n")
	p.attention()
	p.waived()
	p.guide()
	p.families()
	p.legend()
	p.raw("</main>\n")
	p.foot()
	return p.out.Flush() // an earlier error stays
}

// page is the report on its way to a browser.
//
// It is not written with html/template: a program that can execute a template keeps every exported
// method of every type it holds, and the node's agent would be a fifth larger in memory for that.
// What takes its place is one rule: all text goes through put, and put escapes every argument.
type page struct {
	d   *Document
	out *bufio.Writer
}

// raw writes a part of the page that is the same in every report.
func (p *page) raw(part string) { p.out.WriteString(part) }

// put writes a constant part of the page with its holes filled. A hole is %s or %d and stands in text or in
// a quoted attribute; what fills it is escaped for both, and for the eye: no control characters, and
// nothing that turns the direction of the text.
func (p *page) put(format string, args ...any) {
	for i, a := range args {
		if _, number := a.(int); !number {
			args[i] = html.EscapeString(printable(fmt.Sprint(a)))
		}
	}
	fmt.Fprintf(p.out, format, args...)
}

func (p *page) head() {
	sum := sha256.Sum256([]byte(style))
	p.put(`<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta http-equiv="Content-Security-Policy" content="default-src 'none'; style-src 'sha256-%s'; base-uri 'none'; form-action 'none'">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="referrer" content="no-referrer">
<title>%s: %s at stage %s</title>
<style>`, base64.StdEncoding.EncodeToString(sum[:]), word(p.d.Verdict), p.d.Host.name(), p.d.Stage)
	p.raw(style)
	p.raw("</style>\n</head>\n<body>\n<a class=\"skip\" href=\"#main\">To the results</a>\n")
}

// banner says first what everybody wants to know, and then about which machine.
func (p *page) banner() {
	d := p.d
	p.put(`<header>
<p class="eyebrow">Strongroom host report</p>
<h1>%s</h1>
<div class="verdict %s">
<strong><span aria-hidden="true">%s</span> %s at stage %s</strong>
<p>%s</p>
`, d.Host.name(), d.Verdict, symbol(d.Verdict), word(d.Verdict), d.Stage, sentence(d))
	list := counts(d)
	p.raw(`<svg class="bar" aria-hidden="true" focusable="false">`)
	for _, c := range list {
		p.put(`<rect class="%s" x="%s%%" width="%s%%" height="100%%"/>`, c.outcome, c.from, c.share)
	}
	p.raw("</svg>\n<ul class=\"counts\">")
	for _, c := range list {
		p.raw("<li>")
		p.badge(c.outcome)
		p.put(" %d</li>", c.n)
	}
	p.put("<li>%s in all</li></ul>\n</div>\n<dl class=\"identity\">\n", plural(len(d.Controls), "control", "controls"))
	for _, f := range identity(d) {
		p.put("<div class=\"%s\"><dt>%s</dt><dd>%s</dd></div>\n", when(f.digest, "digest", "fact"), f.name, f.value)
	}
	p.raw("</dl>\n</header>\n")
}

func (p *page) section(id, title, lead string) {
	p.put("<section aria-labelledby=\"%s\"><h2 id=\"%s\">%s</h2>\n", id, id, title)
	if lead != "" {
		p.put("<p class=\"lead\">%s</p>\n", lead)
	}
}

func (p *page) attention() {
	bad := attention(p.d)
	if len(bad) == 0 {
		return
	}
	p.section("attention", "Needs attention", "A control that must hold keeps Vault down when it does not; one that should hold is reported.")
	for _, c := range bad {
		p.card(c)
	}
	p.raw("</section>\n")
}

func (p *page) waived() {
	first := true
	for i := range p.d.Controls {
		if c := &p.d.Controls[i]; c.Outcome == control.Waived {
			if first {
				p.section("waived", "Waived", "These do not hold, and somebody answers for it until the day named. From then on they fail again.")
				first = false
			}
			p.card(c)
		}
	}
	if !first {
		p.raw("</section>\n")
	}
}

// guide is the table that an auditor begins with.
func (p *page) guide() {
	levels := covered(p.d.Guide)
	if len(levels) == 0 {
		return
	}
	known := map[string]control.Outcome{}
	for i := range p.d.Controls {
		known[p.d.Controls[i].ID] = p.d.Controls[i].Outcome
	}
	p.section("guide", "Coverage of the hardening guide", "Every item of the production hardening guide, and what this run says about it. An item is as good as the worst of its controls.")
	p.raw(`<div class="scroll"><table class="guide">
<thead><tr><th class="item" scope="col">Item</th><th scope="col">The guide asks</th><th class="by" scope="col">Proven by</th><th class="result" scope="col">Result</th></tr></thead>
`)
	for _, level := range levels {
		p.put("<tbody>\n<tr class=\"level\"><th colspan=\"4\" scope=\"rowgroup\">%s <span>%d of %d hold</span></th></tr>\n", word(level.Level), len(level.Items[control.Pass]), level.Total)
		for _, g := range p.d.Guide {
			if g.Level != level.Level {
				continue
			}
			p.put("<tr id=\"guide-%s\"><td>%s</td><td>%s", g.Item, g.Item, g.Title)
			p.small(g.Asks)
			p.raw("</td>\n<td>")
			for _, id := range g.Controls {
				outcome, here := known[id]
				if !here {
					p.put("<span class=\"id\">%s</span>", id)
					continue
				}
				p.put("<a class=\"id\" href=\"#control-%s\">%s", id, id)
				if outcome != control.Pass { // what makes the item what it is
					p.raw(" ")
					p.badge(outcome)
				}
				p.raw("</a>")
			}
			p.small(g.Reason)
			p.raw("</td>\n<td>")
			p.badge(g.Outcome)
			p.raw("</td></tr>\n")
		}
		p.raw("</tbody>\n")
	}
	p.raw("</table></div>\n</section>\n")
}

func (p *page) small(s string) {
	if s != "" {
		p.put("<small>%s</small>", s)
	}
}

// families lists what needs nobody, one line each, with the facts folded in.
func (p *page) families() {
	family, open := "", false
	for i := range p.d.Controls {
		c := &p.d.Controls[i]
		if c.needsPerson() || c.Outcome == control.Waived {
			continue
		}
		if !open {
			p.section("controls", when(p.d.Summary[control.Pass.String()] == len(p.d.Controls), "All controls", "All other controls"),
				"Each opens to the facts that were read, where they were read, and why the control is there.")
		}
		if !open || c.Family != family {
			family = c.Family
			p.put("<h3 class=\"family\">%s</h3>\n", family)
		}
		open = true
		p.row(c)
	}
	if open {
		p.raw("</section>\n")
	}
}

// card shows a control that somebody has to look at.
func (p *page) card(c *Control) {
	p.put("<article class=\"control %s\" id=\"control-%s\" aria-labelledby=\"title-%s\">\n<div class=\"top\">", c.Outcome, c.ID, c.ID)
	p.badge(c.Outcome)
	p.put(" <span class=\"tag %s\">%s</span> <code>%s</code></div>\n<h3 id=\"title-%s\">%s</h3>\n", c.Severity, c.Severity, c.ID, c.ID, c.Title)
	decisive := func(o Observation) bool {
		return o.Outcome == control.Fail || o.Outcome == control.Unknown || o.Outcome == c.Outcome
	}
	p.facts(slices.DeleteFunc(slices.Clone(c.Observations), func(o Observation) bool { return !decisive(o) }))
	if others := slices.DeleteFunc(slices.Clone(c.Observations), decisive); len(others) > 0 {
		p.put("<details class=\"more\"><summary>%s of this control</summary>\n", plural(len(others), "other fact", "other facts"))
		p.facts(others)
		p.raw("</details>\n")
	}
	p.notes(c)
	p.raw("</article>\n")
}

// row shows a control that needs nobody.
func (p *page) row(c *Control) {
	p.put("<details class=\"row %s\" id=\"control-%s\">\n<summary>", c.Outcome, c.ID)
	p.badge(c.Outcome)
	p.put("<span class=\"name\">%s <code>%s</code></span><span class=\"tag %s\">%s</span></summary>\n<div class=\"body\">\n", c.Title, c.ID, c.Severity, c.Severity)
	p.facts(c.Observations)
	p.notes(c)
	p.raw("</div>\n</details>\n")
}

func (p *page) facts(list []Observation) {
	if len(list) == 0 {
		return
	}
	p.raw(`<div class="scroll"><table class="facts">
<thead><tr><th class="state" scope="col">Result</th><th class="source" scope="col">Read from</th><th scope="col">Wanted</th><th scope="col">Found</th></tr></thead>
<tbody>
`)
	for i := range list {
		o := &list[i]
		p.raw("<tr><td>")
		p.badge(o.Outcome)
		p.put("</td><td><code>%s</code><span class=\"layer\">%s</span></td>", o.Source, when(o.Layer == control.OnDisk, "on disk", "in effect"))
		switch {
		case o.Outcome == control.Pending:
			p.put("<td colspan=\"2\">%s</td></tr>\n", o.Want)
		case o.Error != "":
			p.put("<td><code>%s</code></td><td>could not be read: <code>%s</code></td></tr>\n", o.Want, o.Error)
		default:
			p.put("<td><code>%s</code></td><td><code>%s</code></td></tr>\n", o.Want, o.Got)
		}
	}
	p.raw("</tbody></table></div>\n")
}

// notes say what a control is for, and the way out.
func (p *page) notes(c *Control) {
	p.raw("<dl class=\"notes\">\n")
	note := func(name, value string) {
		if value != "" {
			p.put("<div><dt>%s</dt><dd>%s</dd></div>\n", name, value)
		}
	}
	if c.Waiver != nil {
		note("Waiver", c.Waiver.sentence(c.Outcome, p.d.Started))
	}
	note("Why", c.Rationale)
	note("How to fix", c.Fix)
	p.put("<div><dt>Judged</dt><dd>from stage %s on", c.Stage)
	for i, item := range c.Guide {
		p.raw(when(i == 0, "; hardening guide ", ", "))
		if slices.ContainsFunc(p.d.Guide, func(g GuideItem) bool { return g.Item == item }) {
			p.put("<a href=\"#guide-%s\">%s</a>", item, item)
		} else {
			p.put("%s", item)
		}
	}
	if len(c.Refs) > 0 {
		p.put("; see also %s", strings.Join(c.Refs, ", "))
	}
	p.raw("</dd></div>\n</dl>\n")
}

// legend explains the words, for a reader who has only the printed page.
func (p *page) legend() {
	p.section("words", "How to read the results", "")
	p.raw("<dl class=\"words\">\n")
	for _, w := range []struct {
		outcome control.Outcome
		means   string
	}{
		{control.Pass, "Looked at, and as the baseline wants it."},
		{control.Fail, "Looked at, and wrong."},
		{control.Unknown, "Could not be read. It never counts as a pass."},
		{control.Pending, "Its stage has not come yet. The stages are image, boot, run and member."},
		{control.Waived, "Wrong, and accepted by somebody until a date."},
		{control.NotApplicable, "No host of this profile can have the fact, or no host can prove it; the reason stands beside it."},
	} {
		p.raw("<dt>")
		p.badge(w.outcome)
		p.put("</dt><dd>%s</dd>\n", w.means)
	}
	p.raw("</dl>\n</section>\n")
}

func (p *page) foot() {
	d := p.d
	p.put(`<footer>%s %s judged in %s ms, beginning <time datetime="%s">%s</time>. This page needs no network and runs no script.</footer>
</body>
</html>
`, d.Tool.Name, d.Tool.Version, strconv.FormatFloat(d.Seconds*1000, 'f', 0, 64), d.Started.UTC().Format(time.RFC3339), day(d.Started))
}

func (p *page) badge(o control.Outcome) {
	p.put("<span class=\"badge %s\"><span aria-hidden=\"true\">%s</span> %s</span>", o, symbol(o), word(o))
}

func when(b bool, yes, no string) string {
	if b {
		return yes
	}
	return no
}

// sentence says what the verdict means.
func sentence(d *Document) string {
	failed, unknown, pending := 0, 0, d.Summary[control.Pending.String()]
	for i := range d.Controls {
		if c := &d.Controls[i]; c.Severity == control.Must {
			switch c.Outcome {
			case control.Fail:
				failed++
			case control.Unknown:
				unknown++
			}
		}
	}
	var s []string
	switch d.Verdict {
	case check.Pass:
		s = append(s, "Every control that must hold, and that can be judged at this stage, holds.")
	case check.Fail:
		s = append(s, plural(failed, "control that must hold does not.", "controls that must hold do not."))
	}
	if unknown > 0 {
		s = append(s, "Nothing could be said about "+plural(unknown, "control", "controls")+" that must hold, and that never counts as a pass.")
	}
	if pending > 0 {
		s = append(s, plural(pending, "control has", "controls have")+" a later stage.")
	}
	return strings.Join(s, " ")
}

// share of an outcome in the bar.
type share struct {
	outcome     control.Outcome
	n           int
	from, share string // percent
}

// counts gives the outcomes that occur and their part of the bar.
func counts(d *Document) []share {
	n := map[control.Outcome]int{}
	for i := range d.Controls {
		n[d.Controls[i].Outcome]++
	}
	percent := func(k int) string { return strconv.FormatFloat(100*float64(k)/float64(len(d.Controls)), 'f', 2, 64) }
	var list []share
	at := 0
	for _, o := range outcomes {
		if n[o] > 0 {
			list = append(list, share{o, n[o], percent(at), percent(n[o])})
			at += n[o]
		}
	}
	return list
}

// line of the page's table of what was judged.
type line struct {
	name, value string
	digest      bool // long and technical, on a line of its own
}

// identity gives what was judged, in the words of the page.
func identity(d *Document) []line {
	names := map[string]line{
		"node-id": {name: "Node"}, "machine-id": {name: "Machine"}, "image-id": {name: "Image"}, "image-version": {name: "Image version"},
		"join": {name: "Join"}, "join-reason": {name: "Join: reason"}, "join-hint": {name: "Join: what to do"},
		"kernel": {name: "Kernel"}, "platform": {name: "Tier"}, "virtualization": {name: "Virtualization"}, "profile": {name: "Profile"}, "guide": {name: "Hardening guide"},
		"root-hash": {name: "Root hash (dm-verity)", digest: true}, "baseline": {name: "Baseline (SHA-256)", digest: true},
	}
	list := []line{{name: "Judged", value: day(d.Started)}}
	var parameters []string
	for _, p := range d.facts() {
		if l, known := names[p.name]; known {
			l.value = p.value
			list = append(list, l)
		} else if name, found := strings.CutPrefix(p.name, "parameter."); found {
			parameters = append(parameters, name+" = "+p.value)
		}
	}
	if len(parameters) > 0 {
		list = append(list, line{"Parameters", strings.Join(parameters, "; "), true})
	}
	slices.SortStableFunc(list, func(a, b line) int { return at(a.digest) - at(b.digest) })
	return list
}

func at(last bool) int {
	if last {
		return 1
	}
	return 0
}

// word names an outcome or a verdict for people.
func word(outcome any) string {
	s := fmt.Sprint(outcome)
	if s == "not-applicable" {
		return "Not applicable"
	}
	return strings.ToUpper(s[:min(1, len(s))]) + s[min(1, len(s)):]
}

// symbol is a shape for an outcome, for who cannot tell the colours apart.
func symbol(outcome any) string {
	switch fmt.Sprint(outcome) {
	case "pass":
		return "✓"
	case "fail":
		return "✕"
	case "pending":
		return "…"
	case "waived":
		return "◇"
	case "not-applicable":
		return "–"
	}
	return "?"
}

func plural(n int, one, many string) string {
	if n == 1 {
		return "1 " + one
	}
	return strconv.Itoa(n) + " " + many
}
