package cluster

import (
	"errors"
	"fmt"
	"strings"
)

// Kind says who refuses, and with that the exit code of hostcheck.
type Kind int

// Kinds of refusals.
const (
	ByGate   Kind = iota + 1 // the host does not pass: exit code 3
	ByJoin                   // the join cannot be done: exit code 4
	ByQuorum                 // of leave: the cluster would lose its quorum
	ByTurn                   // of leave: another node is being taken out
)

// Refusal is an end without a member. Final: it is the same until somebody changes something; otherwise trying again
// may help.
type Refusal struct {
	Kind   Kind
	Final  bool
	Reason string
	hint   string
}

func (r *Refusal) Error() string { return r.Reason }

// Hint is the way out.
func (r *Refusal) Hint() string { return r.hint }

// refuse is final.
func refuse(hint, reason string, args ...any) *Refusal {
	return &Refusal{Kind: ByJoin, Final: true, Reason: fmt.Sprintf(reason, args...), hint: hint}
}

// failed is worth another try.
func failed(hint, reason string, args ...any) *Refusal {
	return &Refusal{Kind: ByJoin, Reason: fmt.Sprintf(reason, args...), hint: hint}
}

func asRefusal(err error) *Refusal {
	var r *Refusal
	if errors.As(err, &r) {
		return r
	}
	reason, hint := splitHints(err.Error())
	return failed(hint, "%s", reason)
}

// splitHints takes the lines that [node.Hinted] makes out of an error.
func splitHints(text string) (reason, hint string) {
	var reasons, hints []string
	for line := range strings.SplitSeq(text, "\n") {
		if h, ok := strings.CutPrefix(line, "  hint: "); ok {
			hints = append(hints, h)
		} else {
			reasons = append(reasons, line)
		}
	}
	return strings.Join(reasons, "; "), strings.Join(hints, "; ")
}
