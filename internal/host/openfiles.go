package host

import (
	"fmt"
	"os"
	"slices"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"
)

// OpenFile is a file that a process holds open.
type OpenFile struct {
	PID          int    `json:"pid"`
	Name         string `json:"name"` // of the process
	ControlGroup string `json:"control_group"`
	Path         string `json:"path,omitempty"`       // as the process's mount namespace calls it
	Unreadable   string `json:"unreadable,omitempty"` // why the process's files could not be listed
}

// OpenFiles implements Host. The files of a process are known by the file system that they lie on, since a process in
// a mount namespace of its own may call the same file by another name; where the directory is part of a larger
// file system, their paths must do.
func (l *LiveHost) OpenFiles(dir string) ([]OpenFile, error) {
	device, own, err := l.deviceOf(dir)
	if err != nil {
		return nil, err
	}
	proc, pids, err := l.openProc()
	if err != nil {
		return nil, err
	}
	defer proc.close()
	out := []OpenFile{}
	for _, pid := range pids {
		b, err := proc.read(pid, "stat")
		if err != nil {
			if !gone(err) {
				out = append(out, OpenFile{PID: pid, Unreadable: err.Error()})
			}
			continue
		}
		stat, err := parseStat(b)
		if err != nil {
			return nil, fmt.Errorf("cannot parse /proc/%d/stat: %w", pid, err)
		}
		if stat.kernelThread || stat.dead {
			continue
		}
		paths, err := proc.openBelow(pid, dir, device, own)
		if len(paths) == 0 && (err == nil || gone(err)) {
			continue
		}
		f := OpenFile{PID: pid, Name: stat.name}
		if b, err := proc.read(pid, "cgroup"); err == nil {
			f.ControlGroup, _ = parseControlGroup(b) // empty belongs to no unit
		}
		if err != nil && !gone(err) {
			f.Unreadable = err.Error()
			out = append(out, f)
			continue
		}
		for _, p := range paths {
			f.Path = p
			out = append(out, f)
		}
	}
	return out, nil
}

// deviceOf gives the device that a directory lies on, and whether the directory is where it is mounted.
func (l *LiveHost) deviceOf(dir string) (device uint64, own bool, err error) {
	var at, above unix.Stat_t
	for path, st := range map[string]*unix.Stat_t{dir: &at, dir + "/..": &above} {
		fd, err := l.open("stat", path, unix.O_PATH|unix.O_DIRECTORY)
		if err != nil {
			return 0, false, err
		}
		err = unix.Fstat(fd, st)
		unix.Close(fd)
		if err != nil {
			return 0, false, &os.PathError{Op: "stat", Path: path, Err: err}
		}
	}
	return uint64(at.Dev), at.Dev != above.Dev, nil
}

// openBelow lists the files below dir that a process holds open.
func (d *procDir) openBelow(pid int, dir string, device uint64, own bool) ([]string, error) {
	name := strconv.Itoa(pid) + "/fd"
	fd, err := unix.Openat(d.fd, name, unix.O_RDONLY|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
	if err != nil {
		return nil, fmt.Errorf("fd: %w", err)
	}
	f := os.NewFile(uintptr(fd), name)
	defer f.Close()
	numbers, err := f.Readdirnames(-1)
	if err != nil {
		return nil, fmt.Errorf("fd: %w", err)
	}
	var mounts map[int]uint64
	if own {
		b, err := d.read(pid, "mountinfo")
		if err != nil {
			return nil, err
		}
		mounts = mountDevices(b)
	}
	var paths []string
	target := make([]byte, unix.PathMax)
	for _, number := range numbers {
		n, err := unix.Readlinkat(fd, number, target)
		if err != nil {
			if gone(err) {
				continue // closed meanwhile
			}
			return nil, fmt.Errorf("fd: %w", err)
		}
		path := printable(target[:n])
		if !strings.HasPrefix(path, "/") || strings.HasPrefix(path, "/memfd:") { // a socket, a pipe, memory
			continue
		}
		there := path == dir || strings.HasPrefix(path, dir+"/")
		if own && !there {
			if there, err = d.liesOn(pid, number, device, mounts); gone(err) {
				continue
			} else if err != nil {
				return nil, err
			}
		}
		if there {
			paths = append(paths, path)
		}
	}
	slices.Sort(paths)
	return slices.Compact(paths), nil
}

// liesOn reports whether an open file lies on a device. The mount that it was opened through tells, which takes no look
// at the file itself: mandatory access control keeps even us from that for some files. A file whose mount has gone from the
// process's namespace is looked at all the same.
func (d *procDir) liesOn(pid int, number string, device uint64, mounts map[int]uint64) (bool, error) {
	b, err := d.read(pid, "fdinfo/"+number)
	if err != nil {
		return false, err
	}
	for line := range strings.Lines(string(b)) {
		if id, ok := strings.CutPrefix(line, "mnt_id:"); ok {
			if n, err := strconv.Atoi(strings.TrimSpace(id)); err == nil {
				if on, known := mounts[n]; known {
					return on == device, nil
				}
			}
		}
	}
	var st unix.Stat_t
	if err := unix.Fstatat(d.fd, strconv.Itoa(pid)+"/fd/"+number, &st, 0); err != nil {
		return false, fmt.Errorf("fd/%s: %w", number, err)
	}
	return uint64(st.Dev) == device, nil
}

// mountDevices reads the first and third field of mountinfo: the id of the mount and its device. A line that
// cannot be read knows no mount, so that its files are looked at.
func mountDevices(b []byte) map[int]uint64 {
	out := map[int]uint64{}
	for line := range strings.Lines(string(b)) {
		fields := strings.SplitN(line, " ", 4)
		if len(fields) < 4 {
			continue
		}
		major, minor, _ := strings.Cut(fields[2], ":")
		id, e1 := strconv.Atoi(fields[0])
		ma, e2 := strconv.ParseUint(major, 10, 32)
		mi, e3 := strconv.ParseUint(minor, 10, 32)
		if e1 == nil && e2 == nil && e3 == nil {
			out[id] = unix.Mkdev(uint32(ma), uint32(mi))
		}
	}
	return out
}

// OpenFiles answers ErrNotRunning.
func (*RootTree) OpenFiles(string) ([]OpenFile, error) { return nil, ErrNotRunning }

// OpenFiles implements Host.
func (r *Recorder) OpenFiles(dir string) ([]OpenFile, error) {
	return recorded(r, "OpenFiles", dir, func() ([]OpenFile, error) { return r.host.OpenFiles(dir) })
}

// OpenFiles implements Host.
func (r *Recording) OpenFiles(dir string) ([]OpenFile, error) {
	return replayed[[]OpenFile](r, "OpenFiles", dir)
}
