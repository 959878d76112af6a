package host

import (
	"bytes"
	"context"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

const token = "hvs.CAESIJ2abcdefghijklmnop"

func TestProcesses(t *testing.T) {
	group := "0::/system.slice/x.service\n"
	l := procTree(t, map[string]string{
		"1/stat": "1 (systemd) S 0 1 1 0 -1 4194560 1 2\n", "1/status": status, "1/cgroup": "0::/init.scope\n", "1/cmdline": "/sbin/init\x00", "1/environ": "",
		// A kernel thread, and a process that has ended: nothing else of them is read.
		"2/stat": "2 (kthreadd) S 0 0 0 0 -1 2129984 0 0\n",
		"3/stat": "3 (done) Z 1 1 1 0 -1 4194560 0 0\n",
		// A name that tries to look like the end of the field, and one that writes to a terminal.
		"5/stat": "5 (a) R 9 (b\x1b[2J) S 1 5 5 0 -1 4194560 0 0\n", "5/status": status, "5/cgroup": group,
		"5/cmdline": "vault\x00operator\x00unseal\x00-address=x\x00cafebabe\x00", "5/environ": "A=1\x00VAULT_TOKEN=x\x00OTHER=" + token + "\x00",
		"6/stat": "6 (sh) S 1 5 5 0 -1 4194560 0 0\n", "6/status": status, "6/cgroup": "1:cpu:/\n", "6/cmdline": "sh\x00", "6/environ": "",
		"net/tcp": "", "self/stat": "",
	})
	got, err := l.Processes()
	if err != nil {
		t.Fatal(err)
	}
	want := []ProcessSummary{
		{PID: 1, Parent: 0, Name: "systemd", UID: 998, ControlGroup: "/init.scope"},
		{PID: 5, Parent: 1, Name: "a) R 9 (b?[2J", UID: 998, ControlGroup: "/system.slice/x.service", Environment: []string{"A", "OTHER", "VAULT_TOKEN"},
			Secrets: []string{"argument 4: an unseal key", "environment OTHER: a Vault token"}},
		{PID: 6, Parent: 1, Name: "sh", UID: 998, Unreadable: "cgroup: no unified control group"},
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
	for name, bad := range map[string]string{
		"no name": "7 S 1", "short": "7 (x) S 1 2", "parent": "7 (x) S a 1 1 1 1 1 1", "flags": "7 (x) S 1 1 1 1 1 -1 1", "order": "7 )x( S 1 1 1 1 1 1 1",
	} {
		if s, err := parseStat([]byte(bad)); err == nil {
			t.Errorf("%s: %+v", name, s)
		}
	}
}

func TestArgumentSecrets(t *testing.T) {
	for line, want := range map[string]string{
		"":                                         "",
		"/usr/bin/vault server -config=/x":         "",
		"vault operator unseal":                    "",
		"vault operator unseal -reset":             "",
		"/usr/bin/bao operator unseal 0123":        "argument 3: an unseal key",
		"vault login":                              "",
		"vault login -method=userpass username=a":  "",
		"vault login -method=ldap password=x":      "argument 3: a password",
		"vault login abc":                          "argument 2: a token",
		"vault login token=abc":                    "argument 2: a password",
		"curl -H X-Vault-Token:" + token:           "argument 2: a Vault token",
		"sh -c VAULT_TOKEN=" + token + " vault":    "argument 2: a Vault token",
		"other unseal 0123":                        "",
		"x s.abcdefghijklmnopqrstuvwx":             "argument 1: a Vault token",
		"x files.abcdefghijklmnopqrstuvwxyz012345": "",
	} {
		var arguments [][]byte
		for _, a := range strings.Fields(line) {
			arguments = append(arguments, []byte(a))
		}
		if got := strings.Join(argumentSecrets(arguments), "; "); got != want {
			t.Errorf("%q: %q, want %q", line, got, want)
		}
	}
}

// A real process: found with its secret's place and without its secret, its program with a digest that is remembered
// until the file changes, and its open files.
func TestARealProcess(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Skip("the processes of others need root")
	}
	dir := t.TempDir()
	program, data := filepath.Join(dir, "program"), filepath.Join(dir, "data")
	content, err := os.ReadFile("/bin/sleep")
	if err != nil {
		t.Skip(err)
	}
	for _, err := range []error{os.WriteFile(program, content, 0o755), os.Mkdir(data, 0o700), os.WriteFile(filepath.Join(data, "raft.db"), nil, 0o600)} {
		if err != nil {
			t.Fatal(err)
		}
	}
	held, err := os.Open(filepath.Join(data, "raft.db"))
	if err != nil {
		t.Fatal(err)
	}
	defer held.Close()
	cmd := exec.Command(program, "60")
	cmd.Env = []string{"BAO_TOKEN=" + token}
	cmd.ExtraFiles = []*os.File{held}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	defer func() { _ = cmd.Process.Kill(); _ = cmd.Wait() }()
	pid := cmd.Process.Pid

	digests := &Digests{}
	live := func() *LiveHost {
		l, err := Live(LiveOptions{Digests: digests})
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { l.Close() })
		return l
	}
	processes, err := live().Processes()
	if err != nil {
		t.Fatal(err)
	}
	i := slices.IndexFunc(processes, func(p ProcessSummary) bool { return p.PID == pid })
	if i < 0 {
		t.Fatalf("process %d is not among %d", pid, len(processes))
	}
	if p := processes[i]; p.Parent != os.Getpid() || !slices.Equal(p.Environment, []string{"BAO_TOKEN"}) ||
		!slices.Equal(p.Secrets, []string{"environment BAO_TOKEN: a Vault token"}) || p.Unreadable != "" {
		t.Errorf("%+v", p)
	}
	// In a process namespace of its own a test sees no thread of the kernel, and 2 is anybody.
	if name, _ := os.ReadFile("/proc/2/comm"); string(name) == "kthreadd\n" && slices.ContainsFunc(processes, func(p ProcessSummary) bool { return p.PID == 2 }) {
		t.Error("kthreadd is no process of user space")
	}
	if full, err := live().Process(pid); err != nil || !full.Dumpable || full.ControlGroup == "" || full.Namespaces["mnt"] == "" || full.CoredumpFilter == 0 {
		t.Errorf("%+v, %v", full, err)
	}

	files, err := live().OpenFiles(data)
	if err != nil {
		t.Fatal(err)
	}
	holders := map[int]string{}
	for _, f := range files {
		if f.Path != "" { // PID 1 of a sandbox may be closed to root
			holders[f.PID] = f.Path
		}
	}
	if want := map[int]string{pid: held.Name(), os.Getpid(): held.Name()}; !cmp.Equal(holders, want) {
		t.Errorf("holders %v, want %v", holders, want)
	}

	runs := func(want Executable) {
		t.Helper()
		if e, err := live().Executable(pid); err != nil || e != want {
			t.Errorf("%+v, %v; want %+v", e, err, want)
		}
	}
	runs(Executable{Path: program, OnDisk: true})
	first, err := live().ExecutableDigest(pid)
	if err != nil || len(first) != 64 {
		t.Errorf("digest %q, %v", first, err)
	}
	if sum, err := live().Digest(program); err != nil || sum != first {
		t.Errorf("digest %q, %v", sum, err)
	}
	if len(digests.known) != 1 {
		t.Errorf("%d files were read, not one", len(digests.known))
	}
	// Another file at the same path, as an upgrade leaves it: the process runs the old one.
	if err := os.Rename(program, program+".old"); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(program, append(content, 0), 0o755); err != nil {
		t.Fatal(err)
	}
	runs(Executable{Path: program + ".old", OnDisk: true})
	if err := os.Remove(program + ".old"); err != nil {
		t.Fatal(err)
	}
	runs(Executable{Path: program + ".old", Deleted: true})
	if sum, err := live().ExecutableDigest(pid); err != nil || sum != first {
		t.Errorf("the file that runs has digest %q, %v", sum, err)
	}
	if sum, err := live().Digest(program); err != nil || sum == first {
		t.Errorf("another file has the digest of the old one: %q, %v", sum, err)
	}
}

