package cluster

import (
	"context"
	"time"
)

// withdrawWait is what a new leader needs until its autopilot knows how the voters are: an active node that steps down asks just then.
const withdrawWait = 20 * time.Second

// Withdraw stops this node's server, with stop, when the cluster can lose it: no other node is being taken out, the voters that stay have
// a quorum, and one more of them could fail. An active node steps down before. The node stays a member; the lock ends by itself, and until then, and
// as long as autopilot sees that this voter is gone, no other node may do the same.
//
// A server that is sealed, not initialized or removed serves nobody, and is stopped as it is.
func (j *Joiner) Withdraw(ctx context.Context, done func(string), stop func(context.Context) error) error {
	own, err := look(ctx, j.server)
	switch {
	case err != nil:
		return failed("look at the server's log", "the local server does not answer: %s", words(err))
	case own.sealed || own.removed || !own.initialized:
		return stop(ctx)
	}
	var seen turn
	return j.tryUntil(ctx, withdrawWait, nil, func() error { return j.inTurn(ctx, &seen, done, stop) })
}
