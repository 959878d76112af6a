package control

import (
	"errors"
	"fmt"
	"regexp"
	"time"
)

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

// Lapsed gives the test whether a waiver covers nothing any more at a time.
func Lapsed(now time.Time) func(Waiver) bool {
	return func(w Waiver) bool { return !w.Covers(now) }
}

var day = regexp.MustCompile(`^[0-9]{4}-[0-9]{2}-[0-9]{2}$`)

const moment = "2006-01-02T15:04:05Z"

// ParseExpiry reads when a waiver lapses: a moment in UTC, 2027-01-31T12:00:00Z, or a day, 2027-01-31, to whose end
// in UTC it holds. Everything else is refused, other offsets and half dates too: whoever reads a waiver must not have
// to know where it was written, or what a parser makes of it.
func ParseExpiry(s string) (time.Time, error) {
	layout := moment
	if day.MatchString(s) {
		layout = time.DateOnly
	}
	t, err := time.Parse(layout, s)
	if err != nil || t.Format(layout) != s {
		return time.Time{}, fmt.Errorf("%q is neither a moment in UTC (2027-01-31T12:00:00Z) nor a day (2027-01-31, to its end in UTC)", s)
	}
	if layout == time.DateOnly {
		t = t.AddDate(0, 0, 1)
	}
	if t.Year() > 9999 {
		return time.Time{}, errors.New("a waiver ends within the calendar's four digits")
	}
	return t.UTC(), nil
}

// Valid refuses a waiver that lacks what makes it a decision: what for, who answers for it, and until when.
func (w Waiver) Valid() error {
	switch {
	case !ValidID(w.Control):
		return fmt.Errorf("control %q is not the id of a control", w.Control)
	case w.Reason == "":
		return errors.New("no reason: say why the failure is acceptable until then")
	case w.Owner == "":
		return errors.New("no owner: say who answers for it")
	case w.Expires.IsZero():
		return errors.New("no expiry: a waiver that never ends is another catalogue (expires: 2027-01-31)")
	}
	return nil
}
