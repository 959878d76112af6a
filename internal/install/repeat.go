package install

import (
	"context"
	"errors"
	"fmt"
	"time"
)

// The pauses between attempts double from the first to the last.
const firstPause, lastPause = 5 * time.Second, time.Minute

// Repeat attempts until there is nothing to repeat: done, or a reason that another attempt would meet again. A server may come back, and
// somebody may put the right image there; a disk does not get better.
func Repeat(ctx context.Context, after func(time.Duration) <-chan time.Time, say func(string), attempt func() error) error {
	pause := firstPause
	for {
		err := attempt()
		var source *SourceError
		if !errors.As(err, &source) || ctx.Err() != nil {
			return err
		}
		say(fmt.Sprintf("%v; once more in %v", err, pause))
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-after(pause):
		}
		pause = min(2*pause, lastPause)
	}
}
