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
	// settleTime is how long the autopilot of a new leader may take to hear from the other members.
	settleTime = 20 * time.Second
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

// Retirement says how a node is taken out for good.
type Retirement struct {
	// Wait is how long the cluster may take until it can lose this node; 0: it is refused at once.
	Wait time.Duration
	// RiskQuorum does it whatever becomes of the cluster, and without its lock.
	RiskQuorum bool
	// Done is told what was done as it is done, and Waiting why nothing is, when that changes.
	Done    func(string)
	Waiting func(error)
}

// Retire takes this node out of its cluster for good: it waits until the cluster can lose it and no other node is being taken out, steps
// down, removes the peer and marks the data partition.
func (j *Joiner) Retire(ctx context.Context, how Retirement) error {
	retired, err := j.marks.read(retiredMark)
	if err != nil {
		return failed("look at the file", "cannot tell whether this node was retired: %v", err)
	}
	if retired != nil {
		how.Done(fmt.Sprintf("this node was retired at %s already", stamp(retired.At)))
		return nil
	}
	own, err := look(ctx, j.server)
	switch {
	case err != nil:
		return failed("start the server, or remove the peer from another member: sys/storage/raft/remove-peer, server_id "+j.Identity.NodeID, "the local server does not answer: %s", words(err))
	case own.removed && !j.isListed(ctx, own):
		// The last try was cut short between the removal and the mark.
		return j.markRetired(how.Done, "it had been removed from the cluster")
	case !own.initialized || own.sealed:
		return failed("unseal it, or remove the peer from another member: sys/storage/raft/remove-peer, server_id "+j.Identity.NodeID, "the local server is no unsealed member")
	}
	if err := j.token(ctx); err != nil {
		return failed("docs/join.md says how the agent gets a token", "removing a peer needs a token: %v", err)
	}
	if how.RiskQuorum {
		err = j.retireAnyway(ctx, how)
	} else {
		var seen turn
		err = j.tryUntil(ctx, how.Wait, how.Waiting, func() error { return j.tryRetire(ctx, &seen, how) })
	}
	if err != nil {
		return err
	}
	how.Done("removed the peer " + j.Identity.NodeID)
	return j.markRetired(how.Done, "hostcheck leave --retire")
}

// retireAnyway asks, to say what it costs, and goes on.
func (j *Joiner) retireAnyway(ctx context.Context, how Retirement) error {
	members, refusal, err := j.spare(ctx)
	if err != nil {
		return err
	}
	if refusal != nil {
		how.Done("against this: " + refusal.Reason)
	}
	if _, err := j.stepDownOnce(ctx, members, how.Done); err != nil {
		return err
	}
	return j.removeSelf(ctx)
}

// tryUntil tries until it is this node's turn and the cluster can lose it, or the time is over.
func (j *Joiner) tryUntil(ctx context.Context, wait time.Duration, waiting func(error), try func() error) error {
	end := time.Now().Add(wait)
	var told string
	for {
		err := try()
		if err == nil || time.Now().After(end) {
			return err
		}
		if err.Error() != told && waiting != nil {
			waiting(err)
		}
		told = err.Error()
		if sleep(ctx, 5*j.Limits.Pace) != nil {
			return err // why it was waiting says more than that the time is over
		}
	}
}

// tryRetire tries once.
func (j *Joiner) tryRetire(ctx context.Context, seen *turn, how Retirement) error {
	if own, err := look(ctx, j.server); err == nil && own.removed && !j.isListed(ctx, own) {
		return nil // by the try before, whose answer was lost
	}
	return j.inTurn(ctx, seen, how.Done, j.removeSelf)
}

// inTurn does what the cluster loses a voter by, when it can. It asks, takes the lock, and asks again: between the first answer and the
// lock another node may have gone.
func (j *Joiner) inTurn(ctx context.Context, seen *turn, done func(string), act func(context.Context) error) error {
	if err := j.token(ctx); err != nil {
		return failed("docs/join.md says how the agent gets a token", "removing a peer needs a token: %v", err)
	}
	members, refusal, err := j.spare(ctx)
	if err != nil {
		return err
	}
	if refusal != nil {
		return refusal
	}
	held, err := j.takeTurn(ctx, seen, members)
	if err != nil {
		return err
	}
	give := true
	defer func() {
		if give {
			j.giveTurn(ctx, held)
		}
	}()
	stepped, err := j.stepDownOnce(ctx, members, done)
	if err != nil {
		return err
	}
	for settled := time.Now().Add(settleTime); ; {
		// An election may have taken longer than the lock lives.
		if held, err = j.writeTurn(ctx, held, j.Identity.NodeID); err != nil {
			give = false // it is another one's
			return err
		}
		if _, refusal, err = j.spare(ctx); err != nil {
			return err
		}
		if refusal == nil {
			break
		}
		// A new leader knows for some seconds of nobody but itself that he is healthy.
		if !stepped || time.Now().After(settled) || sleep(ctx, 5*j.Limits.Pace) != nil {
			return refusal
		}
	}
	// From here on it may happen whatever is answered: who removed itself cannot give the lock back, and who cannot tell must not. It
	// ends by itself.
	give = false
	limited, cancel := context.WithDeadline(ctx, held.since.Add(j.Limits.Turn))
	defer cancel()
	return act(limited)
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
// the cluster must survive a failure now: autopilot says so, and so do the members. Autopilot's figure alone may be of before the last removal.
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
	all, allUp := voters+1, up
	if healthy[id] {
		allUp++
	}
	tolerance = max(min(tolerance, allUp-(all/2+1)), 0)
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
