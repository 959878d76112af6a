package main

import (
	"bytes"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/strongroom/strongroom/internal/check/checktest"
	"github.com/strongroom/strongroom/internal/telemetry"
)

// traced are the system calls that start a program or change a file system.
var traced = []string{
	"execve", "execveat", "fork", "vfork", "clone", "clone3", "open", "openat", "openat2", "creat", "rename", "renameat", "renameat2",
	"unlink", "unlinkat", "rmdir", "mkdir", "mkdirat", "mknod", "mknodat", "symlink", "symlinkat", "link", "linkat", "truncate", "ftruncate",
	"fallocate", "chmod", "fchmod", "fchmodat", "chown", "fchown", "lchown", "fchownat", "setxattr", "lsetxattr", "fsetxattr", "utimensat",
	"memfd_create", "mount", "umount2", "move_mount", "init_module", "finit_module", "ptrace", "kill", "sethostname",
}

// TestGateLeavesNoTrace runs what the gate runs, with its every system call watched: no program is started,
// no process is forked, and nothing is written outside /run/hostcheck. The journal is a socket; its client
// would write a file in /dev/shm for an entry beyond a datagram, which telemetry never sends.
func TestGateLeavesNoTrace(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Skip("the gate runs as root")
	}
	strace, err := exec.LookPath("strace")
	if err != nil {
		t.Skip("needs strace (make deps)")
	}
	dir := t.TempDir()
	binary := filepath.Join(dir, "hostcheck")
	build := exec.Command("go", "build", "-o", binary, ".")
	build.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := build.CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	j, err := checktest.Compile(t, checktest.Profile()).JSON()
	if err != nil {
		t.Fatal(err)
	}
	baseline := filepath.Join(dir, "baseline.json")
	if err := os.WriteFile(baseline, j, 0o644); err != nil {
		t.Fatal(err)
	}
	// systemd makes the gate's RuntimeDirectory before it starts it.
	published := filepath.Dir(telemetry.ReportPath)
	if err := os.Mkdir(published, 0o755); err != nil {
		t.Skipf("this machine has a gate of its own: %v", err)
	}
	t.Cleanup(func() { os.RemoveAll(published) })
	entries := journal(t)

	trace := filepath.Join(dir, "trace")
	cmd := exec.Command(strace, "-f", "-qq", "-s", "4096", "-o", trace, "-e", "trace=?"+strings.Join(traced, ",?"),
		binary, "verify", "--stage", "boot", "--publish", "--baseline", baseline)
	out, err := cmd.CombinedOutput()
	// This machine is no node: what counts is that it was judged.
	if code := cmd.ProcessState.ExitCode(); code != exitFail && code != exitUnknown || !bytes.Contains(out, []byte("at stage boot: ")) {
		t.Fatalf("%v\n%s", err, out)
	}
	if _, err := os.Stat(telemetry.ReportPath); err != nil {
		t.Error(err)
	}
	calls, err := os.ReadFile(trace)
	if err != nil {
		t.Fatal(err)
	}
	for _, complaint := range judgeTrace(string(calls), published) {
		t.Error(complaint)
	}
	if entries != nil && !strings.Contains(entries(), "STRONGROOM_VERDICT=") {
		t.Error("the verdict did not reach the journal")
	}
	for _, seen := range []string{"execve(", "/proc/", "/etc/passwd", "/run/hostcheck/.report."} {
		if !bytes.Contains(calls, []byte(seen)) {
			t.Errorf("%q is not in the trace: what was traced was not a check", seen)
		}
	}
}

// journal stands in for the system's journal on a machine that has none, and gives a function that
// tells what it was sent. With a journal of the machine's own it gives nil.
func journal(t *testing.T) func() string {
	t.Helper()
	const socket = "/run/systemd/journal/socket"
	if _, err := os.Stat(socket); err == nil {
		return nil
	}
	for _, dir := range []string{"/run/systemd", filepath.Dir(socket)} {
		if err := os.Mkdir(dir, 0o755); err == nil {
			t.Cleanup(func() { os.Remove(dir) })
		}
	}
	conn, err := net.ListenUnixgram("unixgram", &net.UnixAddr{Name: socket, Net: "unixgram"})
	if err != nil {
		t.Fatal(err)
	}
	var received strings.Builder
	done := make(chan struct{})
	go func() {
		defer close(done)
		buf := make([]byte, 1<<16)
		for {
			n, err := conn.Read(buf)
			if err != nil {
				return
			}
			received.Write(buf[:n])
		}
	}()
	stop := func() {
		conn.SetReadDeadline(time.Now().Add(time.Second)) // what was sent already is read first
		<-done
		conn.Close()
		os.Remove(socket)
	}
	once := sync.OnceFunc(stop)
	t.Cleanup(once)
	return func() string { once(); return received.String() }
}

var (
	call = regexp.MustCompile(`^\d+ +([a-z0-9_]+)\((.*)`)
	path = regexp.MustCompile(`"([^"]*)"`)
)

