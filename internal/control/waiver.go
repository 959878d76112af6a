package control

import "time"

// Waiver is a decision to run with a control that fails. It lapses by itself: from Expires on, the failure
// is a failure again.
type Waiver struct {
	Control string    `json:"control"` // id
	Reason  string    `json:"reason"`
	Owner   string    `json:"owner"`   // who answers for it
	Expires time.Time `json:"expires"` // UTC
}

// Covers reports whether the waiver still holds at a time.
func (w Waiver) Covers(t time.Time) bool { return t.Before(w.Expires) }
