package cluster

import (
	"context"
	"slices"
)

// removed is the refusal of a node whose server says that it was removed. A server of Vault 1.21 says so too, and for ever, when
// it was slow to replay the log that it joined with: while it reads the configurations from before its time, it misses
// itself in them (hashicorp/vault#32099). The cluster then still counts with it, which is another thing to mend; the
// leader is asked, where there is a token.
func (j *Joiner) removed(ctx context.Context, own seen) error {
	if j.leaderLists(ctx, own) {
		return refuse("remove its peer (sys/storage/raft/remove-peer, server_id "+j.Identity.NodeID+"), wipe the node's data partitions and bring it up with a new id: "+
			"this server never serves again, and counts as a dead voter (hashicorp/vault#32099)",
			"this node's server takes itself for removed, and the leader lists it: it was too slow to replay the log that it joined with")
	}
	return refuse("wipe the node's data partitions and bring it up with a new id: an id that was removed never comes back (docs/join.md)",
		"this node was removed from its cluster")
}

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
