// Package harden brings the hardening of a baseline to a machine that somebody else has installed, over a connection that the
// caller has. It knows no Packer.
//
// It works in two phases, so that it never cuts its own connection. What the machine does not use while it runs is installed
// at once: packages, programs, files, the boot loader's arguments. What the connection stands on is taken away by a unit that
// runs at the shutdown. Before that unit is armed, the shutdown is rehearsed on a copy of the disks in memory, and hostcheck
// judges what it leaves.
package harden

import (
	"context"
	"io"
)

// Machine is the machine as the connection shows it. Paths are absolute and of the machine.
type Machine interface {
	// Run has the login shell of the connection's user run a command line, with nothing on its standard input. Everything that it
	// writes goes to out. The error is the connection's; how the command ended is the status.
	Run(ctx context.Context, command string, out io.Writer) (status int, err error)
	// Upload writes a file.
	Upload(ctx context.Context, path string, content []byte) error
	// UploadFile copies a file of this machine.
	UploadFile(ctx context.Context, path, source string) error
	// Download reads a file.
	Download(ctx context.Context, path string, w io.Writer) error
}
