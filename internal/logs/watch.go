package logs

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"log/slog"
	"os"
	"time"

	"github.com/strongroom/strongroom/internal/atomicfile"
	"github.com/strongroom/strongroom/internal/strictjson"
)

const (
	// WatchPath is where the watch leaves what it has seen, for the agent.
	WatchPath = "/run/hostcheck-audit/seen.json"
	// watchEvery is how soon a use is known.
	watchEvery = time.Second
	// leaveEvery is how often it says that it is there, when there is nothing new.
	leaveEvery = 10 * time.Second
	// quiet is how long one event stands for those that follow it: a root token in a loop must not push everything else out of the journal.
	quiet = time.Minute
	// maxSeen is far more than the file of a watch has.
	maxSeen = 4 << 10
)

// Seen is what the watch has seen since the node started.
type Seen struct {
	At         time.Time `json:"at"`                 // it looked last
	Uses       uint64    `json:"uses"`               // requests with a root token
	Made       uint64    `json:"made"`               // root tokens that were made
	LastUse    time.Time `json:"last_use,omitzero"`  // of either, by the entry itself
	Unreadable uint64    `json:"unreadable"`         // lines that are no entries of format json, or too long
	Position   *position `json:"position,omitempty"` // where the next run goes on
}

// ReadSeen reads what the watch left; nil: it has left nothing yet.
func ReadSeen(path string) (*Seen, error) {
	f, err := os.Open(path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	defer f.Close()
	text, err := io.ReadAll(io.LimitReader(f, maxSeen))
	if err != nil {
		return nil, err
	}
	var s Seen
	if err := strictjson.Document(text, &s); err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	return &s, nil
}

// Watcher follows the audit log's file and tells of every root token that is used or made.
type Watcher struct {
	File string // of the audit log
	Seen string // where it leaves what it has seen
	// Event tells of a use; more counts those of the last minute that it stands for as well.
	Event func(use RootUse, more int)
	Log   *slog.Logger
	Now   func() time.Time

	follow follower
	seen   Seen
	told   time.Time // the last event
	untold []RootUse // the last of those since, at most one
	more   int
}

// Run watches until the context ends.
func (w *Watcher) Run(ctx context.Context) error {
	if err := w.begin(); err != nil {
		return err
	}
	defer w.follow.close()
	tick := time.NewTicker(watchEvery)
	defer tick.Stop()
	for {
		if err := w.look(); err != nil {
			return err
		}
		select {
		case <-ctx.Done():
			return nil
		case <-tick.C:
		}
	}
}

func (w *Watcher) begin() error {
	earlier, err := ReadSeen(w.Seen)
	if err != nil {
		w.Log.Warn("cannot read what was seen before: beginning anew", "error", err)
	}
	if earlier == nil {
		earlier = &Seen{}
	}
	w.seen = *earlier
	w.follow = follower{path: w.File}
	return w.follow.open(earlier.Position)
}

// look reads what has come, tells of it, and leaves what it has seen.
func (w *Watcher) look() error {
	err := w.follow.lines(func(line []byte) {
		if line == nil {
			w.seen.Unreadable++
			return
		}
		use, understood := readEntry(line)
		if !understood {
			w.seen.Unreadable++
		}
		if use != nil {
			w.note(*use)
		}
	})
	if w.more > 0 && w.Now().Sub(w.told) >= quiet {
		w.tell(w.untold[0], w.more-1)
	}
	now, at := w.Now().UTC(), w.follow.position()
	if err == nil && now.Sub(w.seen.At) < leaveEvery && samePosition(at, w.seen.Position) {
		return nil
	}
	w.seen.At, w.seen.Position = now, at
	return errors.Join(err, w.leave())
}

func samePosition(a, b *position) bool {
	return a == nil && b == nil || a != nil && b != nil && *a == *b
}

func (w *Watcher) note(use RootUse) {
	if use.Made {
		w.seen.Made++
	} else {
		w.seen.Uses++
	}
	w.seen.LastUse = use.At
	// What is made is always told: it is rare, and worse.
	if use.Made || w.told.IsZero() || w.Now().Sub(w.told) >= quiet {
		w.tell(use, w.more)
		return
	}
	w.untold, w.more = append(w.untold[:0], use), w.more+1
}

func (w *Watcher) tell(use RootUse, more int) {
	w.told, w.more = w.Now(), 0
	w.Event(use, more)
}

func (w *Watcher) leave() error {
	err := atomicfile.Write(w.Seen, 0o644, func(out io.Writer) error { return json.NewEncoder(out).Encode(w.seen) })
	if err != nil {
		return fmt.Errorf("cannot leave what was seen: %w", err)
	}
	return nil
}
