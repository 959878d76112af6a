package check_test

import (
	"slices"
	"strings"
	"testing"

	"github.com/strongroom/strongroom/internal/check"
	"github.com/strongroom/strongroom/internal/check/checktest"
	"github.com/strongroom/strongroom/internal/control"
	"github.com/strongroom/strongroom/internal/host"
	"github.com/strongroom/strongroom/internal/host/hosttest"
)

// fault breaks one fact of a conforming node; exactly the named controls notice.
type fault struct {
	breaks  func(*hosttest.Host)
	notices []string
}

// faultsAre runs a table of faults at stage run.
func faultsAre(t *testing.T, p control.Profile, faults map[string]fault) {
	t.Helper()
	b := checktest.Compile(t, p)
	for name, f := range faults {
		t.Run(name, func(t *testing.T) {
			h := checktest.Node(t, b)
			f.breaks(h)
			r := run(t, b, h, control.StageRun)
			must := false
			for _, got := range r.Controls {
				noticed := slices.Contains(f.notices, got.Control.ID)
				if failed := got.Outcome == control.Fail; failed != noticed || got.Outcome == control.Unknown {
					t.Errorf("%s is %s\n%s", got.Control.ID, got.Outcome, complain(r))
				}
				must = must || noticed && got.Control.Severity == control.Must
			}
			if closed := r.Verdict == check.Fail; closed != must {
				t.Errorf("verdict %s", r.Verdict)
			}
			for _, id := range f.notices {
				if _, ok := b.Find(id); !ok {
					t.Errorf("there is no control %s", id)
				}
			}
		})
	}
}

// reads makes a file of the host say something.
func reads(path, content string, notices ...string) fault {
	return fault{func(h *hosttest.Host) { h.File(path, content+"\n") }, notices}
}

// sysctlIs sets a parameter of the running kernel.
func sysctlIs(name, value string, notices ...string) fault {
	return reads("/proc/sys/"+strings.ReplaceAll(name, ".", "/"), value, notices...)
}

// argument adds a word to the kernel command line.
func argument(word string, notices ...string) fault {
	return fault{func(h *hosttest.Host) {
		args, _ := h.KernelArguments()
		h.SetKernelArguments(append(slices.Clone(args), word)...)
	}, notices}
}

// noArgument takes a word from the kernel command line.
func noArgument(word string, notices ...string) fault {
	return fault{func(h *hosttest.Host) {
		args, _ := h.KernelArguments()
		h.SetKernelArguments(slices.DeleteFunc(slices.Clone(args), func(a string) bool { return a == word })...)
	}, notices}
}

// unitRuns makes a masked unit active.
func unitRuns(name string, notices ...string) fault {
	return fault{func(h *hosttest.Host) {
		h.SetUnit(host.Unit{Name: name, LoadState: "loaded", ActiveState: "active"})
	}, notices}
}

// loads adds a kernel module.
func loads(module string, notices ...string) fault {
	return fault{func(h *hosttest.Host) {
		modules, _ := h.Modules()
		h.SetModules(append(slices.Clone(modules), module)...)
	}, notices}
}

