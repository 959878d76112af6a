package host

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"path/filepath"
	"time"

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

// ClockSocket answers with the clock's state to whoever may not ask the kernel.
const ClockSocket = "/run/hostcheck/clock"

// Clock implements Host. The agent's sandbox has no adjtimex, since its filter cannot tell reading the clock's state from
// setting the clock; hostcheck-clock.service, which may do nothing else, asks for it.
func (l *LiveHost) Clock() (Clock, error) {
	c, err := ReadClock()
	if !errors.Is(err, unix.EPERM) {
		return c, err
	}
	const patience = 5 * time.Second // the service may have to be started
	conn, err := net.DialTimeout("unix", filepath.Join(l.dir, ClockSocket), patience)
	if err != nil {
		return Clock{}, fmt.Errorf("cannot ask for the clock's state: %w", err)
	}
	defer conn.Close()
	if err := conn.SetDeadline(time.Now().Add(patience)); err != nil {
		return Clock{}, fmt.Errorf("cannot ask for the clock's state: %w", err)
	}
	return decodeClock(conn)
}

// decodeClock reads the answer of hostcheck-clock.service.
func decodeClock(r io.Reader) (Clock, error) {
	var answer struct {
		Clock
		Error string `json:"error"`
	}
	decoder := json.NewDecoder(io.LimitReader(r, 4096))
	decoder.DisallowUnknownFields()
	if err := decoder.Decode(&answer); err != nil {
		return Clock{}, fmt.Errorf("cannot read the clock's state: %w", err)
	}
	if answer.Error != "" {
		return Clock{}, fmt.Errorf("cannot read the clock's state: %s", answer.Error)
	}
	return answer.Clock, nil
}

// ReadClock asks the kernel with no mode set, which changes nothing and needs no capability.
func ReadClock() (Clock, error) {
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

// ServeClock answers everyone who connects with the clock's state until the context ends.
func ServeClock(ctx context.Context, l net.Listener) error {
	stop := context.AfterFunc(ctx, func() { l.Close() })
	defer stop()
	for {
		conn, err := l.Accept()
		if ctx.Err() != nil {
			return nil // asked to stop
		}
		if err != nil {
			return fmt.Errorf("cannot serve the clock's state: %w", err)
		}
		var answer any
		if answer, err = ReadClock(); err != nil {
			answer = map[string]string{"error": err.Error()}
		}
		_ = conn.SetDeadline(time.Now().Add(time.Second)) // one that does not read holds up nobody for long
		_ = json.NewEncoder(conn).Encode(answer)
		conn.Close()
	}
}

// Clock answers ErrNotRunning.
func (*RootTree) Clock() (Clock, error) { return Clock{}, ErrNotRunning }

// Clock implements Host.
func (r *Recorder) Clock() (Clock, error) { return recorded(r, "Clock", "", r.host.Clock) }

// Clock implements Host.
func (r *Recording) Clock() (Clock, error) { return replayed[Clock](r, "Clock", "") }
