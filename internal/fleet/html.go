package fleet

import (
	"cmp"
	_ "embed"
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/strongroom/strongroom/internal/control"
	"github.com/strongroom/strongroom/internal/page"
)

//go:embed fleet.css
var style string

// WriteHTML writes a fleet as one page for people: it holds all it needs, runs no script, and prints. What needs
// somebody comes first; nodes that say the same share a line, so that five hundred of them can be read.
func WriteHTML(w io.Writer, f *Fleet) error {
	p := &fleetPage{page.New(w, "Fleet: "+f.title(), style), f}
	p.banner()
	p.Raw("<main id=\"main\">\n")
	p.attention()
	p.matrix()
	p.timeline()
	p.images()
	p.inventory()
	p.legend()
	p.Raw("</main>\n")
	p.Put("<footer>Gathered from %s. This page needs no network and runs no script.</footer>\n", f.Source)
	return p.Close()
}

type fleetPage struct {
	*page.Page
	f *Fleet
}

func (f *Fleet) clusters() []string {
	seen := map[string]bool{}
	for i := range f.Nodes {
		seen[f.Nodes[i].Cluster] = true
	}
	return slices.SortedFunc(maps.Keys(seen), natural)
}

func (f *Fleet) title() string {
	clusters := f.clusters()
	if len(clusters) == 1 && clusters[0] != "" {
		return page.Plural(len(f.Nodes), "node of ", "nodes of ") + clusters[0]
	}
	if len(clusters) > 1 {
		return page.Plural(len(f.Nodes), "node", "nodes") + " in " + page.Plural(len(clusters), "cluster", "clusters")
	}
	return page.Plural(len(f.Nodes), "node", "nodes")
}

func (p *fleetPage) banner() {
	f := p.f
	count := map[string]int{}
	for i := range f.Nodes {
		count[f.Nodes[i].Verdict]++
	}
	var parts []page.Part
	worst, failing := Pass, 0
	for _, v := range []string{Pass, Silent, Unknown, Fail} {
		if count[v] > 0 {
			parts = append(parts, page.Part{Outcome: v, N: count[v]})
			worst = v
			if v != Pass {
				failing += count[v]
			}
		}
	}
	says := "Every node passes"
	if failing > 0 {
		says = fmt.Sprintf("%d of %d nodes need somebody", failing, len(f.Nodes))
		if failing == 1 {
			says = fmt.Sprintf("1 of %d nodes needs somebody", len(f.Nodes))
		}
	}
	p.Put("<header>\n<p class=\"eyebrow\">Strongroom fleet</p>\n<h1>%s</h1>\n<div class=\"verdict %s\">\n<strong><span aria-hidden=\"true\">%s</span> %s</strong>\n<p>%s</p>\n",
		f.title(), worst, page.Symbol(worst), says, sentence(count))
	p.Bar(parts)
	p.Put("<li>%s in all</li></ul>\n</div>\n<dl class=\"identity\">\n", page.Plural(len(f.Nodes), "node", "nodes"))
	fact := func(name, value string) {
		p.Put("<div class=\"fact\"><dt>%s</dt><dd>%s</dd></div>\n", name, value)
	}
	fact("As of", moment(f.At))
	fact("Changes since", moment(f.Since))
	images, baselines := map[string]bool{}, map[string]bool{}
	for i := range f.Nodes {
		images[f.Nodes[i].RootHash+f.Nodes[i].ImageVersion], baselines[f.Nodes[i].Baseline] = true, true
	}
	fact("Images", page.Plural(len(images), "image", "different images"))
	fact("Baselines", page.Plural(len(baselines), "baseline", "different baselines"))
	fact("Controls", page.Plural(len(f.Controls), "control", "controls"))
	p.Raw("</dl>\n</header>\n")
}

// sentence says what the verdicts mean.
func sentence(count map[string]int) string {
	var s []string
	if n := count[Fail]; n > 0 {
		s = append(s, page.Plural(n, "node has a control that must hold and does not.", "nodes have a control that must hold and does not."))
	}
	if n := count[Unknown]; n > 0 {
		s = append(s, page.Plural(n, "node could not tell, which never counts as a pass.", "nodes could not tell, which never counts as a pass."))
	}
	if n := count[Silent]; n > 0 {
		s = append(s, page.Plural(n, "agent is not reached: nothing is known of its node.", "agents are not reached: nothing is known of their nodes."))
	}
	if len(s) == 0 {
		return "Every control that must hold, and that can be judged yet, holds on every node."
	}
	return strings.Join(s, " ")
}

