package cluster

import (
	"context"
	"math/rand/v2"
	"time"
)

// jittered spreads waits, so that the nodes of a cluster that start together do not ask together.
func jittered(d time.Duration) time.Duration {
	return d*3/4 + rand.N(d/2+1)
}

// sleep waits, or says why not.
func sleep(ctx context.Context, d time.Duration) error {
	t := time.NewTimer(jittered(d))
	defer t.Stop()
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-t.C:
		return nil
	}
}

// until asks again and again, less often with time but not less often than slowest, until the answer is yes, the question fails for good or the time
// is over. Then it gives what the last answer was: nil only after a yes.
func until(ctx context.Context, limit, pace, slowest time.Duration, ask func(context.Context) (yes bool, err error)) error {
	limited, cancel := context.WithTimeout(ctx, limit)
	defer cancel()
	var last error
	for ; ; pace = min(pace*5/4, slowest) {
		yes, err := ask(limited)
		if yes {
			return err
		}
		if last != nil && over(limited) {
			err = last // a question that was cut short says nothing
		}
		last = err
		if sleep(limited, pace) != nil {
			if ctx.Err() != nil {
				return ctx.Err()
			}
			if err == nil {
				err = context.DeadlineExceeded
			}
			return err
		}
	}
}

// over reports whether the time of a context has run out. A dialer sees the deadline itself, and may be earlier than the context's timer.
func over(ctx context.Context) bool {
	deadline, bounded := ctx.Deadline()
	return ctx.Err() != nil || bounded && !time.Now().Before(deadline)
}
