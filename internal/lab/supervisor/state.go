package supervisor

import (
	"errors"
	"fmt"
	"io/fs"
	"net"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
)

// Files in the state directory.
const (
	lockName   = "lab.lock" // locked by the supervisor, and holds its process id; marks the directory as ours
	socketName = "control"  // the supervisor listens
	caName     = "ca.pem"   // the lab's authority
	logName    = "lab.log"  // what the supervisor says
	maxLock    = 64         // bytes
)

// DefaultDir is where the state of a user's lab lies: $XDG_STATE_HOME/strongroom/lab. One place for each user, and not the
// working directory: `lab status` finds the lab from everywhere, and disks and keys do not end up in a repository.
func DefaultDir() (string, error) {
	state := os.Getenv("XDG_STATE_HOME")
	if !filepath.IsAbs(state) { // the specification says to ignore it then
		home, err := os.UserHomeDir()
		if err != nil {
			return "", fmt.Errorf("cannot tell where the lab's state belongs: %w", err)
		}
		state = filepath.Join(home, ".local", "state")
	}
	return filepath.Join(state, "strongroom", "lab"), nil
}

// RunningError means that a lab is up.
type RunningError struct {
	Dir string
	PID int
}

func (e *RunningError) Error() string {
	return fmt.Sprintf("a lab is up in %s (process %d)", e.Dir, e.PID)
}

// ErrNoLab means that no lab is up.
var ErrNoLab = errors.New("no lab is up")

// state is a state directory that this process owns.
type state struct {
	dir  string
	lock *os.File
}

// claimTries is how often a directory or its lock may go away while it is claimed: one supervisor that ends takes them away once.
const claimTries = 100

// claim makes the directory ours, and removes what an earlier supervisor has left in it. A supervisor that ends at the same
// moment removes the directory: then it is made once more.
func claim(dir string) (*state, error) {
	for try := 1; ; try++ {
		s, err := tryClaim(dir)
		if !errors.Is(err, fs.ErrNotExist) || try == claimTries {
			return s, err
		}
	}
}

// tryClaim fails with fs.ErrNotExist when something went away in the middle of it.
func tryClaim(dir string) (_ *state, err error) {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, fmt.Errorf("cannot create the lab's directory: %w", err)
	}
	entries, err := os.ReadDir(dir)
	if err != nil {
		return nil, fmt.Errorf("cannot read the lab's directory: %w", err)
	}
	marked := len(entries) == 0
	for _, e := range entries {
		marked = marked || e.Name() == lockName
	}
	if !marked {
		return nil, fmt.Errorf("%s holds other things than a lab\nhint: name an empty or a new directory with --state", dir)
	}
	if err := os.Chmod(dir, 0o700); err != nil { // it holds keys
		return nil, fmt.Errorf("cannot keep others out of the lab's directory: %w", err)
	}
	lock, err := os.OpenFile(filepath.Join(dir, lockName), os.O_RDWR|os.O_CREATE|syscall.O_NOFOLLOW, 0o600)
	if err != nil {
		return nil, fmt.Errorf("cannot lock the lab's directory: %w", err)
	}
	defer func() {
		if err != nil {
			lock.Close()
		}
	}()
	if err := syscall.Flock(int(lock.Fd()), syscall.LOCK_EX|syscall.LOCK_NB); errors.Is(err, syscall.EWOULDBLOCK) {
		return nil, &RunningError{dir, owner(dir)}
	} else if err != nil {
		return nil, fmt.Errorf("cannot lock the lab's directory: %w", err)
	}
	if !current(lock) {
		return nil, fmt.Errorf("cannot lock the lab's directory: the owner before has removed the lock: %w", fs.ErrNotExist)
	}
	s := &state{dir, lock}
	if err := s.empty(); err != nil {
		return nil, err
	}
	lock.Truncate(0)
	fmt.Fprintln(lock, os.Getpid())
	return s, nil
}

// current tells whether the file is the one that has its name.
func current(f *os.File) bool {
	ours, err1 := f.Stat()
	named, err2 := os.Lstat(f.Name())
	return err1 == nil && err2 == nil && os.SameFile(ours, named)
}

// owner is the process id in the lock; 0 when it cannot be read.
func owner(dir string) int {
	content, err := os.ReadFile(filepath.Join(dir, lockName))
	if err != nil || len(content) > maxLock {
		return 0
	}
	pid, _ := strconv.Atoi(strings.TrimSpace(string(content)))
	return pid
}

// empty removes everything but the lock.
func (s *state) empty() error {
	entries, err := os.ReadDir(s.dir)
	if err != nil {
		return fmt.Errorf("cannot read the lab's directory: %w", err)
	}
	for _, e := range entries {
		if e.Name() == lockName {
			continue
		}
		if err := os.RemoveAll(filepath.Join(s.dir, e.Name())); err != nil {
			return fmt.Errorf("cannot remove what an earlier lab has left: %w", err)
		}
	}
	return nil
}

// remove ends the ownership, and removes the directory: the lock last.
func (s *state) remove() error {
	err := s.empty()
	if err == nil {
		err = errors.Join(os.Remove(s.lock.Name()), os.Remove(s.dir))
	}
	return errors.Join(err, s.lock.Close())
}

// Clean removes what a supervisor that has crashed left behind. It fails with a RunningError while one lives, and with
// ErrNoLab when there is nothing.
func Clean(dir string) error {
	if _, err := os.Lstat(filepath.Join(dir, lockName)); errors.Is(err, fs.ErrNotExist) {
		return ErrNoLab
	}
	s, err := claim(dir)
	if err != nil {
		return err
	}
	return s.remove()
}

// listen makes the control socket. The name of a socket may have 107 bytes, and that of the directory may be longer: it is
// bound by way of the directory's descriptor.
func (s *state) listen() (net.Listener, error) {
	dir, err := os.Open(s.dir)
	if err != nil {
		return nil, fmt.Errorf("cannot open the lab's directory: %w", err)
	}
	defer dir.Close()
	listener, err := net.ListenUnix("unix", &net.UnixAddr{Net: "unix", Name: socketPath(dir)})
	if err != nil {
		return nil, fmt.Errorf("cannot listen in the lab's directory: %w", err)
	}
	listener.SetUnlinkOnClose(false) // the name is gone by then; the socket goes with the directory
	return listener, nil
}

func socketPath(dir *os.File) string {
	return fmt.Sprintf("/proc/self/fd/%d/%s", dir.Fd(), socketName)
}

// dial connects to the supervisor of a directory.
func dial(dir string) (net.Conn, error) {
	folder, err := os.Open(dir)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, ErrNoLab
	}
	if err != nil {
		return nil, fmt.Errorf("cannot open the lab's directory: %w", err)
	}
	defer folder.Close()
	conn, err := net.Dial("unix", socketPath(folder))
	if errors.Is(err, fs.ErrNotExist) || errors.Is(err, syscall.ECONNREFUSED) {
		return nil, ErrNoLab
	}
	if err != nil {
		return nil, fmt.Errorf("cannot reach the lab: %w", err)
	}
	return conn, nil
}
