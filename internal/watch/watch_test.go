package watch

import (
	"context"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"testing"
	"time"

	bus "github.com/godbus/dbus/v5"
	"golang.org/x/sys/unix"

	"github.com/strongroom/strongroom/internal/host/hosttest"
)

const (
	listens = Source("listens")
	some    = Source("some")
)

// hears runs a source and gives what it says: that it listens, and that something has changed.
func hears(t *testing.T, listen source) <-chan Source {
	t.Helper()
	said := make(chan Source, 64)
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() { ended <- listen(ctx, func() { said <- listens }, func() { said <- some }) }()
	t.Cleanup(func() {
		cancel()
		select {
		case err := <-ended:
			if err == nil {
				t.Error("it ended without a reason")
			}
		case <-time.After(20 * time.Second):
			t.Error("it does not end")
		}
	})
	expect(t, said, listens)
	return said
}

func expect(t *testing.T, said <-chan Source, want Source) {
	t.Helper()
	select {
	case got := <-said:
		if got != want {
			t.Fatalf("heard %s, and not %s", got, want)
		}
	case <-time.After(20 * time.Second):
		t.Fatalf("heard nothing instead of %s", want)
	}
}

// still takes what is on its way, and wants nothing after it.
func still(t *testing.T, said <-chan Source) {
	t.Helper()
	time.Sleep(200 * time.Millisecond)
	for len(said) > 0 {
		<-said
	}
}

func needsRoot(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Skip("needs root: it mounts, and makes namespaces")
	}
}

func command(t *testing.T, argv ...string) {
	t.Helper()
	if out, err := exec.Command(argv[0], argv[1:]...).CombinedOutput(); err != nil {
		t.Fatalf("%q: %v: %s", argv, err, out)
	}
}

// namespaces gives a process that waits in mount and network namespaces of its own.
func namespaces(t *testing.T) (pid string) {
	t.Helper()
	needsRoot(t)
	waits := exec.Command("unshare", "--mount", "--net", "sh", "-c", "echo; exec sleep 600")
	out, err := waits.StdoutPipe()
	if err == nil {
		err = waits.Start()
	}
	if err == nil {
		_, err = out.Read(make([]byte, 1))
	}
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = waits.Process.Kill()
		_ = waits.Wait()
	})
	return fmt.Sprint(waits.Process.Pid)
}

func TestTable(t *testing.T) {
	pid, at := namespaces(t), t.TempDir()
	said := hears(t, table("/proc/"+pid+"/mountinfo"))
	for range 3 {
		command(t, "nsenter", "-t", pid, "--mount", "mount", "-t", "tmpfs", "tmpfs", at)
		expect(t, said, some)
		still(t, said)
		command(t, "nsenter", "-t", pid, "--mount", "umount", at)
		expect(t, said, some)
		still(t, said)
	}
}

