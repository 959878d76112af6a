package rollout

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/strongroom/strongroom/internal/check"
)

// Asked is what a rollout asks and orders; [Source] is the one of real clusters.
type Asked interface {
	Look(context.Context) (Cluster, error)
	Node(ctx context.Context, host string) Member
	StepDown(context.Context, Member) error
	RemovePeer(context.Context, Member) error
}

// Rollout replaces every node that runs another image than the target's.
type Rollout struct {
	Cluster Asked
	Target  Target
	Size    int // how many members the cluster is to have; 0: as many as it has at the start
	// Replace destroys the machine of a member that was taken out of the cluster, and has another one started from the target. It may return
	// before that one is up.
	Replace  func(context.Context, Member) error
	Patience time.Duration // for each wait: until the cluster is whole again, and until the new node is a member that passes
	Settle   time.Duration // how long a new node may fail before that counts: its server is starting
	Pace     time.Duration // between two looks
	Say      func(string)  // told each step
}

// Run replaces one node after the other, and stops at the first that does not pass. It keeps nothing: what was done is what the
// cluster shows, and another Run goes on from there.
func (r *Rollout) Run(ctx context.Context) error {
	for first := true; ; first = false {
		c, err := r.whole(ctx, first)
		if err != nil {
			return err
		}
		order := c.Order(r.Target)
		if len(order) == 0 {
			r.Say(fmt.Sprintf("all %d nodes run %s and pass", len(c.Members), r.Target.Version))
			return nil
		}
		if err := r.replace(ctx, c, order[0]); err != nil {
			return err
		}
	}
}

// whole waits until every node of the new image is a voter that is healthy and passes, and the cluster can lose the next one to go. A cluster that
// is not whole when the rollout begins is not waited for longer than for one that is.
func (r *Rollout) whole(ctx context.Context, first bool) (Cluster, error) {
	var seen Cluster
	err := r.until(ctx, r.Patience, func(c Cluster) (string, error) {
		seen = c
		if r.Size == 0 {
			r.Size = len(c.Members)
		}
		if err := r.judgeNew(c); err != nil {
			return "", err
		}
		order := c.Order(r.Target)
		if len(order) == 0 {
			return strings.Join(c.problems(r.Size), "; "), nil
		}
		if r.Size == 1 {
			return "", fmt.Errorf("%s is the only member: with it the cluster would be gone", order[0].ID)
		}
		if len(c.Members) != r.Size {
			return fmt.Sprintf("the cluster has %d of %d members", len(c.Members), r.Size), nil
		}
		for _, m := range c.Members {
			if m.Healthy && m.Silent != nil {
				return fmt.Sprintf("%s: %v", m.ID, m.Silent), nil
			}
		}
		if err := c.canLose(order[0]); err != nil {
			return err.Error(), nil
		}
		return "", nil
	})
	if err != nil && first {
		err = fmt.Errorf("nothing was changed: %w", err)
	}
	return seen, err
}

// judgeNew ends the rollout when a node of the new image is a member and does not pass: more of them would not be better.
func (r *Rollout) judgeNew(c Cluster) error {
	for _, m := range c.Members {
		if m.Root == r.Target.Root && m.Silent == nil && m.Verdict == check.Fail {
			return &failing{m}
		}
	}
	return nil
}

// failing is a node of the new image that does not pass.
type failing struct{ Member }

func (f *failing) Error() string {
	return fmt.Sprintf("%s runs the new image and does not pass%s", f.ID, because(f.Failed))
}