func TestKernelFaultsCloseTheGate(t *testing.T) {
	const vulnerabilities = "/sys/devices/system/cpu/vulnerabilities/"
	faultsAre(t, checktest.Profile(), map[string]fault{
		"lsm= left Yama out":            reads("/sys/kernel/security/lsm", "lockdown,capability,apparmor", "kernel-security-modules-stacked"),
		"unsigned modules are taken":    reads("/sys/module/module/parameters/sig_enforce", "N", "kernel-modules-signed"),
		"a foreign module was loaded":   reads("/proc/sys/kernel/tainted", "4096", "kernel-untainted"),
		"freed memory keeps its bytes":  noArgument("init_on_free=1", "kernel-memory-hardened"),
		"fresh memory keeps its bytes":  noArgument("init_on_alloc=1", "kernel-memory-hardened"),
		"slabs are merged":              noArgument("slab_nomerge", "kernel-heap-shuffled"),
		"the kernel's stack is fixed":   argument("randomize_kstack_offset=off", "kernel-stack-shuffled"),
		"vsyscall is emulated":          argument("vsyscall=emulate", "kernel-vsyscall-absent"),
		"/proc/PID/mem is forced":       argument("proc_mem.force_override=always", "kernel-process-memory-guarded"),
		"mounted disks are writable":    noArgument("bdev_allow_write_mounted=0", "kernel-mounted-devices-guarded"),
		"32-bit programs run":           noArgument("ia32_emulation=0", "kernel-compat-calls-absent"),
		"debugfs is there":              reads("/proc/filesystems", "nodev debugfs", "kernel-debugfs-absent"),
		"mitigations are off":           argument("mitigations=off", "kernel-defences-not-waived"),
		"another init":                  argument("init=/bin/sh", "kernel-start-not-diverted"),
		"a debug shell":                 argument("systemd.debug_shell=1", "kernel-start-not-diverted"),
		"addresses are few":             sysctlIs("vm.mmap_rnd_bits", "28", "kernel-layout-random"),
		"the first page can be mapped":  sysctlIs("vm.mmap_min_addr", "0", "kernel-null-page-unmapped"),
		"perf is open":                  sysctlIs("kernel.perf_event_paranoid", "1", "kernel-profiling-denied"),
		"BPF is open":                   sysctlIs("kernel.unprivileged_bpf_disabled", "0", "kernel-bpf-denied"),
		"userfaultfd is open":           sysctlIs("vm.unprivileged_userfaultfd", "1", "kernel-fault-handlers-denied"),
		"io_uring is open":              sysctlIs("kernel.io_uring_disabled", "0", "kernel-io-rings-off"),
		"user namespaces are open":      sysctlIs("kernel.unprivileged_userns_clone", "1", "kernel-user-namespaces-denied"),
		"pages are merged":              reads("/sys/kernel/mm/ksm/run", "1", "kernel-page-merging-off"),
		"another kernel is loaded":      reads("/sys/kernel/kexec_loaded", "1", "kernel-replacement-denied"),
		"SysRq is on":                   sysctlIs("kernel.sysrq", "438", "kernel-keys-restricted"),
		"line disciplines load":         sysctlIs("dev.tty.ldisc_autoload", "1", "terminal-line-disciplines-fixed"),
		"terminals can be typed into":   sysctlIs("dev.tty.legacy_tiocsti", "1", "terminal-input-not-injected"),
		"warnings are endless":          sysctlIs("kernel.warn_limit", "0", "kernel-warnings-limited"),
		"a panic hangs":                 sysctlIs("kernel.panic", "0", "kernel-panic-reboots"),
		"the processor is vulnerable":   reads(vulnerabilities+"mds", "Vulnerable: Clear CPU buffers attempted, no microcode", "processor-flaws-mitigated"),
		"a hypervisor is loaded":        loads("kvm_intel", "kernel-modules-unneeded-blocked"),
		"swap is found by its type":     noArgument("systemd.gpt_auto=no", "memory-swap-not-discovered"),
		"a zram device":                 {func(h *hosttest.Host) { h.Directory("/sys/block/zram0", 0o755) }, []string{"memory-zram-absent"}},
		"zswap is on":                   reads("/sys/module/zswap/parameters/enabled", "Y", "memory-zswap-off"),
		"the kernel can hibernate":      reads("/sys/power/state", "freeze mem disk", "memory-hibernation-off"),
		"hibernation can be asked for":  unitRuns("hibernate.target", "memory-hibernation-units-masked"),
		"the node may resume":           argument("resume=/dev/vda6", "memory-resume-absent"),
		"the node sleeps":               unitRuns("suspend.target", "node-sleep-denied"),
		"the dying wait for a reader":   sysctlIs("kernel.core_pipe_limit", "4", "memory-core-dumps-off"),
		"privileged programs dump":      sysctlIs("fs.suid_dumpable", "2", "memory-privileged-dumps-off"),
		"a collector is there":          reads("/usr/lib/systemd/systemd-coredump", "ELF", "memory-dump-collector-absent"),
		"a collector listens":           unitRuns("systemd-coredump.socket", "memory-dump-collector-absent"),
		"memory is kept for a kernel":   reads("/sys/kernel/kexec_crash_size", "268435456", "memory-crash-kernel-absent"),
		"a crash kernel is asked for":   argument("crashkernel=256M", "memory-crash-kernel-absent"),
		"an interface forwards":         sysctlIs("net.ipv4.conf.eth0.forwarding", "1", "network-forwarding-off"),
		"an interface takes redirects":  sysctlIs("net.ipv6.conf.eth0.accept_redirects", "1", "network-redirects-refused"),
		"an interface sends redirects":  sysctlIs("net.ipv4.conf.eth0.send_redirects", "1", "network-redirects-not-sent"),
		"source routes are followed":    sysctlIs("net.ipv4.conf.all.accept_source_route", "1", "network-source-routes-refused"),
		"the reverse path is loose":     sysctlIs("net.ipv4.conf.eth0.rp_filter", "2", "network-source-addresses-verified"),
		"martians pass in silence":      sysctlIs("net.ipv4.conf.default.log_martians", "0", "network-martians-logged"),
		"loopback is routed":            sysctlIs("net.ipv4.conf.eth0.route_localnet", "1", "network-loopback-closed"),
		"ARP is answered anywhere":      sysctlIs("net.ipv4.conf.all.arp_ignore", "0", "network-neighbours-answered-strictly"),
		"the kernel hears routers":      sysctlIs("net.ipv6.conf.eth0.accept_ra", "2", "network-kernel-hears-no-routers"),
		"low ports are free":            sysctlIs("net.ipv4.ip_unprivileged_port_start", "80", "network-ports-privileged"),
		"no cookies":                    sysctlIs("net.ipv4.tcp_syncookies", "0", "network-syn-floods-survived"),
		"TIME-WAIT can be cut":          sysctlIs("net.ipv4.tcp_rfc1337", "0", "network-stack-hardened"),
		"a table of iptables-legacy":    reads("/proc/net/ip_tables_names", "filter", "network-legacy-firewall-empty"),
		"ebtables are loaded":           loads("ebtables", "network-legacy-firewall-empty"),
		"a file takes an interface out": reads("/etc/sysctl.d/10-site.conf", "-net.ipv4.conf.eth0.rp_filter", "network-source-addresses-verified"),
	})

	metal := checktest.Profile()
	metal.Platform = "metal"
	faultsAre(t, metal, map[string]fault{
		"devices pass the IOMMU": argument("iommu.passthrough=1", "kernel-dma-guarded"),
	})
}
