package cluster

import (
	"context"
	"fmt"
	"net/http"
	"slices"
	"time"

	"github.com/strongroom/strongroom/internal/node"
)

const (
	// stepDownTime is how long another leader is waited for. The server itself stays out of the election for ten seconds.
	stepDownTime = 20 * time.Second
	// removedTime is how long this server may take to learn that it was removed.
	removedTime = 15 * time.Second
)

// Leave makes this node leave the lead, and says in one sentence what it did. It is no error when nothing is to be done, or nothing
// can be: at a shutdown the server's own end follows, which hands over the lead as well.
func (j *Joiner) Leave(ctx context.Context) (did string, err error) {
	own, err := look(ctx, j.server)
	switch {
	case err != nil:
		return "the local server does not answer: there is nothing to hand over", nil
	case !own.initialized || own.sealed || own.removed:
		return "the local server is no unsealed member: there is nothing to hand over", nil
	case !own.active:
		return "this node is a standby: there is nothing to hand over", nil
	}
	if err := j.token(ctx); err != nil {
		return fmt.Sprintf("this node is active and cannot step down (%v): the server's own shutdown hands over the lead", err), nil
	}
	members, err := configuration(ctx, j.server, j.Session)
	if err == nil && !slices.ContainsFunc(members, func(m Member) bool { return m.Voter && m.ID != j.Identity.NodeID }) {
		return "this node is the only voter: there is nobody to hand over to", nil
	}
	return j.stepDown(ctx)
}

// token sees to it that there is one.
func (j *Joiner) token(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, askTime)
	defer cancel()
	if err := j.Session.Keep(ctx, j.server); err != nil && !j.Session.HasToken() {
		return err
	}
	return nil
}

func (j *Joiner) stepDown(ctx context.Context) (did string, err error) {
	limited, cancel := context.WithTimeout(ctx, changeTime)
	defer cancel()
	if err := j.server.ask(limited, http.MethodPut, "sys/step-down", j.Session.Reveal(), nil, nil); err != nil {
		return "", failed("give the agent's token the policy of docs/node.md", "cannot step down: %s", words(err))
	}
	var next seen
	err = until(ctx, stepDownTime, j.Limits.Pace, j.Limits.Pace, func(ctx context.Context) (bool, error) {
		var err error
		if next, err = look(ctx, j.server); err != nil {
			return false, err
		}
		return !next.active && next.leader != "" && next.leader != j.Identity.APIAddr, nil
	})
	if err != nil {
		return "", failed("look at the other members: is there a quorum without this node?", "stepped down, and there is no other active node after %s", stepDownTime)
	}
	return "stepped down; the active node is " + next.leader, nil
}