// The kernel gives the files of a process whose account cannot read its program to root.
func TestAProgramThatCannotBeReadIsNotDumpable(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Skip("another account needs root")
	}
	dir := t.TempDir()
	for p := dir; p != "/tmp" && p != "/"; p = filepath.Dir(p) {
		if err := os.Chmod(p, 0o711); err != nil {
			t.Fatal(err)
		}
	}
	program := filepath.Join(dir, "program")
	content, err := os.ReadFile("/bin/sleep")
	if err != nil {
		t.Skip(err)
	}
	if err := os.WriteFile(program, content, 0o711); err != nil {
		t.Fatal(err)
	}
	// By way of a shell: the exec is then one of the account itself, as it is under systemd.
	cmd := exec.Command("/bin/sh", "-c", "exec "+program+" 60")
	cmd.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: 65534, Gid: 65534}}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	defer func() { _ = cmd.Process.Kill(); _ = cmd.Wait() }()
	l, err := Live(LiveOptions{})
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	for deadline := time.Now().Add(5 * time.Second); ; time.Sleep(5 * time.Millisecond) {
		p, err := l.Process(cmd.Process.Pid)
		if err != nil {
			t.Fatal(err)
		}
		if p.Name == "program" {
			if p.Dumpable {
				t.Error("it is dumpable")
			}
			return
		}
		if time.Now().After(deadline) {
			t.Fatalf("still %s", p.Name)
		}
	}
}