// replace takes one node out and waits for the one that comes in its place.
func (r *Rollout) replace(ctx context.Context, before Cluster, old Member) error {
	if old.Active && len(before.Members) > 1 {
		r.Say(old.ID + " is active and steps down")
		if err := r.Cluster.StepDown(ctx, old); err != nil {
			return fmt.Errorf("%s cannot step down: %w", old.ID, err)
		}
		return r.until(ctx, r.Patience, func(c Cluster) (string, error) {
			if m, ok := c.find(old.ID); ok && m.Active {
				return old.ID + " is still the active node", nil
			}
			return "", nil
		}) // and is looked at anew: it is a standby now
	}
	r.Say(fmt.Sprintf("%s (%s) leaves the cluster", old.ID, describe(old)))
	removeErr := r.Cluster.RemovePeer(ctx, old)
	if err := r.until(ctx, r.Patience, func(c Cluster) (string, error) {
		if _, listed := c.find(old.ID); listed {
			return old.ID + " is still listed", nil
		}
		return "", nil
	}); err != nil {
		return fmt.Errorf("cannot take %s out of the cluster: %w", old.ID, errors.Join(removeErr, err))
	}
	r.Say(old.ID + " is replaced")
	if err := r.Replace(ctx, old); err != nil {
		return fmt.Errorf("%s has left the cluster, and its replacement failed: %w", old.ID, err)
	}
	var came Member
	err := r.await(ctx, before, old, &came)
	if err != nil {
		return fmt.Errorf("in place of %s: %w", old.ID, err)
	}
	r.Say(fmt.Sprintf("%s (%s) is a member and passes", came.ID, describe(came)))
	return nil
}

// await waits for a member that was not there before, runs the target, votes, is healthy and passes. A node that fails its own verification does
// not join; where it has the address of the one that it replaces, it says so there.
func (r *Rollout) await(ctx context.Context, before Cluster, old Member, came *Member) error {
	var failingSince time.Time
	return r.until(ctx, r.Patience, func(c Cluster) (string, error) {
		m, joined := newcomer(before, c)
		if !joined {
			if m = r.Cluster.Node(ctx, old.Host); m.Root != r.Target.Root {
				return "no new node has joined", nil
			}
			m.ID = "the node at " + old.Host
		}
		*came = m
		switch {
		case m.Silent != nil:
			return fmt.Sprintf("%s: %v", m.ID, m.Silent), nil
		case m.Root != r.Target.Root:
			return "", fmt.Errorf("%s has joined with another image: %s, root hash %s, and not %s: what starts machines still has the old one", m.ID, describe(m), m.Root, r.Target.Root)
		case !m.Passes():
			if failingSince.IsZero() {
				failingSince = time.Now()
			}
			if time.Since(failingSince) >= r.Settle {
				return "", &failing{m}
			}
			return m.ID + " does not pass yet" + because(m.Failed), nil
		case !joined:
			return m.ID + " passes and has not joined yet", nil
		case !m.Voter || !m.Healthy:
			return m.ID + " has joined and is not a healthy voter yet", nil
		}
		return "", nil
	})
}

// newcomer is the member that was not there before.
func newcomer(before, now Cluster) (Member, bool) {
	for _, m := range now.Members {
		if _, known := before.find(m.ID); !known {
			return m, true
		}
	}
	return Member{}, false
}

// until looks until there is nothing left to wait for. What it waited for last is in the error.
func (r *Rollout) until(ctx context.Context, patience time.Duration, look func(Cluster) (waitsFor string, err error)) error {
	ctx, cancel := context.WithTimeoutCause(ctx, patience, fmt.Errorf("no longer waited for, after %s", patience))
	defer cancel()
	last, said := "", ""
	for {
		c, err := r.Cluster.Look(ctx)
		if err != nil {
			if ctx.Err() == nil { // a question that the end cut short says less than the answer before it
				last = err.Error()
			}
		} else {
			waits, err := look(c)
			if err != nil {
				return err
			}
			if waits == "" {
				return nil
			}
			last = waits
		}
		if last != said && last != "" {
			r.Say("waiting: " + last)
			said = last
		}
		select {
		case <-ctx.Done():
			if last == "" {
				return context.Cause(ctx)
			}
			return fmt.Errorf("%s (%w)", last, context.Cause(ctx))
		case <-time.After(r.Pace):
		}
	}
}

func describe(m Member) string {
	if strings.TrimSpace(m.Image) == "" {
		return "an unknown image"
	}
	return m.Image
}
