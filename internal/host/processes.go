package host

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"path"
	"slices"
	"strconv"

	"golang.org/x/sys/unix"
)

// ProcessSummary is one process of user space, as far as it matters that it is there.
type ProcessSummary struct {
	PID          int      `json:"pid"`
	Parent       int      `json:"parent"` // 2 is kthreadd: the kernel itself started the program
	Name         string   `json:"name"`   // as the process calls itself; what does not print is "?"
	UID          uint64   `json:"uid"`    // effective
	ControlGroup string   `json:"control_group"`
	Environment  []string `json:"environment,omitempty"` // names alone, sorted
	// Secrets says where something lies that has the shape of a secret: "argument 3: a Vault token",
	// "environment X: a Vault token". Never the secret.
	Secrets []string `json:"secrets,omitempty"`
	// Unreadable says what of this process could not be read, and why.
	Unreadable string `json:"unreadable,omitempty"`
}

// Processes implements Host. One reading serves all controls of a run.
func (l *LiveHost) Processes() ([]ProcessSummary, error) {
	v, err := l.processes.get(l.readProcesses)
	return slices.Clone(v), err
}

// Processes answers ErrNotRunning.
func (*RootTree) Processes() ([]ProcessSummary, error) { return nil, ErrNotRunning }

// Processes implements Host.
func (r *Recorder) Processes() ([]ProcessSummary, error) {
	return recorded(r, "Processes", "", r.host.Processes)
}

// Processes implements Host.
func (r *Recording) Processes() ([]ProcessSummary, error) {
	return replayed[[]ProcessSummary](r, "Processes", "")
}

func (l *LiveHost) readProcesses() ([]ProcessSummary, error) {
	proc, pids, err := l.openProc()
	if err != nil {
		return nil, err
	}
	defer proc.close()
	out := make([]ProcessSummary, 0, 32)
	names := map[string]string{}
	for _, pid := range pids {
		p, ok, err := proc.summary(pid, names)
		if err != nil {
			p.Unreadable = err.Error()
		}
		if ok {
			out = append(out, p)
		}
	}
	return out, nil
}

// procDir reads files of many processes. It holds /proc open, since resolving each path from the root
// twice, as ReadFile does, would cost more than the reading; and it has one buffer for all.
type procDir struct {
	fd  int
	buf []byte
}

// openProc opens /proc and lists the process ids in it.
func (l *LiveHost) openProc() (*procDir, []int, error) {
	fd, err := l.open("open", "/proc", unix.O_RDONLY|unix.O_DIRECTORY)
	if err != nil {
		return nil, nil, err
	}
	listing, err := unix.Openat(fd, ".", unix.O_RDONLY|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
	if err != nil {
		unix.Close(fd)
		return nil, nil, fmt.Errorf("cannot list /proc: %w", err)
	}
	f := os.NewFile(uintptr(listing), "/proc")
	defer f.Close()
	names, err := f.Readdirnames(-1)
	if err != nil {
		unix.Close(fd)
		return nil, nil, fmt.Errorf("cannot list /proc: %w", err)
	}
	var pids []int
	for _, name := range names {
		if pid, err := strconv.Atoi(name); err == nil && pid > 0 {
			pids = append(pids, pid)
		}
	}
	slices.Sort(pids)
	return &procDir{fd: fd, buf: make([]byte, 16<<10)}, pids, nil
}

func (d *procDir) close() { unix.Close(d.fd) }

// read gives a file of a process. The bytes are good until the next read.
func (d *procDir) read(pid int, name string) ([]byte, error) {
	fd, err := unix.Openat(d.fd, strconv.Itoa(pid)+"/"+name, unix.O_RDONLY|unix.O_CLOEXEC|unix.O_NOFOLLOW, 0)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", name, err)
	}
	defer unix.Close(fd)
	for n := 0; ; {
		if n == len(d.buf) {
			if n >= MaxFile {
				return nil, fmt.Errorf("%s: %w", name, ErrTooLarge)
			}
			d.buf = append(d.buf, make([]byte, n)...)
		}
		m, err := unix.Read(fd, d.buf[n:])
		switch {
		case errors.Is(err, unix.EINTR):
		case err != nil:
			return nil, fmt.Errorf("%s: %w", name, err)
		case m == 0:
			return d.buf[:n], nil
		default:
			n += m
		}
	}
}

// gone recognises a process that ended while it was looked at.
func gone(err error) bool { return errors.Is(err, unix.ENOENT) || errors.Is(err, unix.ESRCH) }

// summary reads one process. It is not ok when there is nothing to tell: a kernel thread, or a process that
// has ended. With an error it is ok, since somebody is there.
func (d *procDir) summary(pid int, names map[string]string) (ProcessSummary, bool, error) {
	p := ProcessSummary{PID: pid}
	b, err := d.read(pid, "stat")
	if err != nil {
		return p, !gone(err), err
	}
	stat, err := parseStat(b)
	if err != nil {
		return p, true, fmt.Errorf("stat: %w", err)
	}
	if stat.kernelThread || stat.dead {
		return p, false, nil
	}
	p.Name, p.Parent = stat.name, stat.parent
	if b, err = d.read(pid, "status"); err != nil {
		return p, !gone(err), err
	}
	if p.UID, err = effectiveUID(b); err != nil {
		return p, true, fmt.Errorf("status: %w", err)
	}
	if b, err = d.read(pid, "cgroup"); err != nil {
		return p, !gone(err), err
	}
	if p.ControlGroup, err = parseControlGroup(b); err != nil {
		return p, true, fmt.Errorf("cgroup: %w", err)
	}
	if b, err = d.read(pid, "cmdline"); err != nil {
		return p, !gone(err), err
	}
	p.Secrets = argumentSecrets(splitZero(b))
	if b, err = d.read(pid, "environ"); err != nil {
		return p, !gone(err), err
	}
	p.Environment = environmentNames(b, names)
	p.Secrets = append(p.Secrets, environmentSecrets(b)...)
	return p, true, nil
}