// sore is a control with the nodes on which it does not hold.
type sore struct {
	Control
	outcome control.Outcome // the worst
	nodes   map[control.Outcome][]*Node
}

func (s *sore) count() (n int) {
	for _, list := range s.nodes {
		n += len(list)
	}
	return n
}

// sores are the controls that do not hold somewhere, the gravest and most frequent first.
func (f *Fleet) sores() []sore {
	var list []sore
	for _, c := range f.Controls {
		s := sore{Control: c, nodes: map[control.Outcome][]*Node{}}
		for i := range f.Nodes {
			if o, ok := f.Nodes[i].Outcomes[c.ID]; ok && bad(o) {
				s.nodes[o] = append(s.nodes[o], &f.Nodes[i])
			}
		}
		for _, o := range []control.Outcome{control.Waived, control.Unknown, control.Fail} {
			if len(s.nodes[o]) > 0 {
				s.outcome = o
			}
		}
		if s.count() > 0 {
			list = append(list, s)
		}
	}
	order := []control.Outcome{control.Fail, control.Unknown, control.Waived}
	slices.SortStableFunc(list, func(a, b sore) int {
		// One that only should hold, or of which it is not known, comes after all that must.
		soft := func(s *sore) bool { return s.Severity != control.Must }
		waived := func(s *sore) bool { return s.outcome == control.Waived }
		return cmp.Or(first(waived(&b), waived(&a)), first(soft(&b), soft(&a)),
			cmp.Compare(slices.Index(order, a.outcome), slices.Index(order, b.outcome)), cmp.Compare(b.count(), a.count()))
	})
	return list
}

// first orders what is true before what is not.
func first(a, b bool) int {
	switch {
	case a == b:
		return 0
	case a:
		return -1
	}
	return 1
}

// attention is what somebody has to look at.
func (p *fleetPage) attention() {
	list := p.f.sores()
	var silent, closed []*Node
	for i := range p.f.Nodes {
		switch n := &p.f.Nodes[i]; {
		case n.Verdict == Silent:
			silent = append(silent, n)
		case n.GateClosed:
			closed = append(closed, n)
		}
	}
	if len(list)+len(silent)+len(closed) == 0 {
		return
	}
	p.Section("attention", "What does not hold", "And on which nodes. A control that must hold closes the gate when it does not; one that should hold is reported.")
	p.Raw("<div class=\"scroll\"><table class=\"sores\">\n<thead><tr><th class=\"state\" scope=\"col\">Result</th><th class=\"what\" scope=\"col\">What</th><th scope=\"col\">Nodes</th></tr></thead>\n<tbody>\n")
	row := func(outcome any, title string, nodes []*Node) {
		if len(nodes) > 0 {
			p.Raw("<tr><td>")
			p.Badge(outcome)
			p.Put("</td><th scope=\"row\">%s</th><td>", title)
			p.names(nodes)
			p.Raw("</td></tr>\n")
		}
	}
	row(Fail, "The gate is closed: the server is kept down", closed)
	row(Silent, "The agent is not reached", silent)
	for _, s := range list {
		for _, o := range []control.Outcome{control.Fail, control.Unknown, control.Waived} {
			if len(s.nodes[o]) == 0 {
				continue
			}
			p.Raw("<tr><td>")
			p.Badge(o)
			p.Put("</td><th scope=\"row\">%s", cmp.Or(s.Title, s.ID))
			p.Put(" <span class=\"sub\"><code>%s</code>", s.ID)
			if s.Severity != "" {
				p.Put(" <span class=\"tag %s\">%s</span>", s.Severity, s.Severity)
			}
			p.Raw("</span></th><td>")
			p.names(s.nodes[o])
			p.Raw("</td></tr>\n")
		}
	}
	p.Raw("</tbody></table></div>\n</section>\n")
}

// fewNames are told at once; more are folded in.
const fewNames = 4

