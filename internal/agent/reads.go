package agent

import (
	"slices"
	"strings"
	"sync"

	"github.com/strongroom/strongroom/internal/host"
	"github.com/strongroom/strongroom/internal/watch"
)

// Reads are the files that a judgement reads and the directories that it lists. What is judged is what is watched: nobody keeps a second list.
// The zero value is ready.
type Reads struct {
	mu    sync.Mutex
	paths map[string]struct{}
}

// Note is told each path, from several goroutines.
func (r *Reads) Note(path string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.paths == nil {
		r.paths = map[string]struct{}{}
	}
	r.paths[path] = struct{}{}
}

// Take gives those that can change and tell of it, and forgets all: settings of the kernel, and what lies in a file system that can be
// written. Of /proc only the settings tell.
func (r *Reads) Take(mounts []host.Mount) map[string]watch.Source {
	r.mu.Lock()
	defer r.mu.Unlock()
	out := map[string]watch.Source{}
	for path := range r.paths {
		if strings.HasPrefix(path, "/proc/") && !strings.HasPrefix(path, "/proc/sys/") {
			continue
		}
		if writable(path, mounts) {
			out[path] = watch.Files
		}
	}
	clear(r.paths)
	return out
}

// writable looks at the mount that a path lies on, as PID 1 sees it: the sandbox of the agent shows everything as read-only. The last of several
// mounts at one place hides the others.
func writable(path string, mounts []host.Mount) bool {
	var on *host.Mount
	for i, m := range mounts {
		below := m.Point == "/" || path == m.Point || strings.HasPrefix(path, m.Point+"/")
		if below && (on == nil || len(m.Point) >= len(on.Point)) {
			on = &mounts[i]
		}
	}
	return on == nil || !slices.Contains(on.Options, "ro")
}

// MemoryEvents are the files in which the kernel counts what a unit's cgroup has met: a limit, a process that was killed for it, swap.
func MemoryEvents(units ...string) map[string]watch.Source {
	out := map[string]watch.Source{}
	for _, unit := range units {
		out["/sys/fs/cgroup/system.slice/"+unit+"/memory.events"] = watch.Memory
		out["/sys/fs/cgroup/system.slice/"+unit+"/memory.swap.events"] = watch.Memory
	}
	return out
}
