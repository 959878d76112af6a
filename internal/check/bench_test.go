package check_test

import (
	"bytes"
	"cmp"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/strongroom/strongroom/internal/check/checktest"
)

// recordedNode is what `hostcheck capture --stage boot` wrote on a booted node.
const recordedNode = "../../cmd/hostcheck/testdata/node-boot.json"

// BenchmarkVerify measures whole runs of hostcheck, from the start of the process to its end, and goss in
// turn with it on the same machine: medians, since a shared machine has outliers in one direction.
func BenchmarkVerify(b *testing.B) {
	hostcheck := filepath.Join(b.TempDir(), "hostcheck")
	build := exec.Command("go", "build", "-trimpath", "-tags", "nethttpomithttp2", "-ldflags", "-s -w", "-o", hostcheck, "../../cmd/hostcheck")
	build.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := build.CombinedOutput(); err != nil {
		b.Fatalf("%v\n%s", err, out)
	}
	goss := gossCommand(b)

	b.Run("stage=image", func(b *testing.B) {
		baseline := checktest.Compile(b, checktest.Profile())
		root := baseTree(b)
		checktest.WriteTree(b, root, checktest.Tree(b, baseline))
		compare(b, []string{hostcheck, "verify", "--stage", "image", "--root", root}, goss)
	})
	b.Run("stage=boot", func(b *testing.B) {
		if _, err := os.Stat(recordedNode); err != nil {
			b.Fatalf("no recording of a booted node: %v", err)
		}
		compare(b, []string{hostcheck, "verify", "--stage", "boot", "--capture", recordedNode}, goss)
	})
}

// sample is what some runs of one program cost.
type sample struct {
	wall []time.Duration
	rss  []int64 // KiB, at the peak
}

// run fails on an exit code above most.
func (s *sample) run(b *testing.B, argv []string, most int) {
	b.Helper()
	cmd := exec.Command(argv[0], argv[1:]...)
	var out bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &out
	started := time.Now()
	err := cmd.Run()
	s.wall = append(s.wall, time.Since(started))
	if code := cmd.ProcessState.ExitCode(); code < 0 || code > most {
		b.Fatalf("%s: %v\n%s", filepath.Base(argv[0]), err, out.Bytes())
	}
	s.rss = append(s.rss, cmd.ProcessState.SysUsage().(*syscall.Rusage).Maxrss)
}

func (s *sample) milliseconds() float64 { return float64(median(s.wall)) / float64(time.Millisecond) }
func (s *sample) mebibytes() float64    { return float64(median(s.rss)) / 1024 }

func median[T cmp.Ordered](values []T) T {
	sorted := slices.Sorted(slices.Values(values))
	return sorted[len(sorted)/2]
}

// compare runs both programs in turn, so that what else the machine does hits both.
func compare(b *testing.B, hostcheck, goss []string) {
	const fewest = 15 // runs, however few iterations are asked for
	var ours, theirs sample
	pair := func(ours, theirs *sample) {
		// A base tree that has not been sealed fails, and that is a verdict; a run that could not look, and
		// ends with 2, measures nothing.
		ours.run(b, hostcheck, 1)
		theirs.run(b, goss, 0)
	}
	pair(&sample{}, &sample{}) // fills the page cache
	for b.Loop() {
		pair(&ours, &theirs)
	}
	for len(ours.wall) < fewest {
		pair(&ours, &theirs)
	}
	b.ReportMetric(0, "ns/op") // of a pair: says nothing
	b.ReportMetric(ours.milliseconds(), "hostcheck_ms")
	b.ReportMetric(theirs.milliseconds(), "goss_ms")
	b.ReportMetric(ours.milliseconds()/theirs.milliseconds(), "ratio")
	b.ReportMetric(ours.mebibytes(), "rss_MiB")
	b.ReportMetric(theirs.mebibytes(), "goss_rss_MiB")
}