// names lists nodes: how many, and which.
func (p *fleetPage) names(nodes []*Node) {
	nodes = slices.Clone(nodes)
	slices.SortFunc(nodes, func(a, b *Node) int { return cmp.Or(natural(a.Cluster, b.Cluster), natural(a.Name, b.Name)) })
	name := func(n *Node) string {
		if n.Cluster == "" || len(p.f.clusters()) == 1 {
			return n.Name
		}
		return n.Cluster + "/" + n.Name
	}
	list := func(nodes []*Node) string {
		words := make([]string, len(nodes))
		for i, n := range nodes {
			words[i] = name(n)
		}
		return strings.Join(words, ", ")
	}
	if len(nodes) <= fewNames {
		p.Put("<span class=\"names\">%s</span>", list(nodes))
		return
	}
	p.Put("<details class=\"more\"><summary>%d nodes: <span class=\"names\">%s, …</span></summary><p class=\"names\">%s</p></details>",
		len(nodes), list(nodes[:2]), list(nodes))
}

// columns of one table of the matrix: as many as a page in landscape has room for.
const columns = 24

// matrix is nodes × controls: nodes of which the same is to be said share a line, and controls that hold on every node are
// counted below.
func (p *fleetPage) matrix() {
	all := p.f.sores()
	if len(all) == 0 {
		return
	}
	p.Section("matrix", "Nodes × controls", fmt.Sprintf("What does not hold somewhere; nodes that are alike share a line. The other %d of %d controls hold, or are not due yet, on every node that tells.",
		len(p.f.Controls)-len(all), len(p.f.Controls)))
	for block := range slices.Chunk(all, columns) {
		p.block(block)
	}
	p.Raw("</section>\n")
}

func (p *fleetPage) block(list []sore) {
	type group struct {
		nodes []*Node
		cells string
	}
	byKey := map[string]*group{}
	var groups []*group
	for i := range p.f.Nodes {
		n := &p.f.Nodes[i]
		key := n.Verdict
		for _, s := range list {
			if o, known := n.Outcomes[s.ID]; known {
				key += " " + o.String()
			} else {
				key += " none"
			}
		}
		g := byKey[key]
		if g == nil {
			g = &group{cells: key}
			byKey[key] = g
			groups = append(groups, g)
		}
		g.nodes = append(g.nodes, n)
	}
	p.Raw("<div class=\"scroll\"><table class=\"matrix\">\n<thead><tr><th scope=\"col\">Nodes</th><th scope=\"col\">Verdict</th>")
	for _, s := range list {
		p.Put("<th scope=\"col\" class=\"slant\"><span title=\"%s\">%s</span></th>", s.Title, s.ID)
	}
	p.Raw("</tr></thead>\n<tbody>\n")
	for _, g := range groups {
		p.Raw("<tr><th scope=\"row\">")
		p.names(g.nodes)
		p.Raw("</th><td>")
		p.Badge(g.nodes[0].Verdict)
		p.Raw("</td>")
		for _, s := range list {
			o, known := g.nodes[0].Outcomes[s.ID]
			switch {
			case !known:
				p.Raw("<td class=\"cell\"><span class=\"unseen\">not known</span></td>")
			case o == control.Pass:
				p.Raw("<td class=\"cell holds\"><span aria-hidden=\"true\">·</span><span class=\"unseen\">pass</span></td>")
			default:
				p.Put("<td class=\"cell %s\"><span aria-hidden=\"true\">%s</span><span class=\"unseen\">%s</span></td>", o, page.Symbol(o), o)
			}
		}
		p.Raw("</tr>\n")
	}
	p.Raw("</tbody></table></div>\n")
}

