package fleet

import (
	"cmp"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/strongroom/strongroom/internal/page"
)

// timeline shows what did not hold and when: first control by control, where a wave over the fleet can be seen, then
// node by node.
func (p *fleetPage) timeline() {
	f := p.f
	if len(f.Spans)+len(f.Brief) == 0 {
		p.Section("drift", "Drift", "Nothing has changed since "+moment(f.Since)+".")
		p.Raw("</section>\n")
		return
	}
	p.Section("drift", "Drift", fmt.Sprintf("What did not hold between %s and %s, and when.", moment(f.Since), moment(f.At)))
	p.waves()
	p.lanes()
	if len(f.Brief) > 0 {
		p.Put("<h3 class=\"part\">Over too soon to be drawn</h3>\n<p class=\"lead\">The agents counted these; they were over within %s.</p>\n<ul class=\"brief\">\n", f.Step)
		for _, b := range f.Brief {
			p.Put("<li><span class=\"names\">%s</span> <code>%s</code> %s</li>\n", b.Node, b.Control, page.Plural(b.Times, "time", "times"))
		}
		p.Raw("</ul>\n")
	}
	p.Raw("</section>\n")
}

// ticks are the moments that the axis names.
const ticks = 5

func (p *fleetPage) axis(first, last string) {
	p.Put("<thead><tr><th class=\"who\" scope=\"col\">%s</th><th class=\"span\" scope=\"col\"><span class=\"axis\">", first)
	layout := "15:04"
	if p.f.At.Sub(p.f.Since) > 24*time.Hour {
		layout = "Jan 2 15:04"
	}
	for i := range ticks {
		p.Put("<span>%s</span>", p.f.Since.Add(p.f.At.Sub(p.f.Since)/(ticks-1)*time.Duration(i)).UTC().Format(layout))
	}
	p.Put("</span></th><th class=\"said\" scope=\"col\">%s</th></tr></thead>\n<tbody>\n", last)
}

// place of a moment on a lane, of 1000.
func (p *fleetPage) place(t time.Time) float64 {
	whole := p.f.At.Sub(p.f.Since)
	if whole <= 0 {
		return 0
	}
	return min(1000, max(0, 1000*float64(t.Sub(p.f.Since))/float64(whole)))
}

func number(x float64) string { return strconv.FormatFloat(x, 'f', 1, 64) }

// waves shows for each control on how many nodes it did not hold.
func (p *fleetPage) waves() {
	const slots = 200
	byControl := map[string][]Span{}
	for _, s := range p.f.Spans {
		byControl[s.Control] = append(byControl[s.Control], s)
	}
	type wave struct {
		control string
		high    [slots]int
		peak    int
		nodes   map[string]bool
		lasting int
	}
	var waves []wave
	for id, spans := range byControl {
		w := wave{control: id, nodes: map[string]bool{}}
		for _, s := range spans {
			w.nodes[s.Node] = true
			if !s.To.Before(p.f.At) {
				w.lasting++
			}
			from := min(slots-1, int(p.place(s.From)*slots/1000))
			for i := from; i < max(from+1, int(p.place(s.To)*slots/1000)); i++ {
				w.high[i]++
			}
		}
		w.peak = slices.Max(w.high[:])
		waves = append(waves, w)
	}
	slices.SortFunc(waves, func(a, b wave) int {
		return cmp.Or(cmp.Compare(b.lasting, a.lasting), cmp.Compare(len(b.nodes), len(a.nodes)), cmp.Compare(a.control, b.control))
	})
	p.Raw("<div class=\"scroll\"><table class=\"time waves\">\n")
	p.axis("Control", "Nodes")
	for _, w := range waves {
		tone := Fail
		if w.control == "" {
			tone = Silent
		}
		p.Put("<tr><th scope=\"row\"><code>%s</code></th><td><svg class=\"wave %s\" viewBox=\"0 0 1000 100\" preserveAspectRatio=\"none\" aria-hidden=\"true\" focusable=\"false\">",
			cmp.Or(w.control, "agent not reached"), tone)
		for i := 0; i < slots; {
			j := i
			for j < slots && w.high[j] == w.high[i] {
				j++
			}
			if w.high[i] > 0 {
				high := 100 * float64(w.high[i]) / float64(w.peak)
				p.Put(`<rect x="%s" y="%s" width="%s" height="%s"/>`, number(1000*float64(i)/slots), number(100-high), number(1000*float64(j-i)/slots), number(high))
			}
			i = j
		}
		p.Put("</svg></td><td>%d at most", w.peak)
		if w.lasting > 0 {
			p.Put(", %d now", w.lasting)
		} else {
			p.Raw(", none now")
		}
		p.Raw("</td></tr>\n")
	}
	p.Raw("</tbody></table></div>\n")
}

