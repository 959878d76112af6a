package report

import (
	"fmt"
	"io"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/strongroom/strongroom/internal/check"
	"github.com/strongroom/strongroom/internal/control"
	"github.com/strongroom/strongroom/internal/page"
)

// WriteHTML writes a report as one page for people: it holds all it needs, runs no script, and prints with
// everything unfolded.
func WriteHTML(w io.Writer, d *Document) error {
	p := &htmlReport{page.New(w, fmt.Sprintf("%s: %s at stage %s", page.Word(d.Verdict), d.Host.name(), d.Stage), ""), d}
	p.banner()
	p.Raw("<main id=\"main\">\n")
	p.attention()
	p.waived()
	p.guide()
	p.families()
	p.legend()
	p.Raw("</main>\n")
	p.foot()
	return p.Close()
}

// htmlReport is the report on its way to a browser.
type htmlReport struct {
	*page.Page
	d *Document
}

// banner says first what everybody wants to know, and then about which machine.
func (p *htmlReport) banner() {
	d := p.d
	p.Put(`<header>
<p class="eyebrow">Strongroom host report</p>
<h1>%s</h1>
<div class="verdict %s">
<strong><span aria-hidden="true">%s</span> %s at stage %s</strong>
<p>%s</p>
`, d.Host.name(), d.Verdict, page.Symbol(d.Verdict), page.Word(d.Verdict), d.Stage, sentence(d))
	p.Bar(counts(d))
	p.Put("<li>%s in all</li></ul>\n</div>\n<dl class=\"identity\">\n", page.Plural(len(d.Controls), "control", "controls"))
	for _, f := range identity(d) {
		p.Put("<div class=\"%s\"><dt>%s</dt><dd>%s</dd></div>\n", when(f.digest, "digest", "fact"), f.name, f.value)
	}
	p.Raw("</dl>\n</header>\n")
}

func (p *htmlReport) attention() {
	bad := attention(p.d)
	if len(bad) == 0 {
		return
	}
	p.Section("attention", "Needs attention", "A control that must hold keeps Vault down when it does not; one that should hold is reported.")
	for _, c := range bad {
		p.card(c)
	}
	p.Raw("</section>\n")
}

func (p *htmlReport) waived() {
	first := true
	for i := range p.d.Controls {
		if c := &p.d.Controls[i]; c.Outcome == control.Waived {
			if first {
				p.Section("waived", "Waived", "These do not hold, and somebody answers for it until the day named. From then on they fail again.")
				first = false
			}
			p.card(c)
		}
	}
	if !first {
		p.Raw("</section>\n")
	}
}

// guide is the table that an auditor begins with.
func (p *htmlReport) guide() {
	levels := covered(p.d.Guide)
	if len(levels) == 0 {
		return
	}
	known := map[string]control.Outcome{}
	for i := range p.d.Controls {
		known[p.d.Controls[i].ID] = p.d.Controls[i].Outcome
	}
	p.Section("guide", "Coverage of the hardening guide", "Every item of the production hardening guide, and what this run says about it. An item is as good as the worst of its controls.")
	p.Raw(`<div class="scroll"><table class="guide">
<thead><tr><th class="item" scope="col">Item</th><th scope="col">The guide asks</th><th class="by" scope="col">Proven by</th><th class="result" scope="col">Result</th></tr></thead>
`)
	for _, level := range levels {
		p.Put("<tbody>\n<tr class=\"level\"><th colspan=\"4\" scope=\"rowgroup\">%s <span>%d of %d hold</span></th></tr>\n", page.Word(level.Level), len(level.Items[control.Pass]), level.Total)
		for _, g := range p.d.Guide {
			if g.Level != level.Level {
				continue
			}
			p.Put("<tr id=\"guide-%s\"><td>%s</td><td>%s", g.Item, g.Item, g.Title)
			p.small(g.Asks)
			p.Raw("</td>\n<td>")
			for _, id := range g.Controls {
				outcome, here := known[id]
				if !here {
					p.Put("<span class=\"id\">%s</span>", id)
					continue
				}
				p.Put("<a class=\"id\" href=\"#control-%s\">%s", id, id)
				if outcome != control.Pass { // what makes the item what it is
					p.Raw(" ")
					p.Badge(outcome)
				}
				p.Raw("</a>")
			}
			p.small(g.Reason)
			p.Raw("</td>\n<td>")
			p.Badge(g.Outcome)
			p.Raw("</td></tr>\n")
		}
		p.Raw("</tbody>\n")
	}
	p.Raw("</table></div>\n</section>\n")
}

func (p *htmlReport) small(s string) {
	if s != "" {
		p.Put("<small>%s</small>", s)
	}
}

// families lists what needs nobody, one line each, with the facts folded in.
func (p *htmlReport) families() {
	family, open := "", false
	for i := range p.d.Controls {
		c := &p.d.Controls[i]
		if c.needsPerson() || c.Outcome == control.Waived {
			continue
		}
		if !open {
			p.Section("controls", when(p.d.Summary[control.Pass.String()] == len(p.d.Controls), "All controls", "All other controls"),
				"Each opens to the facts that were read, where they were read, and why the control is there.")
		}
		if !open || c.Family != family {
			family = c.Family
			p.Put("<h3 class=\"family\">%s</h3>\n", family)
		}
		open = true
		p.row(c)
	}
	if open {
		p.Raw("</section>\n")
	}
}

