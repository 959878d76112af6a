package cluster

import (
	"context"
	"net/http"
	"slices"
	"strings"
	"time"
)

// listed waits until the cluster knows this node: with a token, until the leader lists it, as a voter; without one, until this
// server hears from an active node.
func (j *Joiner) listed(ctx context.Context, p *pass) (State, error) {
	var next State
	err := until(ctx, j.Limits.Listed, j.Limits.Pace/2, 5*j.Limits.Pace, func(ctx context.Context) (bool, error) {
		own, err := look(ctx, j.server)
		switch {
		case err != nil:
			err = failed("is the server's unit running?", "the local server does not answer any more: %s", words(err))
		case own.removed && !p.doubted:
			err = j.removed(ctx, p, own)
			return err != nil, err
		case !own.initialized || own.sealed:
			next = API
			return true, nil
		case own.leader == "" && !own.active:
			err = failed("do the members reach one another at the Raft port?", "this node knows no active node")
		case !own.healthy || own.removed:
			err = failed("do the members reach one another at the Raft port?", "this node does not hear from the active node")
		default:
			j.update(func(s *Status) { s.Leader = own.leader })
			var voter bool
			if next, voter, err = j.standing(ctx, p); err == nil {
				j.update(func(s *Status) { s.Voter = voter })
				p.own = own
				return true, nil
			}
		}
		j.say(err)
		return false, err
	})
	if err != nil || next != Ready {
		return next, err
	}
	if p.own.marked {
		j.Log.WarnContext(ctx, "this node serves, and its server says that it was removed: /v1/sys/health answers 530 for ever, /healthz does not", "issue", slowReplay)
	}
	return Ready, j.remember(p.own)
}

// standing asks the leader, through the local server, what this node is to it.
func (j *Joiner) standing(ctx context.Context, p *pass) (next State, voter bool, err error) {
	if !j.Session.Possible() {
		return Ready, false, nil
	}
	ctx, cancel := context.WithTimeout(ctx, askTime)
	defer cancel()
	if err := j.Session.Keep(ctx, j.server); err != nil && !j.Session.HasToken() {
		j.Log.WarnContext(ctx, "a member by its own word alone: there is no token to ask the leader with", "error", err)
		return Ready, false, nil
	}
	members, err := configuration(ctx, j.server, j.Session)
	if err != nil {
		if denied(err) {
			j.Session.Forget()
			j.Log.WarnContext(ctx, "a member by its own word alone: the token may not ask who is one", "error", words(err))
			return Ready, false, nil
		}
		return "", false, failed("", "cannot ask who is a member: %s", words(err))
	}
	i := slices.IndexFunc(members, func(m Member) bool { return m.ID == j.Identity.NodeID })
	switch {
	case i < 0:
		// OpenBao does not say of itself that it was removed.
		return "", false, refuse("if it was removed: wipe the node's data partitions and bring it up with a new id", "the leader does not list this node (%s)", j.Identity.NodeID)
	case members[i].Voter:
		return Ready, true, nil
	case j.NonVoters && !p.promoted:
		return Promote, false, nil // also after a crash between join and promotion
	}
	return "", false, failed("autopilot makes it one when it has been stable for server_stabilization_time", "this node is not a voter yet")
}

// promote judges the running host once more and makes it a voter.
func (j *Joiner) promote(ctx context.Context, p *pass) (State, error) {
	if err := j.passesRun(ctx); err != nil {
		return "", err
	}
	limited, cancel := context.WithTimeout(ctx, changeTime)
	defer cancel()
	err := j.server.ask(limited, http.MethodPost, "sys/storage/raft/promote", j.Session.Reveal(), map[string]string{"server_id": j.Identity.NodeID}, nil)
	// "Not a non-voter": it was promoted before this pass, and autopilot has not made it a voter yet.
	if err != nil && !strings.Contains(words(err), "not a non-voter") {
		return "", failed("give the agent's token the policy of docs/node.md", "cannot promote this node: %s", words(err))
	}
	p.promoted = true
	j.Log.InfoContext(ctx, "verified as a non-voter: promoted")
	return Listed, sleep(ctx, j.Limits.Pace)
}

// remember leaves the mark of a member beside the node's id.
func (j *Joiner) remember(own seen) error {
	old, err := j.marks.read(memberMark)
	if err == nil && old != nil && old.NodeID == j.Identity.NodeID {
		return nil
	}
	err = j.marks.write(memberMark, mark{NodeID: j.Identity.NodeID, Cluster: own.clusterID, At: time.Now().UTC().Truncate(time.Second)})
	if err != nil {
		// A member all the same: only that lost data would not be recognised.
		j.Log.Warn("cannot leave the mark of a member", "error", err)
	}
	return nil
}

// watch returns when this node is no healthy member any more.
func (j *Joiner) watch(ctx context.Context) {
	misses := 0
	for {
		j.rest(ctx, watchPace)
		if ctx.Err() != nil {
			return
		}
		own, err := look(ctx, j.server)
		if err == nil && own.initialized && !own.sealed && !own.removed && (own.active || own.leader != "" && own.healthy) {
			misses = 0
			j.update(func(s *Status) { s.Leader = own.leader })
			continue
		}
		// An election takes seconds: what is so twice is so.
		if misses++; misses >= 2 || err == nil && (own.removed || own.sealed) {
			return
		}
	}
}
