package telemetry

import "time"

// A control whose outcome changes again and again would fill the journal, and what else is in it would be gone sooner.
const (
	flapWindow  = 10 * time.Minute // in which changes are counted, and for which it must keep still again
	flapChanges = 6                // that are told in a window
)

// flaps remembers which controls change too often. hostcheck_drift_total counts on.
type flaps map[string]*flap

type flap struct {
	since   time.Time // of the window
	changes int
	last    time.Time
	muted   bool
}

// news says what to do about a change.
type news int

const (
	tell  news = iota + 1 // as it is
	mute                  // for the last time, and that the next are not told
	quiet                 // nothing
)

func (f flaps) changed(id string, now time.Time) news {
	c := f[id]
	if c == nil || !c.muted && now.Sub(c.since) > flapWindow {
		c = &flap{since: now}
		f[id] = c
	}
	c.last = now
	c.changes++
	switch {
	case c.muted:
		return quiet
	case c.changes > flapChanges:
		c.muted = true
		return mute
	}
	return tell
}

// settled says whether a control that was muted has kept still, once.
func (f flaps) settled(id string, now time.Time) bool {
	c := f[id]
	if c == nil || now.Sub(c.last) <= flapWindow {
		return false
	}
	delete(f, id)
	return c.muted
}
