// Package watch listens to what the kernel and systemd announce of a machine, so that a change is looked at when it happens and not at
// the next reading. It says that something has changed and never what: the reading finds that out, and covers what no announcement told.
//
// Every source waits in Go's network poller. A system call that waits in the kernel would keep a processor of the runtime with
// it, and a node may have one.
package watch