func TestClockOfThisMachine(t *testing.T) {
	l, err := Live(LiveOptions{})
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	c, err := l.Clock()
	if err != nil || c.MaxErrorMicroseconds <= 0 {
		t.Errorf("%+v, %v", c, err)
	}
}

// Who may not ask the kernel asks the service.
func TestClockService(t *testing.T) {
	dir := t.TempDir()
	listener, err := net.Listen("unix", filepath.Join(dir, "clock"))
	if err != nil {
		t.Fatal(err)
	}
	served := make(chan error, 1)
	ctx, stop := context.WithCancel(t.Context())
	go func() { served <- ServeClock(ctx, listener) }()
	for range 2 {
		conn, err := net.Dial("unix", listener.Addr().String())
		if err != nil {
			t.Fatal(err)
		}
		c, err := decodeClock(conn)
		if err != nil || c.MaxErrorMicroseconds <= 0 {
			t.Errorf("%+v, %v", c, err)
		}
		conn.Close()
	}
	// A service that does not end when it is asked to holds up the node's shutdown.
	stop()
	if err := <-served; err != nil {
		t.Errorf("asked to stop: %v", err)
	}
	if err := ServeClock(t.Context(), listener); err == nil {
		t.Error("it serves without a listener")
	}
	for _, bad := range []string{"", "{", `{"error":"operation not permitted"}`, `{"other":1}`, "[]"} {
		if c, err := decodeClock(strings.NewReader(bad)); err == nil {
			t.Errorf("%q: %+v", bad, c)
		}
	}
}

func FuzzDecodeClock(f *testing.F) {
	f.Add([]byte(`{"synchronised":true,"max_error_us":31000,"estimated_error_us":7}`))
	f.Fuzz(func(_ *testing.T, b []byte) { _, _ = decodeClock(bytes.NewReader(b)) })
}

