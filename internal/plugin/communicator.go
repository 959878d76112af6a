package plugin

import (
	"archive/tar"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"os/exec"
	"path"
	"strings"
	"sync"
	"syscall"

	packersdk "github.com/hashicorp/packer-plugin-sdk/packer"
)

// imageTree is the tree of an image in the making, as image.Assembly offers it. Everything
// happens inside the tree and its namespaces: no path is resolved outside, and files get the
// owners that the image will have. A Command ends, with all that it started, when its context does.
type imageTree interface {
	Command(ctx context.Context, argv ...string) *exec.Cmd
	Upload(ctx context.Context, dst string, mode fs.FileMode, r io.Reader) error
	Download(ctx context.Context, src string, w io.Writer) error
	UploadTar(ctx context.Context, dir string, r io.Reader) error
	DownloadTar(ctx context.Context, dir string, w io.Writer) error
}

// communicator lets Packer's provisioners work inside the image tree. A command line is read by
// the tree's own /bin/sh and by no shell of the host.
type communicator struct {
	tree imageTree

	// ctx outlives single calls: the methods that move files have no context of their own.
	ctx    context.Context
	cancel context.CancelCauseFunc

	mu      sync.Mutex // guards closed, and running against an Add after Wait
	closed  bool
	running sync.WaitGroup
}

var _ packersdk.Communicator = (*communicator)(nil)

// errProvisioned answers commands that come after the provisioners' time: Packer's core may
// still send the clean-up of a provisioner that was cancelled.
var errProvisioned = errors.New("the image tree no longer takes commands: provisioning has ended")

func newCommunicator(ctx context.Context, tree imageTree) *communicator {
	c := &communicator{tree: tree}
	c.ctx, c.cancel = context.WithCancelCause(ctx)
	return c
}

// close kills what still runs, waits until it is gone, and refuses everything after.
func (c *communicator) close() {
	c.mu.Lock()
	c.closed = true
	c.mu.Unlock()
	c.cancel(errProvisioned)
	c.running.Wait()
}

func (c *communicator) begin() error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.closed {
		return errProvisioned
	}
	c.running.Add(1)
	return nil
}

// Start runs a command line and returns at once, as Packer's contract says; its exit status
// arrives in cmd.
func (c *communicator) Start(ctx context.Context, cmd *packersdk.RemoteCmd) error {
	if err := c.begin(); err != nil {
		return err
	}
	ctx, cancel := context.WithCancelCause(ctx)
	stop := context.AfterFunc(c.ctx, func() { cancel(context.Cause(c.ctx)) })
	run := c.tree.Command(ctx, "/bin/sh", "-c", cmd.Command)
	run.Stdin, run.Stdout, run.Stderr = cmd.Stdin, cmd.Stdout, cmd.Stderr
	if err := run.Start(); err != nil {
		stop()
		cancel(nil)
		c.running.Done()
		return fmt.Errorf("cannot run a command in the image tree: %w", err)
	}
	go func() {
		defer c.running.Done()
		defer cancel(nil)
		defer stop()
		_ = run.Wait() // what it says is in the state, but for output that a left-over child still holds open
		cmd.SetExited(exitStatus(run.ProcessState))
	}()
	return nil
}

// exitStatus is the status as a shell would tell it: 128 and the signal for a killed command.
func exitStatus(s *os.ProcessState) int {
	if s == nil {
		return 128 + int(syscall.SIGKILL)
	}
	if w, ok := s.Sys().(syscall.WaitStatus); ok && w.Signaled() {
		return 128 + int(w.Signal())
	}
	return s.ExitCode()
}

// Upload writes a file with the mode of info, or 0644 where the caller knows none.
func (c *communicator) Upload(dst string, r io.Reader, info *os.FileInfo) error {
	if err := c.begin(); err != nil {
		return err
	}
	defer c.running.Done()
	mode := fs.FileMode(0o644)
	if info != nil && *info != nil {
		mode = (*info).Mode().Perm()
	}
	if err := c.tree.Upload(c.ctx, dst, mode, r); err != nil {
		return fmt.Errorf("cannot upload to %s in the image tree: %w", dst, err)
	}
	return nil
}

// UploadDir copies a directory as rsync does: src itself, or with a trailing slash what is
// in it. Modes and symbolic links are kept, files belong to root. What exclude matches
// stays out, see [excluded].
func (c *communicator) UploadDir(dst string, src string, exclude []string) error {
	if err := c.begin(); err != nil {
		return err
	}
	defer c.running.Done()
	if !strings.HasSuffix(src, "/") {
		dst = path.Join(dst, path.Base(src))
	}
	archive, packer := io.Pipe()
	packed := make(chan error, 1)
	go func() {
		err := packDir(packer, src, exclude)
		packer.CloseWithError(err) // nil closes with io.EOF
		packed <- err
	}()
	err := c.tree.UploadTar(c.ctx, dst, archive)
	archive.Close() // the packer must not wait for a reader that has failed
	if cause := <-packed; cause != nil && !errors.Is(cause, io.ErrClosedPipe) {
		err = cause // the reader only saw a short archive
	}
	if err != nil {
		return fmt.Errorf("cannot upload %s to %s in the image tree: %w", src, dst, err)
	}
	return nil
}

// Download writes a file of the tree to w.
func (c *communicator) Download(src string, w io.Writer) error {
	if err := c.begin(); err != nil {
		return err
	}
	defer c.running.Done()
	if err := c.tree.Download(c.ctx, src, w); err != nil {
		return fmt.Errorf("cannot download %s from the image tree: %w", src, err)
	}
	return nil
}

// DownloadDir copies a directory of the tree to dst: itself, or with a trailing slash what is
// in it, or what matches a pattern in the last element ("/etc/*.conf"). Names in the archive
// are not trusted: nothing is written outside dst.
func (c *communicator) DownloadDir(src string, dst string, exclude []string) error {
	if err := c.begin(); err != nil {
		return err
	}
	defer c.running.Done()
	pattern := "*"
	switch dir, last := path.Split(src); {
	case last == "":
	case strings.ContainsAny(last, "*?["):
		src, pattern = dir, last
	default:
		dst = path.Join(dst, last)
	}
	archive, packer := io.Pipe()
	unpacked := make(chan error, 1)
	go func() {
		err := unpackDir(tar.NewReader(archive), dst, pattern, exclude)
		if err == nil {
			_, err = io.Copy(io.Discard, archive) // padding behind the end of the archive
		}
		archive.CloseWithError(err)
		unpacked <- err
	}()
	err := c.tree.DownloadTar(c.ctx, src, packer)
	packer.CloseWithError(err)
	if cause := <-unpacked; err == nil || cause != nil && !errors.Is(cause, err) {
		err = cause // the writer only saw a closed pipe
	}
	if err != nil {
		return fmt.Errorf("cannot download %s from the image tree: %w", src, err)
	}
	return nil
}