// Retire takes this node out of its cluster for good: it steps down, removes the peer and marks the data partition. The
// cluster must be able to lose a voter, unless riskQuorum is set. Done is told what was done as it is done.
func (j *Joiner) Retire(ctx context.Context, riskQuorum bool, done func(string)) error {
	retired, err := j.marks.read(retiredMark)
	if err != nil {
		return failed("look at the file", "cannot tell whether this node was retired: %v", err)
	}
	if retired != nil {
		done(fmt.Sprintf("this node was retired at %s already", stamp(retired.At)))
		return nil
	}
	own, err := look(ctx, j.server)
	switch {
	case err != nil:
		return failed("start the server, or remove the peer from another member: sys/storage/raft/remove-peer, server_id "+j.Identity.NodeID, "the local server does not answer: %s", words(err))
	case own.removed:
		// The last try was cut short between the removal and the mark.
		return j.markRetired(done, "it had been removed from the cluster")
	case !own.initialized || own.sealed:
		return failed("unseal it, or remove the peer from another member: sys/storage/raft/remove-peer, server_id "+j.Identity.NodeID, "the local server is no unsealed member")
	}
	if err := j.token(ctx); err != nil {
		return failed("docs/join.md says how the agent gets a token", "removing a peer needs a token: %v", err)
	}
	var members []Member
	if err := j.patiently(ctx, func(ctx context.Context) (err error) {
		members, err = configuration(ctx, j.server, j.Session)
		return err
	}); err != nil {
		return failed("give the agent's token the policy of docs/node.md", "cannot ask who is a member: %s", words(err))
	}
	var state autopilotAnswer
	if err := j.patiently(ctx, func(ctx context.Context) error {
		return j.server.ask(ctx, http.MethodGet, "sys/storage/raft/autopilot/state", j.Session.Reveal(), nil, &state)
	}); err != nil {
		return failed("give the agent's token the policy of docs/node.md", "cannot ask autopilot how the cluster is: %s", words(err))
	}
	healthy := map[string]bool{}
	for id, s := range state.Data.Servers {
		healthy[id] = s.Healthy
	}
	if r := canLose(j.Identity.NodeID, members, healthy, state.Data.Tolerance); r != nil {
		if !riskQuorum {
			return r
		}
		done("against this: " + r.Reason)
	}
	if own.active && len(members) > 1 {
		did, err := j.stepDown(ctx)
		if err != nil {
			return err
		}
		done(did)
	}
	err = j.patiently(ctx, func(ctx context.Context) error {
		return j.server.ask(ctx, http.MethodPost, "sys/storage/raft/remove-peer", j.Session.Reveal(), map[string]string{"server_id": j.Identity.NodeID}, nil)
	})
	// The answer may be lost, since the server that hands it on is the one that is removed: what counts is what it says then.
	said := err
	err = until(ctx, removedTime, j.Limits.Pace, j.Limits.Pace, func(ctx context.Context) (bool, error) {
		now, err := look(ctx, j.server)
		if err != nil {
			return false, err
		}
		return now.removed || said == nil && (now.sealed || !j.lists(ctx)), nil
	})
	if err != nil {
		if said != nil {
			err = said
		}
		return failed("try again; nothing was marked", "cannot remove this node's peer: %s", words(err))
	}
	done("removed the peer " + j.Identity.NodeID)
	return j.markRetired(done, "hostcheck leave --retire")
}

// patiently asks again while the server cannot hand the request on. After an election a standby needs a moment for that; until
// then it answers with a redirect, which is not followed.
func (j *Joiner) patiently(ctx context.Context, ask func(context.Context) error) error {
	return until(ctx, removedTime, j.Limits.Pace, 5*j.Limits.Pace, func(ctx context.Context) (bool, error) {
		err := ask(ctx)
		return !unready(err), err
	})
}

// lists reports whether the cluster still lists this node, as far as it can be asked.
func (j *Joiner) lists(ctx context.Context) bool {
	members, err := configuration(ctx, j.server, j.Session)
	return err != nil || slices.ContainsFunc(members, func(m Member) bool { return m.ID == j.Identity.NodeID })
}

func (j *Joiner) markRetired(done func(string), why string) error {
	err := j.marks.write(retiredMark, mark{NodeID: j.Identity.NodeID, At: time.Now().UTC().Truncate(time.Second), Why: why})
	if err != nil {
		return node.Hinted(fmt.Errorf("the peer is removed, but the data partition could not be marked: %w", err), "do not use this node's data again")
	}
	done("marked the data partition as retired: this node joins no cluster any more")
	return nil
}

// canLose says why the cluster cannot spare this node: the voters that stay must have a quorum among themselves, and
// autopilot must count a failure that the cluster survives.
func canLose(id string, members []Member, healthy map[string]bool, tolerance int) *Refusal {
	const hint = "bring up another voter first, or insist with --risk-quorum"
	voters, up, own := 0, 0, false
	for _, m := range members {
		switch {
		case m.ID == id:
			own = m.Voter
		case m.Voter:
			voters++
			if healthy[m.ID] {
				up++
			}
		}
	}
	quorum := voters/2 + 1
	switch {
	case !own:
		return nil // a non-voter counts for nothing
	case voters == 0:
		return &Refusal{Kind: ByQuorum, Final: true, Reason: "this node is the only voter: the cluster would be gone", hint: hint}
	case up < quorum:
		return &Refusal{Kind: ByQuorum, Final: true, hint: hint,
			Reason: fmt.Sprintf("the cluster would lose its quorum: of the %d voters that stay %d are healthy, and %d are needed", voters, up, quorum)}
	case tolerance < 1:
		return &Refusal{Kind: ByQuorum, Final: true, hint: hint, Reason: fmt.Sprintf("the cluster can lose no voter now (failure tolerance %d)", tolerance)}
	}
	return nil
}
