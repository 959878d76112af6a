package host

import (
	"fmt"

	"golang.org/x/sys/unix"
)

// Clock is what adjtimex(2) says of the system clock.
type Clock struct {
	// Synchronised: somebody disciplines the clock. The kernel takes it back by itself when nobody has confirmed
	// the time for hours (STA_UNSYNC, TIME_ERROR).
	Synchronised bool `json:"synchronised"`
	// MaxErrorMicroseconds bounds how wrong the clock may be. It grows by 500 each second until the next update.
	MaxErrorMicroseconds int64 `json:"max_error_us"`
	// EstimatedErrorMicroseconds is what the time daemon believes it to be.
	EstimatedErrorMicroseconds int64 `json:"estimated_error_us"`
}

// Clock implements Host. It asks with no mode set, which changes nothing and needs no capability.
func (*LiveHost) Clock() (Clock, error) {
	var t unix.Timex
	state, err := unix.Adjtimex(&t)
	if err != nil {
		return Clock{}, fmt.Errorf("cannot read the clock's state (adjtimex): %w", err)
	}
	return Clock{
		Synchronised:               state != unix.TIME_ERROR && t.Status&unix.STA_UNSYNC == 0,
		MaxErrorMicroseconds:       t.Maxerror,
		EstimatedErrorMicroseconds: t.Esterror,
	}, nil
}

// Clock answers ErrNotRunning.
func (*RootTree) Clock() (Clock, error) { return Clock{}, ErrNotRunning }

// Clock implements Host.
func (r *Recorder) Clock() (Clock, error) { return recorded(r, "Clock", "", r.host.Clock) }

// Clock implements Host.
func (r *Recording) Clock() (Clock, error) { return replayed[Clock](r, "Clock", "") }
