// Package fleet gathers what many nodes say about themselves, from Prometheus or from saved reports, and shows it on one page.
package fleet

import (
	"cmp"
	"slices"
	"strings"
	"time"

	"github.com/strongroom/strongroom/internal/control"
)

// Fleet is what is known about many nodes at one moment, and how they came to be there.
type Fleet struct {
	Source string    // "Prometheus at https://prometheus.example"
	Since  time.Time // the changes begin here, UTC
	At     time.Time // and end here, where the nodes are as they are shown
	Step   time.Duration
	Nodes  []Node
	// Controls are those that the nodes are judged by, each once. Of one that no catalogue here has only the id is known.
	Controls []Control
	Spans    []Span
	Brief    []Brief
}

// Brief is a drift that was over before anybody looked.
type Brief struct {
	Node, Control string
	Times         int
}

// Control is one that nodes are judged by.
type Control struct {
	ID, Title string
	Severity  control.Severity // empty: not known
}

// Verdicts of a node, as it tells them; and that it tells nothing.
const (
	Pass    = "pass"
	Fail    = "fail"
	Unknown = "unknown"
	Silent  = "silent"
)

// Node is one of the fleet.
type Node struct {
	Name         string // of the Raft configuration, or what is known instead
	Cluster      string
	Verdict      string
	Stage        string
	Join         string // state of its join; empty: it does not join
	Image        string
	ImageVersion string
	RootHash     string
	Baseline     string
	Judged       time.Time
	GateClosed   bool
	// Outcomes are those of its controls. One that holds on every node may be missing.
	Outcomes map[string]control.Outcome
}

// away reports whether a control does not hold, and nobody has answered for that.
func away(o control.Outcome) bool { return o == control.Fail || o == control.Unknown }

// bad reports whether somebody has to look at an outcome, or has answered for it.
func bad(o control.Outcome) bool {
	return away(o) || o == control.Waived
}

// Span is a time in which a control of a node did not hold, or in which a node said nothing (then Control is empty).
type Span struct {
	Node, Control string
	Outcome       control.Outcome
	From, To      time.Time // To is Fleet.At when it lasts
}

// rank orders verdicts by how soon somebody has to look.
func rank(verdict string) int {
	return slices.Index([]string{Fail, Unknown, Silent, Pass}, verdict)
}

// Filter keeps the nodes of one cluster, and what is known of them.
func (f *Fleet) Filter(cluster string) {
	stays := map[string]bool{}
	f.Nodes = slices.DeleteFunc(f.Nodes, func(n Node) bool {
		stays[n.Name] = n.Cluster == cluster
		return !stays[n.Name]
	})
	f.Spans = slices.DeleteFunc(f.Spans, func(s Span) bool { return !stays[s.Node] })
	f.Brief = slices.DeleteFunc(f.Brief, func(b Brief) bool { return !stays[b.Node] })
}

// sort puts failures first, then names; the result depends on nothing but what is known.
func (f *Fleet) sort() {
	weight := func(n *Node) (failed int) {
		for _, o := range n.Outcomes {
			if away(o) {
				failed++
			}
		}
		return failed
	}
	slices.SortFunc(f.Nodes, func(a, b Node) int {
		return cmp.Or(cmp.Compare(rank(a.Verdict), rank(b.Verdict)), cmp.Compare(weight(&b), weight(&a)), cmp.Compare(a.Cluster, b.Cluster), natural(a.Name, b.Name))
	})
	slices.SortFunc(f.Controls, func(a, b Control) int { return cmp.Compare(a.ID, b.ID) })
	slices.SortFunc(f.Spans, func(a, b Span) int {
		return cmp.Or(a.From.Compare(b.From), cmp.Compare(a.Node, b.Node), cmp.Compare(a.Control, b.Control))
	})
	slices.SortFunc(f.Brief, func(a, b Brief) int { return cmp.Or(natural(a.Node, b.Node), cmp.Compare(a.Control, b.Control)) })
}

// natural compares names with the numbers in them as numbers: node-9 before node-10.
func natural(a, b string) int {
	for a != "" && b != "" {
		x, restA := chunk(a)
		y, restB := chunk(b)
		if digit(x[0]) && digit(y[0]) {
			long, other := strings.TrimLeft(x, "0"), strings.TrimLeft(y, "0")
			if c := cmp.Or(cmp.Compare(len(long), len(other)), cmp.Compare(long, other)); c != 0 {
				return c
			}
		} else if c := cmp.Compare(x, y); c != 0 {
			return c
		}
		a, b = restA, restB
	}
	return cmp.Compare(len(a), len(b))
}

// chunk takes off the digits, or what is none, that a name begins with.
func chunk(s string) (head, rest string) {
	i := 1
	for i < len(s) && digit(s[i]) == digit(s[0]) {
		i++
	}
	return s[:i], s[i:]
}

func digit(c byte) bool { return c >= '0' && c <= '9' }

// describe fills in what a catalogue knows about the controls.
func (f *Fleet) describe(known map[string]Control) {
	for i, c := range f.Controls {
		if k, ok := known[c.ID]; ok && c.Title == "" {
			f.Controls[i] = k
		}
	}
}
