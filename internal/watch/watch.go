package watch

import (
	"context"
	"log/slog"
	"time"
)

// Source is who announces.
type Source string

// The sources.
const (
	Mounts   Source = "mounts"   // the mount table of PID 1's namespace
	Swaps    Source = "swaps"    // /proc/swaps
	Nftables Source = "nftables" // the packet filter's netlink group
	Routes   Source = "routes"   // links, addresses and routes, by netlink
	Systemd  Source = "systemd"  // changes of units, over systemd's private socket
	Files    Source = "files"    // inotify: settings of the kernel, and files where something can be written
	Memory   Source = "memory"   // inotify too: a cgroup has met a limit, or a process was killed for it
)

// Sources are all of them.
var Sources = []Source{Mounts, Swaps, Nftables, Routes, Systemd, Files, Memory}

// again is how long a source that has failed is left alone. The periodic reading covers the time.
const again = 30 * time.Second

// Listener is who is told. Its methods are called from several goroutines and must not wait.
type Listener struct {
	// Changed says that something has.
	Changed func(Source)
	// Listening says whether a source is listened to.
	Listening func(Source, bool)
}

// source listens until the context ends or it cannot any more. It calls ready once it would hear of a change.
type source func(ctx context.Context, ready, changed func()) error

// Run listens until the context ends. It opens the sources in the background: none of them holds up who starts. own is the
// unit of this process, whose changes are its own doing; files may be empty at first.
func Run(ctx context.Context, own string, files *Paths, l Listener, log *slog.Logger) {
	sources := map[Source]source{
		Mounts:   table("/proc/1/mountinfo"),
		Swaps:    table("/proc/swaps"),
		Nftables: nftables,
		Routes:   routes,
		Systemd:  units("/run/systemd/private", own),
		Files: func(ctx context.Context, ready, _ func()) error {
			return files.listen(ctx, ready, l.Changed)
		},
	}
	done := make(chan struct{})
	for name, listen := range sources {
		go func() {
			defer func() { done <- struct{}{} }()
			keepListening(ctx, name, listen, l, log)
		}()
	}
	for range sources {
		<-done
	}
}

func keepListening(ctx context.Context, name Source, listen source, l Listener, log *slog.Logger) {
	var told string
	for {
		err := listen(ctx, func() {
			told = ""
			l.Listening(name, true)
			l.Changed(name) // what changed before was not heard
		}, func() { l.Changed(name) })
		l.Listening(name, false)
		if ctx.Err() != nil {
			return
		}
		if text := err.Error(); text != told {
			told = text
			log.WarnContext(ctx, "cannot listen for changes: they are seen by the periodic reading alone", "source", string(name), "error", err)
		}
		select {
		case <-ctx.Done():
			return
		case <-time.After(again):
		}
	}
}