// stat is what is read of /proc/PID/stat.
type stat struct {
	name         string
	parent       int
	kernelThread bool
	dead         bool
}

// parseStat reads "pid (name) state ppid pgrp session tty tpgid flags …". The name may hold blanks and
// parentheses, so it ends at the last one.
func parseStat(b []byte) (stat, error) {
	const kthread = 0x00200000 // PF_KTHREAD of the kernel's sched.h; execve clears it
	begin, end := bytes.IndexByte(b, '('), bytes.LastIndexByte(b, ')')
	if begin < 0 || end < begin {
		return stat{}, errors.New("no name in parentheses")
	}
	fields := bytes.Fields(b[end+1:])
	if len(fields) < 7 || len(fields[0]) != 1 {
		return stat{}, errors.New("too few fields")
	}
	parent, err := strconv.Atoi(string(fields[1]))
	if err != nil {
		return stat{}, fmt.Errorf("parent: %w", err)
	}
	flags, err := strconv.ParseUint(string(fields[6]), 10, 64)
	if err != nil {
		return stat{}, fmt.Errorf("flags: %w", err)
	}
	return stat{
		name: printable(b[begin+1 : end]), parent: parent,
		kernelThread: flags&kthread != 0, dead: bytes.ContainsAny(fields[0], "ZXx"),
	}, nil
}

// effectiveUID reads the second id of the row Uid of /proc/PID/status.
func effectiveUID(b []byte) (uint64, error) {
	for line := range bytes.Lines(b) {
		if rest, ok := bytes.CutPrefix(line, []byte("Uid:")); ok {
			if ids := bytes.Fields(rest); len(ids) == 4 {
				return strconv.ParseUint(string(ids[1]), 10, 32)
			}
		}
	}
	return 0, errors.New("no row Uid with four ids")
}

// argumentSecrets finds what should not be on a command line, where every process of the machine can
// read it: tokens by their shape, and the secrets that the CLI of Vault and OpenBao takes as arguments.
func argumentSecrets(arguments [][]byte) []string {
	var out []string
	verb := ""
	for i, a := range arguments {
		what := ""
		switch {
		case holdsToken(a):
			what = "a Vault token"
		case verb == "unseal" && len(a) > 0 && a[0] != '-':
			what = "an unseal key"
		case verb == "login" && (bytes.HasPrefix(a, []byte("password=")) || bytes.HasPrefix(a, []byte("token="))):
			what = "a password"
		case verb == "login" && len(a) > 0 && a[0] != '-' && !bytes.ContainsRune(a, '='):
			what = "a token"
		}
		if what != "" {
			out = append(out, fmt.Sprintf("argument %d: %s", i, what))
		}
		if i == 0 {
			continue
		}
		if program := path.Base(string(arguments[0])); (program == "vault" || program == "bao") && (string(a) == "unseal" || string(a) == "login") {
			verb = string(a)
		}
	}
	return out
}

// environmentSecrets finds tokens in the values of variables, whatever the variables are called.
func environmentSecrets(environ []byte) []string {
	if !holdsToken(environ) {
		return nil
	}
	var out []string
	for _, item := range splitZero(environ) {
		if name, value, ok := bytes.Cut(item, []byte{'='}); ok && holdsToken(value) {
			out = append(out, "environment "+redactText(printable(name))+": a Vault token")
		}
	}
	return out
}

// holdsToken is the expression vaultToken written out: it looks at each dot and reads no other byte twice. Most
// of what it is given holds no token, every ten seconds again.
func holdsToken(b []byte) bool {
	for from := 0; ; {
		dot := bytes.IndexByte(b[from:], '.')
		if dot < 0 {
			return false
		}
		dot += from
		from = dot + 1
		start, fewest := 0, 0
		switch {
		case dot >= 3 && b[dot-3] == 'h' && b[dot-2] == 'v' && isKind(b[dot-1]):
			start, fewest = dot-3, 20
		case dot >= 1 && isKind(b[dot-1]):
			start, fewest = dot-1, 24
		default:
			continue
		}
		if start > 0 && isWord(b[start-1]) {
			continue
		}
		n := 0
		for _, c := range b[dot+1:] {
			if !(isWord(c) && c != '_' || fewest == 20 && (c == '_' || c == '-')) {
				break
			}
			if n++; n == fewest {
				return true
			}
		}
	}
}

func isKind(c byte) bool { return c == 's' || c == 'b' || c == 'r' }

func isWord(c byte) bool {
	return c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c >= '0' && c <= '9' || c == '_'
}
