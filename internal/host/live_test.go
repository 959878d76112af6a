package host_test

import (
	"net"
	"os"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/strongroom/strongroom/internal/host"
)

// thisMachine reads the real /proc and /sys.
func thisMachine(t testing.TB) *host.LiveHost {
	t.Helper()
	live, err := host.Live(host.LiveOptions{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { live.Close() })
	return live
}

func TestThisMachine(t *testing.T) {
	live := thisMachine(t)
	for _, p := range []string{"/proc/sys/kernel/osrelease", "/proc/self/status", "/proc/1/mountinfo", "/proc/meminfo"} {
		b, err := live.ReadFile(p)
		if err != nil || len(b) == 0 {
			t.Errorf("%s: %d bytes, %v", p, len(b), err)
		}
		want, err := os.ReadFile(p)
		must(t, err)
		if strings.HasSuffix(p, "osrelease") && string(b) != string(want) {
			t.Errorf("%s: %q, want %q", p, b, want)
		}
	}
	// /sys says one page of size for a file of a few bytes.
	b, err := live.ReadFile("/sys/kernel/mm/transparent_hugepage/enabled")
	if err == nil && (len(b) == 0 || len(b) > 100) {
		t.Errorf("/sys: %q", b)
	}
	if _, err := live.ReadFile("/proc/self/exe"); err == nil {
		t.Error("a magic link was followed out of the root")
	}
	if _, err := live.Swaps(); err != nil {
		t.Error(err)
	}
	if _, err := live.Modules(); err != nil {
		t.Error(err)
	}
	arguments, err := live.KernelArguments()
	if err != nil || len(arguments) == 0 {
		t.Errorf("arguments %q, %v", arguments, err)
	}
	mounts, err := live.Mounts()
	must(t, err)
	if !slices.ContainsFunc(mounts, func(m host.Mount) bool { return m.Point == "/" && m.FSType != "" && m.Device != "" }) {
		t.Errorf("no root among %d mounts", len(mounts))
	}
	p, err := live.Process(os.Getpid())
	must(t, err)
	if int(p.UIDs[1]) != os.Geteuid() || p.CapBounding == 0 || len(p.Limits) < 10 {
		t.Errorf("this process: %+v", p)
	}
}

func TestAListenerIsSeen(t *testing.T) {
	tcp, err := net.Listen("tcp", "127.0.0.1:0")
	must(t, err)
	defer tcp.Close()
	udp, err := net.ListenPacket("udp", "127.0.0.1:0")
	must(t, err)
	defer udp.Close()
	peer, err := net.Dial("udp", udp.LocalAddr().String())
	must(t, err)
	defer peer.Close()
	got, err := thisMachine(t).Listeners()
	must(t, err)
	has := func(protocol string, a net.Addr) bool {
		_, port, _ := net.SplitHostPort(a.String())
		return slices.ContainsFunc(got, func(l host.Listener) bool {
			return l.Protocol == protocol && l.Address == "127.0.0.1" && port == strconv.Itoa(int(l.Port)) && int(l.UID) == os.Geteuid()
		})
	}
	if !has("tcp", tcp.Addr()) || !has("udp", udp.LocalAddr()) {
		t.Errorf("not among %+v", got)
	}
	if has("udp", peer.LocalAddr()) {
		t.Error("a UDP socket with a peer is no listener")
	}
}

// BenchmarkLive is what one run of the checks reads, but for systemd.
func BenchmarkLive(b *testing.B) {
	if os.Geteuid() != 0 {
		b.Skip("reading nftables needs root")
	}
	b.ReportAllocs()
	for range b.N {
		live, err := host.Live(host.LiveOptions{})
		if err != nil {
			b.Fatal(err)
		}
		_, e1 := live.Swaps()
		_, e2 := live.Mounts()
		_, e3 := live.KernelArguments()
		_, e4 := live.Modules()
		_, e5 := live.Listeners()
		_, e6 := live.Process(os.Getpid())
		_, e7 := live.Ruleset(b.Context())
		for range 60 {
			if _, err := live.ReadFile("/proc/sys/kernel/osrelease"); err != nil {
				b.Fatal(err)
			}
		}
		for _, err := range []error{e1, e2, e3, e4, e5, e6, e7, live.Close()} {
			if err != nil {
				b.Fatal(err)
			}
		}
	}
	runtime.GC()
}
