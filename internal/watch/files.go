package watch

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"path"
	"strings"
	"sync"

	"github.com/fsnotify/fsnotify"
	"golang.org/x/sys/unix"
)

// Paths are those that a reading has looked at, and that can change: files, and directories whose entries matter.
type Paths struct {
	mu     sync.Mutex
	source map[string]Source
	news   chan struct{}
}

// NewPaths gives none.
func NewPaths() *Paths { return &Paths{news: make(chan struct{}, 1)} }

// Set replaces them; each comes with who is said to have announced its changes. One that is not there is listened to from the next call
// on that finds it, so it is called after each reading, with the same paths too.
func (p *Paths) Set(source map[string]Source) {
	p.mu.Lock()
	p.source = source
	p.mu.Unlock()
	select {
	case p.news <- struct{}{}:
	default:
	}
}

func (p *Paths) get() map[string]Source {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.source
}

// listen tells of changes of the paths.
func (p *Paths) listen(ctx context.Context, ready func(), changed func(Source)) error {
	watcher, err := fsnotify.NewWatcher()
	if err != nil {
		return fmt.Errorf("cannot watch files: %w", err)
	}
	defer watcher.Close()
	var wanted map[string]Source
	watched := map[string]bool{}
	for listening := false; ; {
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-p.news:
			wanted = p.get()
			if err := follow(watcher, watched, wanted); err != nil {
				return err
			}
			if !listening {
				listening = true
				ready()
			}
		case event, open := <-watcher.Events:
			if !open {
				return errors.New("the watch of files has ended")
			}
			if source, ok := concerns(strings.TrimPrefix(event.Name, ofInit), wanted); ok {
				changed(source)
			}
		case err, open := <-watcher.Errors:
			if !open {
				return errors.New("the watch of files has ended")
			}
			if !errors.Is(err, fsnotify.ErrEventOverflow) {
				return fmt.Errorf("cannot watch files: %w", err)
			}
			changed(Files) // nobody knows which
		}
	}
}

// concerns says whether a path is one of those, or an entry of one.
func concerns(at string, wanted map[string]Source) (Source, bool) {
	if source, ok := wanted[at]; ok {
		return source, true
	}
	source, ok := wanted[path.Dir(at)]
	return source, ok
}

// follow has the watcher watch what is wanted and nothing else. What is not there is left out.
func follow(watcher *fsnotify.Watcher, watched map[string]bool, wanted map[string]Source) error {
	now := map[string]bool{}
	for p := range wanted {
		for _, at := range places(p) {
			if now[at] {
				continue
			}
			// Also where it is watched: another file may have its name by now.
			switch err := watcher.Add(at); {
			case err == nil:
				now[at] = true
			case errors.Is(err, unix.ENOSPC), errors.Is(err, unix.ENOMEM):
				return fmt.Errorf("cannot watch %s: %w", at, err)
			}
		}
	}
	for at := range watched {
		if !now[at] {
			_ = watcher.Remove(at) // gone by itself when the file is
		}
	}
	clear(watched)
	maps.Copy(watched, now)
	return nil
}

// ofInit is the root that PID 1 sees. In its sandbox the agent has a /proc of its own: the settings in it are the same, and nobody writes to
// its files.
const ofInit = "/proc/1/root"

// places are where a path is watched. Below /proc and /sys files are settings, and nobody replaces one; any other may be replaced, or
// made anew, which its directory tells.
func places(p string) []string {
	switch {
	case strings.HasPrefix(p, "/proc/"):
		if reachable := ofInit + p; unix.Access(reachable, unix.F_OK) == nil {
			return []string{reachable}
		}
		return []string{p} // PID 1 shows its root to nobody: a container's, for one
	case strings.HasPrefix(p, "/sys/"):
		return []string{p}
	}
	return []string{p, path.Dir(p)}
}