// baseTree extracts the newest base tree of the profile's distribution from the cache of image builds. The
// overlay alone, without the distribution's own files, would be a shorter read.
func baseTree(b *testing.B) string {
	b.Helper()
	root := b.TempDir()
	var archives []string
	for _, pattern := range []string{"base-*.tar", "image/base-*.tar"} {
		found, _ := filepath.Glob(filepath.Join(cache(b), pattern))
		archives = append(archives, found...)
	}
	codename := filepath.Base(checktest.Profile().Distribution)
	for _, archive := range archives {
		release, err := exec.Command("tar", "-xOf", archive, "./usr/lib/os-release").Output()
		if err != nil || !bytes.Contains(release, []byte("VERSION_CODENAME="+codename+"\n")) {
			continue
		}
		if out, err := exec.Command("tar", "-xpf", archive, "--numeric-owner", "-C", root).CombinedOutput(); err != nil {
			b.Fatalf("%v\n%s", err, out)
		}
		return root
	}
	b.Logf("no base tree of %s in %s: the tree is the overlay alone", codename, cache(b))
	return root
}

func cache(b *testing.B) string {
	b.Helper()
	if dir := os.Getenv("STRONGROOM_CACHE"); dir != "" {
		return dir
	}
	dir, err := os.UserCacheDir()
	if err != nil {
		b.Fatal(err)
	}
	return filepath.Join(dir, "strongroom")
}

// gossCommand gives a validation of forty facts of this machine, of the kinds that the catalogue has
// too and with the values that the machine has, so that every one passes.
func gossCommand(b *testing.B) []string {
	b.Helper()
	goss := os.Getenv("GOSS")
	if goss == "" {
		b.Fatal("GOSS does not name the goss to compare with; `make bench` builds one")
	}
	var file strings.Builder
	checks := 0

	file.WriteString("kernel-param:\n")
	for _, name := range []string{
		"fs.protected_fifos", "fs.protected_hardlinks", "fs.protected_regular", "fs.protected_symlinks", "fs.suid_dumpable",
		"kernel.core_uses_pid", "kernel.dmesg_restrict", "kernel.kptr_restrict", "kernel.panic", "kernel.panic_on_oops",
		"kernel.perf_event_paranoid", "kernel.randomize_va_space", "kernel.sysrq", "kernel.unprivileged_bpf_disabled",
		"net.ipv4.conf.all.accept_redirects", "net.ipv4.conf.all.rp_filter", "net.ipv4.conf.all.send_redirects",
		"net.ipv4.ip_forward", "net.ipv4.tcp_syncookies", "vm.max_map_count", "vm.mmap_min_addr", "vm.overcommit_memory", "vm.swappiness",
	} {
		content, err := os.ReadFile("/proc/sys/" + strings.ReplaceAll(name, ".", "/"))
		if err != nil {
			continue // not in this kernel
		}
		fmt.Fprintf(&file, "  %s:\n    value: %q\n", name, strings.TrimSpace(string(content)))
		checks++
	}
	file.WriteString("file:\n")
	for _, path := range []string{"/etc/passwd", "/etc/group", "/etc/shadow", "/etc/gshadow", "/etc/fstab", "/etc/hosts", "/usr/bin", "/etc", "/usr/lib", "/var", "/tmp", "/proc/swaps"} {
		info, err := os.Stat(path)
		if err != nil {
			continue
		}
		st := info.Sys().(*syscall.Stat_t)
		fmt.Fprintf(&file, "  %s:\n    exists: true\n    mode: \"%04o\"\n    uid: %d\n    gid: %d\n", path, st.Mode&0o7777, st.Uid, st.Gid)
		checks++
	}
	for _, path := range []string{"/usr/sbin/no-such-daemon", "/etc/no-such-file"} {
		fmt.Fprintf(&file, "  %s:\n    exists: false\n", path)
		checks++
	}
	file.WriteString("mount:\n  /:\n    exists: true\n  /proc:\n    exists: true\n    filesystem: proc\n")
	file.WriteString("user:\n  root:\n    exists: true\n    uid: 0\n    home: /root\n  no-such-user:\n    exists: false\n")
	file.WriteString("group:\n  root:\n    exists: true\n    gid: 0\n")
	checks += 5
	if checks < 35 {
		b.Fatalf("only %d checks for goss on this machine: no fair comparison", checks)
	}

	path := filepath.Join(b.TempDir(), "goss.yaml")
	if err := os.WriteFile(path, []byte(file.String()), 0o644); err != nil {
		b.Fatal(err)
	}
	return []string{goss, "--gossfile", path, "validate", "--no-color"}
}
