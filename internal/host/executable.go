package host

import (
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"os"
	"strconv"
	"strings"
	"sync"

	"golang.org/x/sys/unix"
)

// Executable is the program that a process runs.
type Executable struct {
	Path    string `json:"path"`    // where it was found when the process began
	Deleted bool   `json:"deleted"` // nothing of this name leads to it any more
	OnDisk  bool   `json:"on_disk"` // the host's file at Path is this very file: the same inode of the same device
}

// Digests remembers the digests of files, so that an agent which looks every ten seconds reads a large
// program once. A file is known again by what changes whenever its bytes do: device, inode, size, and the times of
// its last change of content and of inode. The zero value is ready for use.
type Digests struct {
	mu    sync.Mutex
	known map[fileIdentity]*memo[string]
}

type fileIdentity struct {
	device, inode  uint64
	size           int64
	changed, inner unix.Timespec // mtime, ctime
}

func (d *Digests) of(fd int) (string, error) {
	var st unix.Stat_t
	if err := unix.Fstat(fd, &st); err != nil {
		return "", err
	}
	if st.Mode&unix.S_IFMT != unix.S_IFREG {
		return "", errors.New("not a regular file")
	}
	id := fileIdentity{uint64(st.Dev), st.Ino, st.Size, st.Mtim, st.Ctim}
	d.mu.Lock()
	m, ok := d.known[id]
	if !ok {
		if d.known == nil || len(d.known) >= 16 { // nothing on a node has so many; a file that keeps changing must not fill memory
			d.known = map[fileIdentity]*memo[string]{}
		}
		m = &memo[string]{}
		d.known[id] = m
	}
	d.mu.Unlock()
	return m.get(func() (string, error) { return digest(fd) })
}

// digest reads a file through a descriptor of its own position, so that two of them do not disturb each other.
func digest(fd int) (string, error) {
	h := sha256.New()
	if _, err := io.CopyBuffer(h, io.NewSectionReader(readerAt(fd), 0, 1<<62), make([]byte, 256<<10)); err != nil {
		return "", err
	}
	return hex.EncodeToString(h.Sum(nil)), nil
}

type readerAt int

func (r readerAt) ReadAt(b []byte, offset int64) (int, error) {
	for {
		n, err := unix.Pread(int(r), b, offset)
		switch {
		case errors.Is(err, unix.EINTR):
		case err != nil:
			return 0, err
		case n == 0:
			return 0, io.EOF
		default:
			return n, nil
		}
	}
}

// Digest implements Host. Memory stays small whatever the file's size.
func (l *LiveHost) Digest(path string) (string, error) { return l.root.digest(l.digests, path) }

// Digest implements Host.
func (t *RootTree) Digest(path string) (string, error) { return t.root.digest(&Digests{}, path) }

// Digest implements Host.
func (r *Recorder) Digest(path string) (string, error) {
	return recorded(r, "Digest", path, func() (string, error) { return r.host.Digest(path) })
}

// Digest implements Host.
func (r *Recording) Digest(path string) (string, error) { return replayed[string](r, "Digest", path) }

func (r root) digest(known *Digests, path string) (string, error) {
	info, err := r.Stat(path)
	if err != nil {
		return "", err
	}
	if !info.Mode.IsRegular() { // opening a device can act on it
		return "", &os.PathError{Op: "read", Path: path, Err: errors.New("not a regular file")}
	}
	fd, err := r.open("open", path, unix.O_RDONLY|unix.O_NONBLOCK|unix.O_NOCTTY)
	if err != nil {
		return "", err
	}
	defer unix.Close(fd)
	sum, err := known.of(fd)
	if err != nil {
		return "", &os.PathError{Op: "read", Path: path, Err: err}
	}
	return sum, nil
}

// Executable implements Host. It follows the magic link /proc/PID/exe, which leads to the running file
// itself, also when another lies at its path by now or none.
func (l *LiveHost) Executable(pid int) (Executable, error) {
	fd, path, err := l.openExecutable(pid, unix.O_PATH)
	if err != nil {
		return Executable{}, err
	}
	defer unix.Close(fd)
	var e Executable
	e.Path, e.Deleted = strings.CutSuffix(path, " (deleted)")
	there, err := l.open("stat", e.Path, unix.O_PATH)
	if errors.Is(err, os.ErrNotExist) {
		return e, nil
	}
	if err != nil {
		return Executable{}, err
	}
	defer unix.Close(there)
	var running, found unix.Stat_t
	if err := errors.Join(unix.Fstat(fd, &running), unix.Fstat(there, &found)); err != nil {
		return Executable{}, fmt.Errorf("cannot compare %s with /proc/%d/exe: %w", e.Path, pid, err)
	}
	e.OnDisk = running.Dev == found.Dev && running.Ino == found.Ino
	return e, nil
}

// ExecutableDigest implements Host. It reads the file that runs, whatever lies at its path.
func (l *LiveHost) ExecutableDigest(pid int) (string, error) {
	fd, _, err := l.openExecutable(pid, unix.O_RDONLY|unix.O_NONBLOCK|unix.O_NOCTTY)
	if err != nil {
		return "", err
	}
	defer unix.Close(fd)
	sum, err := l.digests.of(fd)
	if err != nil {
		return "", fmt.Errorf("cannot read /proc/%d/exe: %w", pid, err)
	}
	return sum, nil
}

// openExecutable opens the program of a process and tells where the kernel says that it lies.
func (l *LiveHost) openExecutable(pid, flags int) (fd int, path string, err error) {
	if pid <= 0 {
		return -1, "", fmt.Errorf("cannot read process %d: not a process id", pid)
	}
	proc, err := l.open("open", "/proc", unix.O_PATH|unix.O_DIRECTORY)
	if err != nil {
		return -1, "", err
	}
	defer unix.Close(proc)
	name := strconv.Itoa(pid) + "/exe"
	target := make([]byte, unix.PathMax)
	n, err := unix.Readlinkat(proc, name, target)
	if err != nil {
		return -1, "", fmt.Errorf("cannot read /proc/%s: %w", name, err)
	}
	if fd, err = unix.Openat(proc, name, flags|unix.O_CLOEXEC, 0); err != nil {
		return -1, "", fmt.Errorf("cannot open /proc/%s: %w", name, err)
	}
	return fd, printable(target[:n]), nil
}

// Executable answers ErrNotRunning.
func (*RootTree) Executable(int) (Executable, error) { return Executable{}, ErrNotRunning }

// Executable implements Host.
func (r *Recorder) Executable(pid int) (Executable, error) {
	return recorded(r, "Executable", strconv.Itoa(pid), func() (Executable, error) { return r.host.Executable(pid) })
}

// Executable implements Host.
func (r *Recording) Executable(pid int) (Executable, error) {
	return replayed[Executable](r, "Executable", strconv.Itoa(pid))
}

// ExecutableDigest answers ErrNotRunning.
func (*RootTree) ExecutableDigest(int) (string, error) { return "", ErrNotRunning }

// ExecutableDigest implements Host.
func (r *Recorder) ExecutableDigest(pid int) (string, error) {
	return recorded(r, "ExecutableDigest", strconv.Itoa(pid), func() (string, error) { return r.host.ExecutableDigest(pid) })
}

// ExecutableDigest implements Host.
func (r *Recording) ExecutableDigest(pid int) (string, error) {
	return replayed[string](r, "ExecutableDigest", strconv.Itoa(pid))
}