// manyLanes are folded in behind as many.
const manyLanes = 25

// lanes shows for each node when something did not hold.
func (p *fleetPage) lanes() {
	byNode := map[string][]Span{}
	for _, s := range p.f.Spans {
		byNode[s.Node] = append(byNode[s.Node], s)
	}
	names := slices.SortedFunc(maps.Keys(byNode), func(a, b string) int {
		lasting := func(n string) int {
			if slices.ContainsFunc(byNode[n], func(s Span) bool { return !s.To.Before(p.f.At) }) {
				return 0
			}
			return 1
		}
		return cmp.Or(cmp.Compare(lasting(a), lasting(b)), natural(a, b))
	})
	if len(names) == 0 {
		return
	}
	draw := func(names []string) {
		p.Raw("<div class=\"scroll\"><table class=\"time lanes\">\n")
		p.axis("Node", "What did not hold")
		for _, n := range names {
			p.lane(n, byNode[n])
		}
		p.Raw("</tbody></table></div>\n")
	}
	p.Raw("<h3 class=\"part\">Node by node</h3>\n")
	draw(names[:min(manyLanes, len(names))])
	if len(names) > manyLanes {
		p.Put("<details class=\"more\"><summary>%s</summary>\n", page.Plural(len(names)-manyLanes, "other node", "other nodes"))
		draw(names[manyLanes:])
		p.Raw("</details>\n")
	}
}

// said is how many controls of a lane are named beside it.
const said = 3

func (p *fleetPage) lane(name string, spans []Span) {
	p.Put("<tr><th scope=\"row\">%s</th><td><svg class=\"lane\" viewBox=\"0 0 1000 10\" preserveAspectRatio=\"none\" aria-hidden=\"true\" focusable=\"false\">", name)
	for _, s := range spans {
		tone := s.Outcome.String()
		if s.Control == "" {
			tone = Silent
		}
		x := p.place(s.From)
		p.Put(`<rect class="%s" x="%s" y="0" width="%s" height="10"><title>%s</title></rect>`, tone, number(min(x, 996)), number(max(4, p.place(s.To)-x)), p.sentence(s))
	}
	p.Raw("</svg></td><td>")
	what := map[string][]Span{}
	for _, s := range spans {
		what[s.Control] = append(what[s.Control], s)
	}
	var lines []string
	for _, id := range slices.Sorted(maps.Keys(what)) {
		list := what[id]
		line := p.sentence(list[len(list)-1])
		if len(list) > 1 {
			line += fmt.Sprintf(", %d times", len(list))
		}
		lines = append(lines, line)
	}
	for _, l := range lines[:min(said, len(lines))] {
		p.Put("<span class=\"said\">%s</span>", l)
	}
	if len(lines) > said {
		p.Put("<details class=\"more\"><summary>%d more</summary>%s</details>", len(lines)-said, strings.Join(lines[said:], "; "))
	}
	p.Raw("</td></tr>\n")
}

func (p *fleetPage) sentence(s Span) string {
	layout := "15:04"
	if p.f.At.Sub(p.f.Since) > 24*time.Hour {
		layout = "Jan 2 15:04"
	}
	what := cmp.Or(s.Control, "agent not reached")
	begins := "from " + s.From.Format(layout)
	if !s.From.After(p.f.Since) {
		begins = "from before"
	}
	if !s.To.Before(p.f.At) {
		return what + " " + begins + " until now"
	}
	return what + " " + begins + " to " + s.To.Format(layout)
}
