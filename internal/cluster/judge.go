package cluster

import (
	"context"
)

// gate is about this host alone: has it been taken out of its cluster for good, and does it pass stage boot.
func (j *Joiner) gate(ctx context.Context, _ *pass) (State, error) {
	retired, err := j.marks.read(retiredMark)
	switch {
	case err != nil:
		return "", refuse("look at the file; a node that was retired is replaced and not used again", "cannot tell whether this node was retired: %v", err)
	case retired != nil:
		return "", refuse("bring up a new node with a new id and empty data partitions",
			"this node (%s) was retired at %s: %s", retired.NodeID, stamp(retired.At), retired.Why)
	}
	if err := j.JudgeBoot(ctx); err != nil {
		return "", gateRefuses(err)
	}
	return API, nil
}

func gateRefuses(err error) *Refusal {
	return &Refusal{Kind: ByGate, Reason: err.Error(), hint: "hostcheck verify says which controls fail"}
}

// api waits for the local server.
func (j *Joiner) api(ctx context.Context, p *pass) (State, error) {
	err := until(ctx, j.Limits.API, j.Limits.Pace, 8*j.Limits.Pace, func(ctx context.Context) (bool, error) {
		var err error
		if p.own, err = look(ctx, j.server); err != nil {
			err = failed("is the server's unit running? journalctl has its log", "the local server does not answer at %s: %s", j.Local, words(err))
			j.say(err)
			return false, err
		}
		return true, nil
	})
	return Local, err
}

// local finds out where this node stands: everything else follows from the server's own answer.
func (j *Joiner) local(ctx context.Context, p *pass) (State, error) {
	if p.own.removed {
		if err := j.removed(ctx, p, p.own); err != nil {
			return "", err
		}
	}
	switch {
	case p.own.initialized && p.own.sealed:
		return Unseal, nil
	case p.own.initialized:
		return Listed, nil
	}
	member, err := j.marks.read(memberMark)
	switch {
	case err != nil:
		return "", refuse("look at the file; on a node that never joined it can be deleted", "cannot tell whether this node was a member: %v", err)
	case member != nil && member.NodeID == j.Identity.NodeID:
		return "", refuse("remove the old peer (hostcheck leave --retire, or sys/storage/raft/remove-peer), and bring up a node with a new id and empty data partitions",
			"this node (%s) was a member since %s, and its server has no data: they were wiped or lost", member.NodeID, stamp(member.At))
	}
	return Find, nil
}

// judge is the last look at this host before anything is changed.
func (j *Joiner) judge(ctx context.Context, _ *pass) (State, error) {
	if err := j.passesRun(ctx); err != nil {
		return "", err
	}
	return Join, nil
}

// passesRun judges stage run, until it passes or the time is over: memory is locked and ports are opened a moment after the start.
func (j *Joiner) passesRun(ctx context.Context) error {
	return until(ctx, j.Limits.Listed, 5*j.Limits.Pace, 40*j.Limits.Pace, func(ctx context.Context) (bool, error) {
		if err := j.JudgeRun(ctx); err != nil {
			err := gateRefuses(err)
			j.say(err)
			return false, err
		}
		return true, nil
	})
}