func TestTableThatCannotBePolled(t *testing.T) {
	plain := filepath.Join(t.TempDir(), "plain")
	if err := os.WriteFile(plain, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	err := table(plain)(t.Context(), func() {}, func() {})
	if err == nil || !strings.Contains(err.Error(), plain) {
		t.Error(err)
	}
}

// inside has a source open its socket in the network namespace of a process.
func inside(pid string, listen source) source {
	return func(ctx context.Context, ready, changed func()) error {
		runtime.LockOSThread() // and never unlocked: the thread ends with the goroutine
		ns, err := os.Open("/proc/" + pid + "/ns/net")
		if err != nil {
			return err
		}
		defer ns.Close()
		if err := unix.Setns(int(ns.Fd()), unix.CLONE_NEWNET); err != nil {
			return err
		}
		return listen(ctx, ready, changed)
	}
}

func TestNftables(t *testing.T) {
	pid := namespaces(t)
	said := hears(t, inside(pid, nftables))
	for _, change := range []string{
		"add table inet strongroom",
		"add chain inet strongroom input { type filter hook input priority 0; policy drop; }",
		"add rule inet strongroom input accept",
		"add set inet strongroom peers { type ipv4_addr; }",
		"add element inet strongroom peers { 192.0.2.1 }",
		"flush ruleset",
	} {
		command(t, append([]string{"nsenter", "-t", pid, "--net", "nft"}, change)...)
		expect(t, said, some)
		still(t, said)
	}
}

func TestRoutes(t *testing.T) {
	pid := namespaces(t)
	said := hears(t, inside(pid, routes))
	for _, change := range []string{
		"link set lo up", "address add 192.0.2.1/24 dev lo", "route add 198.51.100.0/24 dev lo", "link set lo promisc on", "route delete 198.51.100.0/24",
	} {
		command(t, append([]string{"nsenter", "-t", pid, "--net", "ip"}, strings.Fields(change)...)...)
		expect(t, said, some)
		still(t, said)
	}
}

func TestFiles(t *testing.T) {
	dir := t.TempDir()
	file, listed, other := filepath.Join(dir, "file"), filepath.Join(dir, "listed"), filepath.Join(dir, "other")
	write := func(path, text string) {
		t.Helper()
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.Mkdir(listed, 0o700); err != nil {
		t.Fatal(err)
	}
	wanted := map[string]Source{file: Files, listed: Files, filepath.Join(dir, "none", "here"): Files}
	paths := NewPaths()
	paths.Set(wanted)
	said := make(chan Source, 64)
	hears(t, func(ctx context.Context, ready, _ func()) error {
		err := paths.listen(ctx, func() { said <- listens; ready() }, func(s Source) { said <- s })
		return err
	})
	expect(t, said, listens)
	step := func(what string, change func()) {
		t.Helper()
		change()
		expect(t, said, Files)
		still(t, said)
		_ = what
	}
	step("made", func() { write(file, "1") })
	step("written", func() { write(file, "2") })
	step("replaced", func() {
		write(other+".new", "3")
		if err := os.Rename(other+".new", file); err != nil {
			t.Fatal(err)
		}
	})
	step("written after it was replaced", func() { write(file, "4") })
	step("removed", func() { os.Remove(file) })
	step("an entry", func() { write(filepath.Join(listed, "new"), "") })
	write(other, "of no interest")
	select {
	case <-said:
		t.Error("told of what nobody asked for")
	case <-time.After(100 * time.Millisecond):
	}
	paths.Set(map[string]Source{other: Memory})
	for deadline := time.Now().Add(20 * time.Second); ; {
		write(other, "5")
		select {
		case got := <-said:
			if got != Memory {
				continue // of before
			}
			return
		case <-time.After(50 * time.Millisecond):
		}
		if time.Now().After(deadline) {
			t.Fatal("the new path is not listened to")
		}
	}
}

const setting = "/proc/sys/kernel/printk_ratelimit_burst"

// A setting of the kernel is written, and never replaced; and who listens may have a /proc of its own, as the agent has in its sandbox. Here PID 1 is a
// shell in namespaces of its own, which writes the setting when its child listens.
func TestSettingOfTheKernel(t *testing.T) {
	needsRoot(t)
	if os.Getenv("STRONGROOM_WATCH_ALONE") != "" {
		listenToSetting(t)
		return
	}
	if err := unix.Access(setting, unix.W_OK); err != nil {
		t.Skipf("%s: %v", setting, err)
	}
	const script = `mount -t proc proc /proc && value=$(cat "$1") || exit 1
unshare --mount sh -c 'mount -t proc proc /proc && exec "$0" -test.run "^TestSettingOfTheKernel$" -test.v' "$0" | while read -r line; do
	echo "$line"
	case $line in *"it listens"*) echo "$value" >"$1" ;; esac
done`
	alone := exec.Command("unshare", "--mount", "--pid", "--fork", "sh", "-c", script, os.Args[0], setting)
	alone.Env = append(os.Environ(), "STRONGROOM_WATCH_ALONE=1")
	if out, err := alone.CombinedOutput(); err != nil || !strings.Contains(string(out), "it has heard") {
		t.Errorf("%v: %s", err, out)
	}
}

func listenToSetting(t *testing.T) {
	paths := NewPaths()
	paths.Set(map[string]Source{setting: Files})
	said := hears(t, func(ctx context.Context, ready, changed func()) error {
		return paths.listen(ctx, ready, func(Source) { changed() })
	})
	fmt.Println("it listens")
	expect(t, said, some)
	fmt.Println("it has heard")
}

func TestUnits(t *testing.T) {
	socket := filepath.Join(t.TempDir(), "private")
	systemd := hosttest.ServeSystemd(t, socket, nil)
	said := hears(t, units(socket, "hostcheck.service"))
	changed := []any{"org.freedesktop.systemd1.Unit", map[string]bus.Variant{"ActiveState": bus.MakeVariant("failed")}, []string{}}
	// What is no change comes first: whoever takes it for one hears twice.
	systemd.Send("/org/freedesktop/systemd1/unit/hostcheck_2eservice", changes, changed...)
	systemd.Send("/org/freedesktop/systemd1", "org.freedesktop.systemd1.Manager.UnitNew", "a.service", bus.ObjectPath("/org/freedesktop/systemd1/unit/a_2eservice"))
	systemd.Send("/org/freedesktop/systemd1", reloading, true)
	systemd.Send("/org/freedesktop/systemd1/unit/chrony_2eservice", changes, changed...)
	expect(t, said, some)
	time.Sleep(50 * time.Millisecond)
	if len(said) > 0 {
		t.Error("told of what is no change")
	}
	systemd.Send("/org/freedesktop/systemd1", reloading, false)
	expect(t, said, some)
}

func TestUnitsWithoutSystemd(t *testing.T) {
	socket := filepath.Join(t.TempDir(), "private")
	systemd := hosttest.ServeSystemd(t, socket, nil)
	ended := make(chan error, 1)
	go func() { ended <- units(socket, "hostcheck.service")(t.Context(), func() {}, func() {}) }()
	systemd.Send("/org/freedesktop/systemd1", reloading, true)
	systemd.HangUp()
	select {
	case err := <-ended:
		if err == nil {
			t.Error("no reason")
		}
	case <-time.After(20 * time.Second):
		t.Fatal("it waits for a systemd that has gone")
	}
	// One that accepts and says nothing.
	mute := filepath.Join(t.TempDir(), "mute")
	listener, err := net.Listen("unix", mute)
	if err != nil {
		t.Fatal(err)
	}
	defer listener.Close()
	began := time.Now()
	if err := units(mute, "x.service")(t.Context(), func() {}, func() {}); err == nil || time.Since(began) > 2*answerTime {
		t.Errorf("after %s: %v", time.Since(began), err)
	}
	if err := units(filepath.Join(t.TempDir(), "none"), "x.service")(t.Context(), func() {}, func() {}); err == nil {
		t.Error("no reason")
	}
}