// images are what the nodes of each cluster run, and by which baselines they are judged.
func (p *fleetPage) images() {
	p.Section("images", "Images and baselines", "The nodes of one cluster should run one image and be judged by one baseline, but for the time of a rollout.")
	p.Raw("<div class=\"scroll\"><table class=\"images\">\n<thead><tr><th scope=\"col\">Cluster</th><th scope=\"col\">Image</th><th scope=\"col\">Root hash</th><th scope=\"col\">Baseline</th><th scope=\"col\">Nodes</th></tr></thead>\n")
	type kind struct{ image, version, root, baseline string }
	for _, cluster := range p.f.clusters() {
		kinds := map[kind][]*Node{}
		for i := range p.f.Nodes {
			if n := &p.f.Nodes[i]; n.Cluster == cluster {
				k := kind{n.Image, n.ImageVersion, n.RootHash, n.Baseline}
				kinds[k] = append(kinds[k], n)
			}
		}
		order := slices.SortedFunc(maps.Keys(kinds), func(a, b kind) int {
			return cmp.Or(natural(b.version, a.version), cmp.Compare(a.root, b.root), cmp.Compare(a.baseline, b.baseline), cmp.Compare(a.image, b.image))
		})
		p.Raw("<tbody>\n")
		for i, k := range order {
			p.Raw("<tr>")
			if i == 0 {
				p.Put("<th scope=\"rowgroup\" rowspan=\"%d\">%s", len(order), cmp.Or(cluster, "not known"))
				if len(order) > 1 {
					p.Put("<span class=\"badge waived\"><span aria-hidden=\"true\">◇</span> %s</span>", page.Plural(len(order), "kind", "kinds"))
				}
				p.Raw("</th>")
			}
			p.Put("<td>%s</td>", cmp.Or(strings.TrimSpace(k.image+" "+k.version), "not known"))
			p.digest(k.root)
			p.digest(k.baseline)
			p.Raw("<td>")
			p.names(kinds[k])
			p.Raw("</td></tr>\n")
		}
		p.Raw("</tbody>\n")
	}
	p.Raw("</table></div>\n</section>\n")
}

// digest shows what tells digests apart; the whole of it is there to be copied from the page's source.
func (p *fleetPage) digest(s string) {
	p.Put("<td><code title=\"%s\">%s</code></td>", s, cmp.Or(short(s), "–"))
}

func short(s string) string { return s[:min(12, len(s))] }

// inventory lists every node.
func (p *fleetPage) inventory() {
	p.Section("nodes", "All nodes", "")
	for _, cluster := range p.f.clusters() {
		var nodes []*Node
		failing := 0
		for i := range p.f.Nodes {
			if n := &p.f.Nodes[i]; n.Cluster == cluster {
				nodes = append(nodes, n)
				if n.Verdict != Pass {
					failing++
				}
			}
		}
		p.Put("<details class=\"row cluster\"><summary><span class=\"name\">%s</span><span>%s, ", cmp.Or(cluster, "Cluster not known"), page.Plural(len(nodes), "node", "nodes"))
		if failing > 0 {
			p.Put("%d not passing</span></summary>\n", failing)
		} else {
			p.Raw("all pass</span></summary>\n")
		}
		p.Raw("<div class=\"scroll\"><table class=\"nodes\">\n<thead><tr><th scope=\"col\">Node</th><th scope=\"col\">Verdict</th><th scope=\"col\">Stage</th><th scope=\"col\">Join</th><th scope=\"col\">Image</th><th scope=\"col\">Baseline</th><th scope=\"col\">Judged</th></tr></thead>\n<tbody>\n")
		for _, n := range nodes {
			p.Put("<tr><th scope=\"row\">%s</th><td>", n.Name)
			p.Badge(n.Verdict)
			p.Put("</td><td>%s</td><td>%s</td><td>%s</td>", cmp.Or(n.Stage, "–"), cmp.Or(n.Join, "–"), cmp.Or(n.ImageVersion, "–"))
			p.digest(n.Baseline)
			p.Put("<td class=\"time\">%s</td></tr>\n", when(n.Judged))
		}
		p.Raw("</tbody></table></div>\n</details>\n")
	}
	p.Raw("</section>\n")
}

func (p *fleetPage) legend() {
	p.Section("words", "How to read this page", "")
	p.Raw("<dl class=\"words\">\n")
	for _, w := range []struct{ outcome, means string }{
		{Pass, "Looked at, and as the baseline wants it."},
		{Fail, "Looked at, and wrong."},
		{Unknown, "Could not be read. It never counts as a pass."},
		{Silent, "The node's agent is not reached. Its image and baseline are the last ones known."},
		{control.Waived.String(), "Wrong, and accepted by somebody until a date."},
		{control.Pending.String(), "Its stage has not come yet."},
		{control.NotApplicable.String(), "No host of this profile can have the fact."},
	} {
		p.Raw("<dt>")
		p.Badge(w.outcome)
		p.Put("</dt><dd>%s</dd>\n", w.means)
	}
	p.Raw("</dl>\n</section>\n")
}

// moment writes a time for people; the zone is always said.
func moment(t time.Time) string { return t.UTC().Format("2006-01-02 15:04 UTC") }

func when(t time.Time) string {
	if t.IsZero() {
		return "–"
	}
	return moment(t)
}
