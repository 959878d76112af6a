package rollout

import (
	"fmt"
	"slices"
	"strings"

	"github.com/strongroom/strongroom/internal/check"
)

// Member is one server of a cluster: what the cluster says of it, and what its own agent says.
type Member struct {
	ID      string // of Raft
	Host    string // name or address of its Raft port, where its other ports are as well
	Active  bool
	Voter   bool
	Healthy bool // as autopilot sees it

	Image   string // name and version of the image that it runs, "strongroom-vault-vm 1.4.0"
	Version string
	Root    string // root hash of that image, hex
	Verdict check.Verdict
	Failed  []string // ids of the controls that keep it from passing
	Silent  error    // why its agent has told nothing; nil when it has
}

// Passes reports whether its agent says that it does.
func (m Member) Passes() bool { return m.Silent == nil && m.Verdict == check.Pass }

// Cluster is what was seen at one moment.
type Cluster struct {
	Members   []Member
	Tolerance int // how many voters autopilot can lose
}

func (c Cluster) find(id string) (Member, bool) {
	i := slices.IndexFunc(c.Members, func(m Member) bool { return m.ID == id })
	if i < 0 {
		return Member{}, false
	}
	return c.Members[i], true
}

// others are the members that serve under another id.
func (c Cluster) others(id string) []Member {
	return slices.DeleteFunc(slices.Clone(c.Members), func(m Member) bool { return m.ID == id })
}

// problems says what keeps the cluster from being whole: size members, all of which vote, are healthy and pass.
func (c Cluster) problems(size int) []string {
	var out []string
	if len(c.Members) != size {
		out = append(out, fmt.Sprintf("it has %d of %d members", len(c.Members), size))
	}
	for _, m := range c.Members {
		switch {
		case !m.Voter:
			out = append(out, m.ID+" is no voter")
		case !m.Healthy:
			out = append(out, m.ID+" is not healthy")
		case m.Silent != nil:
			out = append(out, fmt.Sprintf("%s: %v", m.ID, m.Silent))
		case !m.Passes():
			out = append(out, m.ID+" does not pass"+because(m.Failed))
		}
	}
	if size > 2 && c.Tolerance < 1 {
		out = append(out, fmt.Sprintf("autopilot's failure tolerance is %d", c.Tolerance))
	}
	return out
}

func because(controls []string) string {
	if len(controls) == 0 {
		return ""
	}
	return ": " + strings.Join(controls, ", ")
}