func TestATreeDoesNotRun(t *testing.T) {
	tree, err := Tree(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	defer tree.Close()
	for name, ask := range map[string]func() error{
		"Processes":      func() error { _, err := tree.Processes(); return err },
		"Executable":     func() error { _, err := tree.Executable(1); return err },
		"Digest of it":   func() error { _, err := tree.ExecutableDigest(1); return err },
		"OpenFiles":      func() error { _, err := tree.OpenFiles("/"); return err },
		"Clock":          func() error { _, err := tree.Clock(); return err },
		"Virtualization": func() error { _, err := tree.Virtualization(context.Background()); return err },
	} {
		if err := ask(); err != ErrNotRunning {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestTier(t *testing.T) {
	for word, want := range map[string]string{"": "metal", "kvm": "vm", "amazon": "vm", "qemu": "vm", "docker": "container", "wsl": "container", "new-word": "vm"} {
		if got := Tier(word); got != want {
			t.Errorf("%q: %s, want %s", word, got, want)
		}
	}
}

// BenchmarkProcesses reads a /proc of 300 processes, which is twenty times what a node has.
func BenchmarkProcesses(b *testing.B) {
	if os.Geteuid() != 0 {
		b.Skip("the processes of others need root")
	}
	for range 300 {
		cmd := exec.Command("/bin/sleep", "300")
		if err := cmd.Start(); err != nil {
			b.Fatal(err)
		}
		b.Cleanup(func() { _ = cmd.Process.Kill(); _ = cmd.Wait() })
	}
	b.ReportAllocs()
	b.ResetTimer()
	for b.Loop() {
		l, err := Live(LiveOptions{})
		if err != nil {
			b.Fatal(err)
		}
		p, err := l.Processes()
		if err != nil || len(p) < 300 {
			b.Fatalf("%d processes, %v", len(p), err)
		}
		l.Close()
	}
}

func FuzzStat(f *testing.F) {
	f.Add([]byte("5 (a) R 9 (b) S 1 5 5 0 -1 4194560 0 0\n"))
	if b, err := os.ReadFile("/proc/self/stat"); err == nil {
		f.Add(b)
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		if s, err := parseStat(b); err == nil && strings.ContainsAny(s.name, "\n\x1b") {
			t.Fatalf("%q", s.name)
		}
	})
}

// The hand-written scan finds what the expression finds, by which captures are redacted.
func FuzzHoldsToken(f *testing.F) {
	for _, s := range []string{"", token, "x" + token, "a.s.abcdefghijklmnopqrstuvwx", "hvs.", "_hvs.aaaaaaaaaaaaaaaaaaaaaaaa", "hvb.-----_____-----_____", "hvs.s.b.r."} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		if got, want := holdsToken(b), vaultToken().Match(b); got != want {
			t.Fatalf("%q: %v, the expression says %v", b, got, want)
		}
	})
}

// On a file system of its own, files are found by it whatever their process calls them.
func TestOpenFilesOfAFileSystem(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Skip("mounting needs root")
	}
	dir, elsewhere := t.TempDir(), t.TempDir()
	if err := syscall.Mount("none", dir, "tmpfs", 0, "size=64k"); err != nil {
		t.Skip(err)
	}
	defer syscall.Unmount(dir, syscall.MNT_DETACH)
	if err := syscall.Mount(dir, elsewhere, "", syscall.MS_BIND, ""); err != nil {
		t.Skip(err)
	}
	defer syscall.Unmount(elsewhere, syscall.MNT_DETACH)
	held, err := os.Create(filepath.Join(elsewhere, "vault.db"))
	if err != nil {
		t.Fatal(err)
	}
	defer held.Close()
	l, err := Live(LiveOptions{})
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	look := func() (found bool) {
		t.Helper()
		files, err := l.OpenFiles(dir)
		if err != nil {
			t.Fatal(err)
		}
		for _, f := range files {
			if f.Path != "" && f.PID != os.Getpid() {
				t.Errorf("not ours: %+v", f)
			}
			found = found || f.PID == os.Getpid() && f.Path != ""
		}
		return found
	}
	if !look() {
		t.Error("by another name it is not found")
	}
	if err := syscall.Unmount(elsewhere, syscall.MNT_DETACH); err != nil {
		t.Fatal(err)
	}
	if !look() {
		t.Error("with its mount gone it is not found")
	}
	held.Close()
	if look() {
		t.Error("found when closed")
	}
}

func FuzzMountDevices(f *testing.F) {
	f.Add([]byte("34 22 254:4 / /var/lib/vault rw,nosuid - ext4 /dev/vda4 rw\n"))
	if b, err := os.ReadFile("/proc/self/mountinfo"); err == nil {
		f.Add(b)
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		if n := len(mountDevices(b)); n > bytes.Count(b, []byte{10})+1 {
			t.Fatalf("%d mounts in %q", n, b)
		}
	})
}

// No value leaves: neither of a name that is too long nor of an environment that a process has overwritten.
func FuzzEnvironment(f *testing.F) {
	f.Add([]byte("A=b\x00B=" + token + "\x00"))
	f.Add([]byte("no assignment\x00=\x00A"))
	f.Fuzz(func(t *testing.T, b []byte) {
		for _, name := range environmentNames(b, map[string]string{}) {
			if vaultToken().MatchString(name) || !bytes.ContainsRune(b, '=') {
				t.Fatalf("%q of %q", name, b)
			}
		}
		for _, where := range append(environmentSecrets(b), argumentSecrets(splitZero(b))...) {
			if vaultToken().MatchString(where) {
				t.Fatalf("%q of %q", where, b)
			}
		}
	})
}