// judgeTrace lists what a trace holds that a check must not do. Calls that only read pass, and
// those that write pass below dir.
func judgeTrace(trace, dir string) []string {
	var bad []string
	started := 0
	for line := range strings.Lines(trace) {
		m := call.FindStringSubmatch(line)
		if m == nil {
			continue // "resumed", exit and signal lines
		}
		name, rest := m[1], m[2]
		switch name {
		case "execve":
			if started++; started == 1 {
				continue // its own start
			}
		case "clone", "clone3":
			if strings.Contains(rest, "CLONE_THREAD") {
				continue // a thread of the Go runtime
			}
		case "open", "openat", "openat2":
			if !writes.MatchString(rest) || below(dir, rest) {
				continue
			}
		case "fchmod":
			continue // of a descriptor: it was judged when it was opened for writing
		case "rename", "renameat", "renameat2", "unlink", "unlinkat", "chmod", "fchmodat":
			if below(dir, rest) {
				continue
			}
		}
		bad = append(bad, strings.TrimSpace(line))
	}
	if started == 0 {
		bad = append(bad, "the trace does not begin with the start of a program")
	}
	return bad
}

var writes = regexp.MustCompile(`O_(WRONLY|RDWR|CREAT|TRUNC|APPEND|TMPFILE)\b`)

// below says whether every path of a call lies in a directory.
func below(dir, call string) bool {
	paths := path.FindAllStringSubmatch(call, -1)
	for _, p := range paths {
		if clean := filepath.Clean(p[1]); !strings.HasPrefix(clean, dir+"/") {
			return false
		}
	}
	return len(paths) > 0
}

// The judge of the trace is judged too.
func TestJudgeTrace(t *testing.T) {
	const start = `7 execve("/x/hostcheck", ["hostcheck"], 0x0 /* 9 vars */) = 0` + "\n"
	for line, fine := range map[string]bool{
		`7 openat(AT_FDCWD, "/etc/passwd", O_RDONLY|O_CLOEXEC) = 3`:                                    true,
		`8 openat2(4, "/etc/passwd", {flags=O_RDONLY|O_CLOEXEC, resolve=RESOLVE_IN_ROOT}, 24) = 3`:     true,
		`7 openat(AT_FDCWD, "/run/hostcheck/.report.1", O_RDWR|O_CREAT|O_EXCL|O_CLOEXEC, 0600) = 3`:    true,
		`7 renameat(AT_FDCWD, "/run/hostcheck/.report.1", AT_FDCWD, "/run/hostcheck/report.json") = 0`: true,
		`7 clone(child_stack=0xc0, flags=CLONE_VM|CLONE_FS|CLONE_THREAD|CLONE_SYSVSEM) = 8`:            true,
		`8 <... openat resumed>) = 3`:                                         true,
		`7 execve("/bin/sh", ["sh"], 0x0 /* 9 vars */) = 0`:                   false,
		`7 execveat(3, "", ["sh"], NULL, AT_EMPTY_PATH) = 0`:                  false,
		`7 clone(child_stack=NULL, flags=CLONE_VM|CLONE_VFORK|SIGCHLD) = 8`:   false,
		`7 clone3({flags=CLONE_VM|CLONE_VFORK, exit_signal=SIGCHLD}, 88) = 8`: false,
		`7 vfork() = 8`: false,
		`7 openat(AT_FDCWD, "/proc/sys/kernel/kptr_restrict", O_WRONLY|O_CLOEXEC) = 3`:  false,
		`7 openat(AT_FDCWD, "/tmp/x", O_RDONLY|O_CREAT, 0600 <unfinished ...>`:          false,
		`7 openat(AT_FDCWD, "/run/hostcheck/../x", O_WRONLY|O_CREAT, 0600) = 3`:         false,
		`7 openat(AT_FDCWD, "/run/hostcheckx", O_WRONLY|O_CREAT, 0600) = 3`:             false,
		`7 openat(AT_FDCWD, "/dev/shm", O_RDWR|O_CLOEXEC|O_TMPFILE, 0600) = 3`:          false,
		`7 renameat(AT_FDCWD, "/run/hostcheck/.report.1", AT_FDCWD, "/etc/passwd") = 0`: false,
		`7 unlinkat(AT_FDCWD, "/etc/passwd", 0) = 0`:                                    false,
		`7 mkdirat(AT_FDCWD, "/tmp/x", 0755) = 0`:                                       false,
		`7 memfd_create("journal", MFD_ALLOW_SEALING) = 5`:                              false,
		`7 mount("proc", "/proc", "proc", 0, NULL) = 0`:                                 false,
	} {
		bad := judgeTrace(start+line+"\n", "/run/hostcheck")
		if (len(bad) == 0) != fine {
			t.Errorf("%s: judged %q", line, bad)
		}
	}
	if len(judgeTrace("", "/run/hostcheck")) == 0 {
		t.Error("an empty trace passes")
	}
}
