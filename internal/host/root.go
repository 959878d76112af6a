package host

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path"
	"slices"

	"golang.org/x/sys/unix"
)

// MaxFile is the size of the largest file that ReadFile gives. Everything that a control judges
// by its bytes is far smaller; the cap keeps a runaway file from eating the node's memory.
const MaxFile = 4 << 20

// root reads files below a directory as if it were "/".
//
// The kernel resolves the path with RESOLVE_IN_ROOT: absolute symlinks and ".." stay inside, a
// loop is ELOOP, and nothing can be swapped between the resolution and the open. os.Root cannot
// serve: it refuses absolute links even when their target lies inside, and /etc and systemd's
// *.wants are full of them. os.DirFS would follow them on the machine that does the checking.
// Magic links (/proc/PID/exe, /proc/PID/root) are refused, since they lead out of any root.
type root struct {
	fd int
	// read is told the path of each file that is read and of each directory that is listed, there or not; nil: nobody is.
	read func(path string)
}

func openRoot(dir string) (root, error) {
	fd, err := unix.Open(dir, unix.O_PATH|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
	if err != nil {
		return root{}, &fs.PathError{Op: "open root", Path: dir, Err: err}
	}
	return root{fd: fd}, nil
}

func (r root) close() error { return unix.Close(r.fd) }

// open resolves p and gives a descriptor. EAGAIN means that something was renamed while the
// kernel walked over "..": the walk is safe to repeat.
func (r root) open(op, p string, flags uint64) (int, error) {
	if !path.IsAbs(p) {
		return -1, &fs.PathError{Op: op, Path: p, Err: fs.ErrInvalid}
	}
	how := unix.OpenHow{Flags: flags | unix.O_CLOEXEC, Resolve: unix.RESOLVE_IN_ROOT}
	for range 16 {
		fd, err := unix.Openat2(r.fd, p, &how)
		switch {
		case err == nil:
			return fd, nil
		case errors.Is(err, unix.EAGAIN), errors.Is(err, unix.EINTR):
		case errors.Is(err, unix.ENOSYS):
			return -1, &fs.PathError{Op: op, Path: p, Err: fmt.Errorf("openat2: %w (needs Linux 5.6 or later)", err)}
		default:
			return -1, &fs.PathError{Op: op, Path: p, Err: err}
		}
	}
	return -1, &fs.PathError{Op: op, Path: p, Err: unix.EAGAIN}
}

func (r root) tell(p string) {
	if r.read != nil {
		r.read(p)
	}
}

// ReadFile implements Host. Only regular files are opened: opening a device or a FIFO can
// already act on it.
func (r root) ReadFile(p string) ([]byte, error) {
	r.tell(p)
	info, err := r.Stat(p)
	if err != nil {
		return nil, err
	}
	if !info.Mode.IsRegular() {
		if info.Mode.IsDir() {
			return nil, &fs.PathError{Op: "read", Path: p, Err: unix.EISDIR}
		}
		return nil, &fs.PathError{Op: "read", Path: p, Err: fmt.Errorf("not a regular file (%v)", info.Mode.Type())}
	}
	fd, err := r.open("open", p, unix.O_RDONLY|unix.O_NONBLOCK|unix.O_NOCTTY)
	if err != nil {
		return nil, err
	}
	defer unix.Close(fd)
	b, err := readAll(fd, info.Size)
	if err != nil {
		return nil, &fs.PathError{Op: "read", Path: p, Err: err}
	}
	return b, nil
}

// readAll reads to the end of the file. The size is only a hint: files of /proc say 0 and files
// of /sys say one page, whatever they hold.
func readAll(fd int, hint int64) ([]byte, error) {
	b := make([]byte, 0, min(max(hint, 0), MaxFile)+512)
	for {
		n, err := unix.Read(fd, b[len(b):cap(b)])
		if errors.Is(err, unix.EINTR) {
			continue
		}
		if err != nil {
			return nil, err
		}
		if n == 0 {
			return b, nil
		}
		b = b[:len(b)+n]
		if len(b) > MaxFile {
			return nil, ErrTooLarge
		}
		if len(b) == cap(b) {
			b = slices.Grow(b, len(b))
		}
	}
}

// Lstat implements Host.
func (r root) Lstat(p string) (FileInfo, error) { return r.stat("lstat", p, unix.O_NOFOLLOW) }

// Stat implements Host.
func (r root) Stat(p string) (FileInfo, error) { return r.stat("stat", p, 0) }

func (r root) stat(op, p string, flags uint64) (FileInfo, error) {
	fd, err := r.open(op, p, unix.O_PATH|flags)
	if err != nil {
		return FileInfo{}, err
	}
	defer unix.Close(fd)
	var st unix.Stat_t
	if err := unix.Fstat(fd, &st); err != nil {
		return FileInfo{}, &fs.PathError{Op: op, Path: p, Err: err}
	}
	info := FileInfo{Mode: fileMode(st.Mode), UID: st.Uid, GID: st.Gid, Size: st.Size}
	if info.Mode&fs.ModeSymlink != 0 {
		buf := make([]byte, unix.PathMax)
		n, err := unix.Readlinkat(fd, "", buf)
		if err != nil {
			return FileInfo{}, &fs.PathError{Op: op, Path: p, Err: err}
		}
		info.Target = string(buf[:n])
	}
	return info, nil
}

// fileMode turns st_mode into an fs.FileMode.
func fileMode(mode uint32) fs.FileMode {
	m := fs.FileMode(mode & 0o777)
	switch mode & unix.S_IFMT {
	case unix.S_IFDIR:
		m |= fs.ModeDir
	case unix.S_IFLNK:
		m |= fs.ModeSymlink
	case unix.S_IFIFO:
		m |= fs.ModeNamedPipe
	case unix.S_IFSOCK:
		m |= fs.ModeSocket
	case unix.S_IFBLK:
		m |= fs.ModeDevice
	case unix.S_IFCHR:
		m |= fs.ModeDevice | fs.ModeCharDevice
	}
	if mode&unix.S_ISUID != 0 {
		m |= fs.ModeSetuid
	}
	if mode&unix.S_ISGID != 0 {
		m |= fs.ModeSetgid
	}
	if mode&unix.S_ISVTX != 0 {
		m |= fs.ModeSticky
	}
	return m
}

// ReadDir implements Host.
func (r root) ReadDir(p string) ([]string, error) {
	r.tell(p)
	fd, err := r.open("open", p, unix.O_RDONLY|unix.O_DIRECTORY)
	if err != nil {
		return nil, err
	}
	f := os.NewFile(uintptr(fd), p)
	defer f.Close()
	names, err := f.Readdirnames(-1)
	if err != nil {
		return nil, err
	}
	slices.Sort(names)
	return names, nil
}