// card shows a control that somebody has to look at.
func (p *htmlReport) card(c *Control) {
	p.Put("<article class=\"control %s\" id=\"control-%s\" aria-labelledby=\"title-%s\">\n<div class=\"top\">", c.Outcome, c.ID, c.ID)
	p.Badge(c.Outcome)
	p.Put(" <span class=\"tag %s\">%s</span> <code>%s</code></div>\n<h3 id=\"title-%s\">%s</h3>\n", c.Severity, c.Severity, c.ID, c.ID, c.Title)
	decisive := func(o Observation) bool {
		return o.Outcome == control.Fail || o.Outcome == control.Unknown || o.Outcome == c.Outcome
	}
	p.facts(slices.DeleteFunc(slices.Clone(c.Observations), func(o Observation) bool { return !decisive(o) }))
	if others := slices.DeleteFunc(slices.Clone(c.Observations), decisive); len(others) > 0 {
		p.Put("<details class=\"more\"><summary>%s of this control</summary>\n", page.Plural(len(others), "other fact", "other facts"))
		p.facts(others)
		p.Raw("</details>\n")
	}
	p.notes(c)
	p.Raw("</article>\n")
}

// row shows a control that needs nobody.
func (p *htmlReport) row(c *Control) {
	p.Put("<details class=\"row %s\" id=\"control-%s\">\n<summary>", c.Outcome, c.ID)
	p.Badge(c.Outcome)
	p.Put("<span class=\"name\">%s <code>%s</code></span><span class=\"tag %s\">%s</span></summary>\n<div class=\"body\">\n", c.Title, c.ID, c.Severity, c.Severity)
	p.facts(c.Observations)
	p.notes(c)
	p.Raw("</div>\n</details>\n")
}

func (p *htmlReport) facts(list []Observation) {
	if len(list) == 0 {
		return
	}
	p.Raw(`<div class="scroll"><table class="facts">
<thead><tr><th class="state" scope="col">Result</th><th class="source" scope="col">Read from</th><th scope="col">Wanted</th><th scope="col">Found</th></tr></thead>
<tbody>
`)
	for i := range list {
		o := &list[i]
		p.Raw("<tr><td>")
		p.Badge(o.Outcome)
		p.Put("</td><td><code>%s</code><span class=\"layer\">%s</span></td>", o.Source, when(o.Layer == control.OnDisk, "on disk", "in effect"))
		switch {
		case o.Outcome == control.Pending:
			p.Put("<td colspan=\"2\">%s</td></tr>\n", o.Want)
		case o.Error != "":
			p.Put("<td><code>%s</code></td><td>could not be read: <code>%s</code></td></tr>\n", o.Want, o.Error)
		default:
			p.Put("<td><code>%s</code></td><td><code>%s</code></td></tr>\n", o.Want, o.Got)
		}
	}
	p.Raw("</tbody></table></div>\n")
}

// notes say what a control is for, and the way out.
func (p *htmlReport) notes(c *Control) {
	p.Raw("<dl class=\"notes\">\n")
	note := func(name, value string) {
		if value != "" {
			p.Put("<div><dt>%s</dt><dd>%s</dd></div>\n", name, value)
		}
	}
	if c.Waiver != nil {
		note("Waiver", c.Waiver.sentence(c.Outcome, p.d.Started))
	}
	note("Why", c.Rationale)
	note("How to fix", c.Fix)
	p.Put("<div><dt>Judged</dt><dd>from stage %s on", c.Stage)
	for i, item := range c.Guide {
		p.Raw(when(i == 0, "; hardening guide ", ", "))
		if slices.ContainsFunc(p.d.Guide, func(g GuideItem) bool { return g.Item == item }) {
			p.Put("<a href=\"#guide-%s\">%s</a>", item, item)
		} else {
			p.Put("%s", item)
		}
	}
	if len(c.Refs) > 0 {
		p.Put("; see also %s", strings.Join(c.Refs, ", "))
	}
	p.Raw("</dd></div>\n</dl>\n")
}

// legend explains the words, for a reader who has only the printed page.
func (p *htmlReport) legend() {
	p.Section("words", "How to read the results", "")
	p.Raw("<dl class=\"words\">\n")
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
		p.Raw("<dt>")
		p.Badge(w.outcome)
		p.Put("</dt><dd>%s</dd>\n", w.means)
	}
	p.Raw("</dl>\n</section>\n")
}

func (p *htmlReport) foot() {
	d := p.d
	p.Put(`<footer>%s %s judged in %s ms, beginning <time datetime="%s">%s</time>. This page needs no network and runs no script.</footer>
`, d.Tool.Name, d.Tool.Version, strconv.FormatFloat(d.Seconds*1000, 'f', 0, 64), d.Started.UTC().Format(time.RFC3339), day(d.Started))
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
		s = append(s, page.Plural(failed, "control that must hold does not.", "controls that must hold do not."))
	}
	if unknown > 0 {
		s = append(s, "Nothing could be said about "+page.Plural(unknown, "control", "controls")+" that must hold, and that never counts as a pass.")
	}
	if pending > 0 {
		s = append(s, page.Plural(pending, "control has", "controls have")+" a later stage.")
	}
	return strings.Join(s, " ")
}

// counts gives the outcomes that occur and how often.
func counts(d *Document) []page.Part {
	n := map[control.Outcome]int{}
	for i := range d.Controls {
		n[d.Controls[i].Outcome]++
	}
	var list []page.Part
	for _, o := range outcomes {
		if n[o] > 0 {
			list = append(list, page.Part{Outcome: o, N: n[o]})
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
