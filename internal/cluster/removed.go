package cluster

import (
	"context"
	"slices"
)

// removed is the refusal of a node that was removed; nil: its server only says so, and the leader lists it. That passes when the server is
// unsealed again and hears from the active node (see serverapi.BelieveRemoved). Nobody can be asked without a token.
func (j *Joiner) removed(ctx context.Context, p *pass, own seen) error {
	if p.listed {
		return nil
	}
	if j.leaderLists(ctx, own) {
		p.listed = true
		j.Log.WarnContext(ctx, "this node's server takes itself for removed, and the leader lists it: waiting until it serves again", "issue", slowReplay)
		return nil
	}
	j.gone = true
	return wasRemoved()
}

func wasRemoved() error {
	return refuse("wipe the node's data partitions and bring it up with a new id: an id that was removed never comes back (docs/join.md)",
		"this node was removed from its cluster")
}

// slowReplay is why a server may take itself for removed.
const slowReplay = "hashicorp/vault#32099"

// leaderLists is false when nobody can be asked.
func (j *Joiner) leaderLists(ctx context.Context, own seen) bool {
	if !j.Session.Possible() {
		return false
	}
	ctx, cancel := context.WithTimeout(ctx, changeTime)
	defer cancel()
	candidates, _ := find(ctx, j.Identity, j.Resolver, j.Discover)
	leader, _ := choose(ctx, j.Identity, candidates, j.proposed(own))
	if leader == nil {
		return false
	}
	client := j.clientOf(leader)
	if err := j.Session.Keep(ctx, client); err != nil && !j.Session.HasToken() {
		return false
	}
	members, err := configuration(ctx, client, j.Session)
	return err == nil && slices.ContainsFunc(members, func(m Member) bool { return m.ID == j.Identity.NodeID })
}
