package agent

import (
	"context"
	"slices"
	"time"

	"golang.org/x/time/rate"

	"github.com/strongroom/strongroom/internal/watch"
)

// What is announced is looked at within 100 ms, of which looking takes some 30.
const (
	// gather is how long the agent waits for what belongs to an announcement: a mount is told by the kernel and by systemd.
	gather = 20 * time.Millisecond
	// Announcements that come without end must not cost more than the readings every ten seconds do.
	looksInReserve = 4
	lookEvery      = 5 * time.Second
)

// announcements are what was heard since the last look.
type announcements struct {
	heard     chan watch.Source
	by        []string       // since the last look, and during it
	missed    []watch.Source // heard during the look, which may have come too early
	allowance *rate.Limiter
}

func newAnnouncements() announcements {
	return announcements{heard: make(chan watch.Source, 16), allowance: rate.NewLimiter(rate.Every(lookEvery), looksInReserve)}
}

// listen has the agent told of changes until the context ends.
func (a *Agent) listen(ctx context.Context) {
	if a.Watch == nil {
		return
	}
	a.tasks.Go(func() {
		a.Watch(ctx, watch.Listener{
			Changed: func(s watch.Source) {
				a.Exporter.Announced(string(s))
				select {
				case a.heard <- s:
				default: // a look is due anyway
				}
			},
			Listening: func(s watch.Source, yes bool) { a.Exporter.SetListening(string(s), yes) },
		})
	})
}

// note takes note of an announcement. The first since the last look says how long the next may wait; the others belong to it.
func (n *announcements) note(s watch.Source) (wait time.Duration, first bool) {
	first = len(n.by) == 0
	if first {
		wait = max(gather, n.allowance.Reserve().Delay())
	}
	n.add(s)
	return wait, first
}

func (n *announcements) add(s watch.Source) {
	if !slices.Contains(n.by, string(s)) {
		n.by = append(n.by, string(s))
		slices.Sort(n.by)
	}
}

// overhear takes what was announced during a look: it may have found the change already, and may have missed it.
func (n *announcements) overhear() {
	for {
		select {
		case s := <-n.heard:
			n.missed = append(n.missed, s)
			n.add(s)
		default:
			return
		}
	}
}

// looked begins anew after a look, and gives what is to be looked at again.
func (n *announcements) looked() (missed []watch.Source) {
	missed = n.missed
	n.by, n.missed = nil, nil
	return missed
}
