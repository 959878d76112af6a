package plugin

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"

	packersdk "github.com/hashicorp/packer-plugin-sdk/packer"

	"github.com/strongroom/strongroom/internal/harden"
)

// machine is a machine behind a communicator of Packer's.
type machine struct{ comm packersdk.Communicator }

var _ harden.Machine = machine{}

// Run waits until the command has ended, or the context has. A command that is given up on is not killed: Packer has no way
// to, and half of a package manager's work would be worse than all of it.
func (m machine) Run(ctx context.Context, command string, out io.Writer) (status int, err error) {
	// A command writes both of its streams at once, also after it was given up on.
	w := &lateWriter{out: out}
	defer w.close()
	stdout, stderr := &lineWriter{out: w}, &lineWriter{out: w}
	cmd := &packersdk.RemoteCmd{Command: command, Stdout: stdout, Stderr: stderr}
	if err := m.comm.Start(ctx, cmd); err != nil {
		return 0, err
	}
	ended := make(chan int, 1)
	go func() { ended <- cmd.Wait() }()
	select {
	case status := <-ended:
		if err := errors.Join(stdout.flush(), stderr.flush()); err != nil {
			return status, err
		}
		if status == packersdk.CmdDisconnect {
			return status, fmt.Errorf("the machine has disconnected")
		}
		return status, nil
	case <-ctx.Done():
		return 0, context.Cause(ctx)
	}
}

func (m machine) Upload(_ context.Context, path string, content []byte) error {
	return m.comm.Upload(path, bytes.NewReader(content), nil)
}

func (m machine) UploadFile(_ context.Context, path, source string) error {
	f, err := os.Open(source)
	if err != nil {
		return err
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		return err
	}
	return m.comm.Upload(path, f, &info) // the info spares a copy in a temporary file
}

func (m machine) Download(_ context.Context, path string, w io.Writer) error {
	return m.comm.Download(path, w)
}
