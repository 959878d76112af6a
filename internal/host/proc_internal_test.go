package host

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// procTree is a /proc of files that a test wrote.
func procTree(t *testing.T, files map[string]string) *LiveHost {
	t.Helper()
	dir := t.TempDir()
	for p, content := range files {
		p = filepath.Join(dir, "proc", p)
		if err := os.MkdirAll(filepath.Dir(p), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(p, []byte(content), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	l, err := Live(LiveOptions{Root: dir})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	return l
}

func TestKernelArguments(t *testing.T) {
	for _, c := range []struct {
		line string
		want []string
	}{
		{"", nil},
		{"\n", nil},
		{"quiet ro\n", []string{"quiet", "ro"}},
		{"  a=1\t b=2  \n", []string{"a=1", "b=2"}},
		{`dyndbg="file foo.c +p" x`, []string{"dyndbg=file foo.c +p", "x"}},
		{`"dyndbg=file foo.c +p" x`, []string{"dyndbg=file foo.c +p", "x"}},
		{`a="" b`, []string{"a=", "b"}},
		{`a=b"c d"e f`, []string{`a=b"c d"e`, "f"}},
		{`open="never closed x`, []string{"open=never closed x"}},
		{"lockdown=none -- lockdown=confidentiality", []string{"lockdown=none"}},
		{`lockdown=none "--" x`, []string{"lockdown=none"}},
	} {
		if got := parseKernelArguments([]byte(c.line)); !slices.Equal(got, c.want) {
			t.Errorf("%q: got %q, want %q", c.line, got, c.want)
		}
	}
}

func TestMounts(t *testing.T) {
	l := procTree(t, map[string]string{"1/mountinfo": `22 1 254:0 / / ro,relatime shared:1 - squashfs /dev/mapper/root ro,errors=continue
30 22 254:3 / /var/lib/vault rw,nosuid,nodev,noexec,relatime shared:2 master:1 - ext4 /dev/mapper/vault rw
31 22 0:5 / /mnt/with\040blank ro,relatime - tmpfs tmp\134fs rw,size=10k
`})
	got, err := l.Mounts()
	if err != nil {
		t.Fatal(err)
	}
	want := []Mount{
		{"/", "squashfs", "/dev/mapper/root", "254:0", []string{"errors=continue", "relatime", "ro"}},
		{"/var/lib/vault", "ext4", "/dev/mapper/vault", "254:3", []string{"nodev", "noexec", "nosuid", "relatime", "rw"}},
		{"/mnt/with blank", "tmpfs", `tmp\fs`, "0:5", []string{"relatime", "ro", "size=10k"}},
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
}

func TestSwaps(t *testing.T) {
	l := procTree(t, map[string]string{"swaps": "Filename\t\t\t\tType\t\tSize\t\tUsed\t\tPriority\n/swap\\040file                           file\t\t1048572\t\t0\t\t-2\n/dev/zram0                              partition\t4096\t0\t100\n"})
	got, err := l.Swaps()
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff([]Swap{{"/swap file", "file", 1048572}, {"/dev/zram0", "partition", 4096}}, got); diff != "" {
		t.Error(diff)
	}
}

const socketHeader = "  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode ref pointer drops\n"

func TestListeners(t *testing.T) {
	files := map[string]string{
		"1/net/tcp": socketHeader +
			"   0: 00000000:2008 00000000:0000 0A 00000000:00000000 00:00000000 00000000   999        0 1 1 0 100 0 0 10 0\n" +
			"   1: 0100007F:2652 00000000:0000 0A 00000000:00000000 00:00000000 00000000     0        0 2 1 0 100 0 0 10 0\n" +
			"   2: 0100007F:9C40 0100007F:2008 01 00000000:00000000 00:00000000 00000000     0        0 3 1 0 100 0 0 10 0\n",
		"1/net/tcp6": socketHeader +
			"   0: 00000000000000000000000000000000:2009 00000000000000000000000000000000:0000 0A 00000000:00000000 00:00000000 00000000   999        0 4 1 0 100 0 0 10 0\n",
		"1/net/udp": socketHeader +
			"   0: 0100007F:0143 00000000:0000 07 00000000:00000000 00:00000000 00000000   102        0 5 2 0 0\n" +
			"   1: 0A00000A:0044 0200000A:0043 01 00000000:00000000 00:00000000 00000000   101        0 6 2 0 0\n",
	}
	got, err := procTree(t, files).Listeners()
	if err != nil {
		t.Fatal(err)
	}
	want := []Listener{{"tcp", "0.0.0.0", 8200, 999}, {"tcp", "::", 8201, 999}, {"tcp", "127.0.0.1", 9810, 0}, {"udp", "127.0.0.1", 323, 102}}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
	delete(files, "1/net/tcp")
	if _, err := procTree(t, files).Listeners(); err == nil {
		t.Error("no IPv4 sockets to read, and no error")
	}
}

const status = "Name:\tvault\nUmask:\t0077\nState:\tS (sleeping)\nUid:\t999\t998\t997\t996\nGid:\t9\t8\t7\t6\nGroups:\t4 24 \nVmSize:\t   900 kB\nVmLck:\t    12 kB\nVmSwap:\t     3 kB\nCapInh:\t0000000000000001\nCapPrm:\t0000000000000002\nCapEff:\t0000000000004000\nCapBnd:\t000001ffffffffff\nCapAmb:\t0000000000000008\nNoNewPrivs:\t1\nSeccomp:\t2\n"

const limits = `Limit                     Soft Limit           Hard Limit           Units     
Max cpu time              unlimited            unlimited            seconds   
Max core file size        0                    unlimited            bytes     
Max realtime timeout      unlimited            unlimited            us        
Max open files            1024                 524288               files     
`

func TestProcess(t *testing.T) {
	l := procTree(t, map[string]string{
		"7/status": status, "7/limits": limits, "7/cgroup": "1:name=other:/x\n0::/system.slice/vault.service\n", "7/oom_score_adj": "-900\n",
		"7/coredump_filter": "00000033\n", "7/cmdline": "/usr/bin/vault\x00server\x00-token=hvs.abcdefghijklmnopqrstuvwxyz\x00",
		"7/environ": "PATH=/bin\x00VAULT_TOKEN=secret\x00PATH=/usr/bin\x00no assignment\x00",
	})
	for kind, number := range map[string]string{"mnt": "4026532229", "uts": "4026531838"} {
		link := filepath.Join(l.dir, "proc/7/ns", kind)
		if err := os.MkdirAll(filepath.Dir(link), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.Symlink(kind+":["+number+"]", link); err != nil {
			t.Fatal(err)
		}
	}
	got, err := l.Process(7)
	if err != nil {
		t.Fatal(err)
	}
	want := Process{
		PID: 7, Name: "vault", UIDs: [4]uint64{999, 998, 997, 996}, GIDs: [4]uint64{9, 8, 7, 6}, Groups: []uint64{4, 24},
		CapInheritable: 1, CapPermitted: 2, CapEffective: 1 << 14, CapBounding: 1<<41 - 1, CapAmbient: 8,
		NoNewPrivs: true, Seccomp: 2, VmSizeKB: 900, VmLckKB: 12, VmSwapKB: 3,
		ControlGroup: "/system.slice/vault.service", OOMScoreAdjust: -900, CoredumpFilter: 0x33,
		Arguments: []string{"/usr/bin/vault", "server", "-token=hvs.[redacted]"}, Environment: []string{"PATH", "VAULT_TOKEN"},
		Namespaces: map[string]string{"mnt": "4026532229", "uts": "4026531838"},
		Limits: map[string]Limit{
			"Max cpu time": {NoLimit, NoLimit}, "Max core file size": {0, NoLimit},
			"Max realtime timeout": {NoLimit, NoLimit}, "Max open files": {1024, 524288},
		},
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
	// A field that is gone must not read as zero, which is what a hardened process has.
	for _, field := range []string{"Name", "Uid", "Gid", "Groups", "CapInh", "CapPrm", "CapEff", "CapBnd", "CapAmb", "NoNewPrivs", "Seccomp"} {
		if _, err := parseStatus([]byte(strings.Replace(status, field+":", "Other:", 1))); err == nil || !strings.Contains(err.Error(), field) {
			t.Errorf("without %s: %v", field, err)
		}
	}
	for _, bad := range []string{"", "Limit\n", strings.Replace(limits, "1024 ", "many ", 1), limits[:len(limits)-38]} {
		if _, err := parseLimits([]byte(bad)); err == nil {
			t.Errorf("limits %q: no error", bad)
		}
	}
	for _, pid := range []int{0, -1, 8} {
		if _, err := l.Process(pid); err == nil {
			t.Errorf("process %d: no error", pid)
		}
	}
}

func TestModules(t *testing.T) {
	got, err := procTree(t, map[string]string{"modules": "nf_tables 372736 1 nft_ct, Live 0x0\ndm_verity 45056 1 - Live 0x0\n"}).Modules()
	if err != nil || !slices.Equal(got, []string{"dm_verity", "nf_tables"}) {
		t.Errorf("got %q, %v", got, err)
	}
	if got, err := procTree(t, map[string]string{"version": "Linux"}).Modules(); err != nil || len(got) != 0 {
		t.Errorf("a kernel without modules: %q, %v", got, err)
	}
	if _, err := procTree(t, map[string]string{"other": ""}).Modules(); err == nil {
		t.Error("a /proc that is none: no error")
	}
	if _, err := parseModules([]byte("half a line\n")); err == nil {
		t.Error("a short line: no error")
	}
}

// Facts about the whole host are one snapshot; a file is read when it is asked for.
func TestALiveHostIsASnapshot(t *testing.T) {
	l := procTree(t, map[string]string{"cmdline": "a\n"})
	first, err := l.KernelArguments()
	if err != nil {
		t.Fatal(err)
	}
	first[0] = "changed by the caller"
	if err := os.WriteFile(filepath.Join(l.dir, "proc/cmdline"), []byte("b\n"), 0o644); err != nil {
		t.Fatal(err)
	}
	if again, err := l.KernelArguments(); err != nil || !slices.Equal(again, []string{"a"}) {
		t.Errorf("arguments: %q, %v", again, err)
	}
	if b, err := l.ReadFile("/proc/cmdline"); err != nil || string(b) != "b\n" {
		t.Errorf("file: %q, %v", b, err)
	}
}
