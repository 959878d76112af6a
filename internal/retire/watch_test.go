package retire

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"
)

// played is a cloud that says one thing after the other, the last for ever.
type played struct {
	says     []any // Notice or error
	holds    int
	released []Notice
	refuses  int // releases that fail first
	holdFail error
	events   *[]string
}

func (p *played) Ask(context.Context) (Notice, error) {
	said := p.says[0]
	if len(p.says) > 1 {
		p.says = p.says[1:]
	}
	if err, bad := said.(error); bad {
		return Notice{}, err
	}
	return said.(Notice), nil
}

func (p *played) Hold(context.Context, Notice) error { p.holds++; return p.holdFail }

func (p *played) Release(_ context.Context, n Notice) error {
	if p.refuses > 0 {
		p.refuses--
		return errors.New("throttled")
	}
	p.released = append(p.released, n)
	*p.events = append(*p.events, "released")
	return nil
}

// watched runs a watch in a bubble of its own time until it ends or the time is over.
func watched(t *testing.T, p *played, limit time.Duration, retire func(context.Context, func(error)) error, leave func(context.Context) (string, error)) []string {
	t.Helper()
	var events []string
	p.events = &events
	ctx, cancel := context.WithTimeout(t.Context(), limit)
	defer cancel()
	Watch(ctx, Options{
		Cloud: p, Leave: leave, Retire: retire, Log: slog.New(slog.DiscardHandler),
		Report: func(s Status) {
			events = append(events, strings.TrimSuffix(fmt.Sprintf("%s: %s", s.State, s.Reason), ": "))
		},
	})
	return events
}

func never(t *testing.T) func(context.Context, func(error)) error {
	return func(context.Context, func(error)) error { t.Error("it was retired"); return nil }
}

var bye = Notice{Fate: Goes, Why: "bye", ID: "7"}

// The node goes first and the machine afterwards; meanwhile time is asked for.
func TestGoes(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := &played{says: []any{Notice{}, Notice{}, bye}}
		tries := 0
		events := watched(t, p, time.Hour, func(_ context.Context, waiting func(error)) error {
			waiting(errors.New("the cluster can lose no voter now"))
			time.Sleep(100 * time.Second)
			if tries++; tries == 1 {
				return errors.New("the local server does not answer")
			}
			*p.events = append(*p.events, "removed")
			return nil
		}, nil)
		want := []string{"watching", "leaving: bye", "leaving: bye; waiting: the cluster can lose no voter now", "leaving: bye; waiting: the local server does not answer",
			"leaving: bye; waiting: the cluster can lose no voter now", "removed", "released", "done: bye"}
		if !slices.Equal(events, want) {
			t.Errorf("got  %q\nwant %q", events, want)
		}
		if p.holds != 14 || !slices.Equal(p.released, []Notice{bye}) { // in 210 s, one each 15 s
			t.Errorf("%d requests for time, released %v", p.holds, p.released)
		}
	})
}

// A cloud that cannot be told is told again, and one that cannot be asked is asked again.
func TestTroubleWithTheCloud(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := &played{says: []any{errors.New("no answer"), errors.New("no answer"), bye}, refuses: 2, holdFail: errors.New("denied")}
		events := watched(t, p, time.Hour, func(context.Context, func(error)) error { time.Sleep(time.Minute); return nil }, nil)
		want := []string{"blind: no answer", "leaving: bye", "retired: cannot tell the cloud that this machine may go: throttled", "released", "done: bye"}
		if !slices.Equal(events, want) {
			t.Errorf("got  %q\nwant %q", events, want)
		}
	})
}

// A restart costs the lead and not the membership, once for each notice.
func TestRestarts(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		again := Notice{Fate: Restarts, Why: "maintenance", ID: "1"}
		other := Notice{Fate: Restarts, Why: "maintenance", ID: "2"}
		p := &played{says: []any{again, again, again, Notice{}, other}}
		left := 0
		events := watched(t, p, time.Minute, never(t), func(context.Context) (string, error) {
			if left++; left == 1 {
				return "", errors.New("there is no other active node")
			}
			return "stepped down", nil
		})
		if left != 3 { // in vain, done, and for the other
			t.Errorf("%d times", left)
		}
		if want := []string{"watching: maintenance", "watching", "watching: maintenance"}; !slices.Equal(events, want) {
			t.Errorf("got %q", events)
		}
	})
}

// The agent ends while the node waits: nothing is released.
func TestEndWhileWaiting(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := &played{says: []any{bye}}
		events := watched(t, p, time.Minute, func(ctx context.Context, waiting func(error)) error {
			waiting(errors.New("not yet"))
			<-ctx.Done()
			return ctx.Err()
		}, nil)
		if len(p.released) > 0 || !strings.HasPrefix(events[len(events)-1], "leaving: bye") {
			t.Errorf("%q, released %v", events, p.released)
		}
	})
}
