package cluster

import (
	"cmp"
	"context"
	"errors"
	"strings"

	"github.com/strongroom/strongroom/internal/node"
)

// proposed is what a candidate has to go with.
func (j *Joiner) proposed(own seen) local {
	return local{cmp.Or(own.seal, j.Identity.Seal), own.version, j.Identity.ClusterName}
}

const tornHint = "stop the server, wipe its storage directory, remove the old peer if there is one, and bring the node up with a new id"

// find looks for members and asks them, until one can be joined.
func (j *Joiner) find(ctx context.Context, p *pass) (State, error) {
	own := j.proposed(p.own)
	err := until(ctx, j.Limits.Leader, 5*j.Limits.Pace, 40*j.Limits.Pace, func(ctx context.Context) (bool, error) {
		candidates, lookup := find(ctx, j.Identity, j.Resolver, j.Discover)
		if len(candidates) == 0 {
			if lookup == nil {
				lookup = verdict(nil)
			}
			err := asRefusal(lookup)
			j.say(err)
			return false, err
		}
		if lookup != nil && lookup.Error() != p.lookup { // with the members that were found the node goes on
			p.lookup = lookup.Error()
			j.Log.WarnContext(ctx, "not every way to the members leads to one", "error", lookup)
		}
		if j.at == Find {
			j.enter(Prove, "")
		}
		leader, all := choose(ctx, j.Identity, candidates, own)
		if ctx.Err() != nil {
			return false, nil // the time is over: the answer before this one was a better one
		}
		j.update(func(s *Status) { s.Peers = peers(all) })
		if leader != nil {
			p.leader = leader
			j.update(func(s *Status) { s.Leader = leader.address })
			return true, nil
		}
		refusal := verdict(all)
		if nobodyIsInitialized(all) {
			refusal = failed("initialize the first node (operator init); this one never does", "there is no cluster yet: %s", refusal.Reason)
			j.at = NoneYet
			j.say(refusal)
			j.update(func(s *Status) { s.State = NoneYet })
			return false, refusal
		}
		j.enter(Prove, refusal.Reason)
		j.say(refusal)
		return refusal.Final, refusal
	})
	if err != nil {
		return "", err
	}
	if err := j.askLeader(ctx, p); err != nil {
		return "", err
	}
	return Judge, nil
}

// askLeader asks the leader who it knows, where there is a token. An id or an address that it knows already must not be
// joined with: the server would take the place of a living member without a word.
func (j *Joiner) askLeader(ctx context.Context, p *pass) error {
	if !j.Session.Possible() {
		return nil
	}
	limited, cancel := context.WithTimeout(ctx, changeTime)
	defer cancel()
	client := j.clientOf(p.leader)
	if err := j.Session.Keep(limited, client); err != nil && !j.Session.HasToken() {
		if j.NonVoters {
			return failed("the role must exist before the node joins: docs/join.md", "this node could join as a non-voter and never be promoted: %v", err)
		}
		j.Log.WarnContext(ctx, "joining without the leader's own word on who is a member", "error", err)
		return nil
	}
	members, err := configuration(limited, client, j.Session)
	if err != nil {
		if denied(err) {
			j.Session.Forget()
		}
		if j.NonVoters {
			return failed("give it the policy of docs/node.md", "the agent's token cannot read who is a member: %s", words(err))
		}
		j.Log.WarnContext(ctx, "joining without the leader's own word on who is a member", "error", words(err))
		return nil
	}
	p.nonVoter = j.NonVoters
	return conflict(j.Identity, members)
}

// clientOf asks the leader as this node: a login shows the node's certificate.
func (j *Joiner) clientOf(leader *proof) *client {
	if j.Certificate == nil || !j.Session.LogsIn() {
		return leader.client
	}
	t := leader.trust()
	t.certificate = j.Certificate
	return newClient(leader.address, t)
}

// conflict says why this node would take somebody's place. The same id at the same address is this node itself, cut short
// while it joined.
func conflict(id node.Identity, members []Member) error {
	address := strings.TrimSuffix(id.ClusterAddr, "/")
	if _, host, ok := strings.Cut(address, "://"); ok {
		address = host
	}
	for _, m := range members {
		switch {
		case m.ID == id.NodeID && m.Address != address:
			return refuse("give this node a new id (delete /var/lib/hostcheck/node-id on empty data partitions); when the old node is gone, remove its peer first",
				"the cluster has a member with this node's id (%s) at another address, %s", m.ID, m.Address)
		case m.ID != id.NodeID && m.Address == address:
			return refuse("remove that peer, when its node is gone: sys/storage/raft/remove-peer, server_id "+m.ID,
				"the cluster has another member (%s) at this node's address, %s", m.ID, m.Address)
		}
	}
	return nil
}

func noDiscovery(context.Context, string) ([]string, error) {
	return nil, node.Hinted(errors.New("this joiner asks no cloud"), "use leader or srv in node.hcl")
}
