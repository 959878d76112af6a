package supervisor

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"syscall"
	"time"

	"github.com/strongroom/strongroom/internal/lab"
)

// patience is how long a lab may take to go down: machines are killed, not asked.
const patience = 30 * time.Second

// Up starts a supervisor with the command (a program and its arguments, which must come to call Serve), and waits until
// the lab is up. Progress goes to the writer. When ctx ends before, so does the lab. A lab whose nodes do not pass or do not join
// stays up, with the reason as the error, so that it can be looked at.
func Up(ctx context.Context, command []string, dir string, o lab.ClusterOptions, progress io.Writer) (*lab.Status, error) {
	ends, err := syscall.Socketpair(syscall.AF_UNIX, syscall.SOCK_STREAM|syscall.SOCK_CLOEXEC, 0)
	if err != nil {
		return nil, fmt.Errorf("cannot make a socket pair: %w", err)
	}
	ours, theirs := os.NewFile(uintptr(ends[0]), "supervisor"), os.NewFile(uintptr(ends[1]), "up")
	conn, err := net.FileConn(ours)
	ours.Close()
	if err != nil {
		theirs.Close()
		return nil, fmt.Errorf("cannot use a socket pair: %w", err)
	}
	defer conn.Close()
	cmd := exec.Command(command[0], command[1:]...)
	cmd.ExtraFiles = []*os.File{theirs}                  // inherited
	cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true} // no signal of the terminal reaches it
	err = cmd.Start()
	theirs.Close()
	if err != nil {
		return nil, fmt.Errorf("cannot start the lab's supervisor: %w", err)
	}
	go cmd.Wait() // when it ends before we do
	if err := json.NewEncoder(conn).Encode(order{dir, o}); err != nil {
		return nil, fmt.Errorf("cannot tell the lab's supervisor what to do: %w", err)
	}
	// An interrupted `up` says nothing more, and waits until the lab has gone.
	stop := context.AfterFunc(ctx, func() {
		conn.(*net.UnixConn).CloseWrite()
		conn.SetReadDeadline(time.Now().Add(patience))
	})
	last, err := listen(conn, progress)
	if !stop() {
		drain(conn)
		return nil, context.Cause(ctx)
	}
	if err != nil {
		return nil, fmt.Errorf("the lab's supervisor has ended (%w), and the lab with it\nhint: %s may say why; `imagebuild lab down` removes what is left", err, filepath.Join(dir, logName))
	}
	if last.Status != nil {
		if err := json.NewEncoder(conn).Encode(request{Verb: "stay"}); err != nil {
			return nil, fmt.Errorf("the lab's supervisor has ended: %w", err)
		}
	}
	return last.Status, last.err()
}

// Do asks the supervisor of a directory for something.
func Do(ctx context.Context, dir string, verb Verb, node string, progress io.Writer) (Reply, error) {
	conn, err := dial(dir)
	if err != nil {
		return Reply{}, err
	}
	defer conn.Close()
	stop := context.AfterFunc(ctx, func() { conn.SetDeadline(time.Now()) })
	defer stop()
	if err := json.NewEncoder(conn).Encode(request{verb, node}); err != nil {
		return Reply{}, fmt.Errorf("cannot reach the lab: %w", err)
	}
	last, err := listen(conn, progress)
	if ctx.Err() != nil {
		return Reply{}, context.Cause(ctx)
	}
	if err != nil {
		return Reply{}, fmt.Errorf("the lab has ended: %w", err)
	}
	return last, last.err()
}

// TakeDown ends a lab, or removes what one has left that has crashed. It returns when nothing is left.
func TakeDown(ctx context.Context, dir string) error {
	_, err := Do(ctx, dir, Down, "", io.Discard)
	if err != nil && !errors.Is(err, ErrNoLab) {
		return err
	}
	asked := err == nil
	for deadline := time.Now().Add(patience); ; {
		var running *RunningError
		switch err := Clean(dir); {
		case asked && errors.Is(err, ErrNoLab):
			return nil
		case !errors.As(err, &running):
			return err
		case time.Now().After(deadline):
			return fmt.Errorf("the lab does not end: %w", err)
		}
		select {
		case <-ctx.Done():
			return context.Cause(ctx)
		case <-time.After(20 * time.Millisecond):
		}
	}
}

// listen passes on progress until the last reply.
func listen(conn io.Reader, progress io.Writer) (Reply, error) {
	decoder := json.NewDecoder(bufio.NewReader(conn))
	for {
		var r Reply
		if err := decoder.Decode(&r); err != nil {
			return Reply{}, err
		}
		if r.Done {
			return r, nil
		}
		io.WriteString(progress, r.Line)
	}
}

// drain waits until the other side has closed the connection.
func drain(conn io.Reader) { io.Copy(io.Discard, conn) }

func (r Reply) err() error {
	if r.Error == "" {
		return nil
	}
	return errors.New(r.Error)
}
