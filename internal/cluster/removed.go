package cluster

import (
	"context"
	"slices"
)

// removed is the refusal of a node that was removed; nil: its server says so, and may be wrong (see serverapi.BelieveRemoved). The leader
// lists the node, or cannot be asked, and the server has not been started again yet. That passes when the server hears from the active node.
func (j *Joiner) removed(ctx context.Context, p *pass, own seen) error {
	listed, known := j.leaderLists(ctx, own)
	if !listed && (known || !j.mayRestart(own)) {
		return refuse("wipe the node's data partitions and bring it up with a new id: an id that was removed never comes back (docs/join.md)",
			"this node was removed from its cluster")
	}
	p.doubted = true
	j.Log.WarnContext(ctx, "this node's server says that it was removed, and may be wrong: waiting until it serves", "leader_lists_it", listed, "issue", slowReplay)
	return nil
}

// mayRestart reports whether a server that has taken itself for removed could serve when it is started again: it seals itself, and a seal
// unseals it at its start only. Once is enough to know.
func (j *Joiner) mayRestart(own seen) bool {
	return own.marked && own.sealed && own.seal != "shamir" && j.Restart != nil && !j.again
}

// slowReplay is why a server may take itself for removed.
const slowReplay = "hashicorp/vault#32099"

// leaderLists asks the leader whether it lists this node. It is not known when nobody can be asked.
func (j *Joiner) leaderLists(ctx context.Context, own seen) (listed, known bool) {
	if !j.Session.Possible() {
		return false, false
	}
	ctx, cancel := context.WithTimeout(ctx, changeTime)
	defer cancel()
	candidates, _ := find(ctx, j.Identity, j.Resolver, j.Discover)
	leader, _ := choose(ctx, j.Identity, candidates, j.proposed(own))
	if leader == nil {
		return false, false
	}
	client := j.clientOf(leader)
	if err := j.Session.Keep(ctx, client); err != nil && !j.Session.HasToken() {
		return false, false
	}
	members, err := configuration(ctx, client, j.Session)
	return slices.ContainsFunc(members, func(m Member) bool { return m.ID == j.Identity.NodeID }), err == nil
}

func (j *Joiner) isListed(ctx context.Context, own seen) bool {
	listed, _ := j.leaderLists(ctx, own)
	return listed
}
