package check_test

import (
	"io/fs"
	"maps"
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

// program installs an executable.
func program(path string, notices ...string) fault {
	return fault{func(h *hosttest.Host) { h.File(path, "ELF").Chmod(path, 0o755) }, notices}
}

// mounted adds a mount, or changes the one on the point.
func mounted(m host.Mount, notices ...string) fault {
	return fault{func(h *hosttest.Host) {
		mounts, _ := h.Mounts()
		h.SetMounts(append(slices.DeleteFunc(slices.Clone(mounts), func(have host.Mount) bool { return have.Point == m.Point }), m)...)
	}, notices}
}

func givenAway(path string, notices ...string) fault {
	return fault{func(h *hosttest.Host) { h.Chown(path, 800, 800) }, notices}
}

func TestFilesystemFaultsCloseTheGate(t *testing.T) {
	strict := []string{"rw", "nosuid", "nodev", "noexec"}
	without := func(option string) []string {
		return slices.DeleteFunc(slices.Clone(strict), func(o string) bool { return o == option })
	}
	b := checktest.Compile(t, checktest.Profile())
	mounts, err := checktest.Node(t, b).Mounts()
	if err != nil {
		t.Fatal(err)
	}
	of := func(point string) host.Mount {
		return mounts[slices.IndexFunc(mounts, func(m host.Mount) bool { return m.Point == point })]
	}
	same := of("/var/lib/vault")
	same.Device = of("/var/log/vault").Device
	bare := of("/")
	bare.Options = []string{"ro"}
	faultsAre(t, checktest.Profile(), map[string]fault{
		"the root gives privileges":       mounted(bare, "root-mount-powerless"),
		"rootflags are forgotten":         noArgument("rootflags=nosuid,nodev", "root-mount-powerless"),
		"a writable mount of somebody's":  mounted(host.Mount{Point: "/opt", Device: "9:9", Options: strict}, "mounts-writable-known"),
		"a mount with privileges":         mounted(host.Mount{Point: "/run/lock", Device: "9:9", Options: without("nosuid")}, "mounts-writable-without-privileges"),
		"a mount with devices":            mounted(host.Mount{Point: "/run/lock", Device: "9:9", Options: without("nodev")}, "mounts-writable-without-devices"),
		"a mount with programs":           mounted(host.Mount{Point: "/run/lock", Device: "9:9", Options: without("noexec")}, "mounts-writable-without-programs"),
		"data and audit on one device":    mounted(same, "data-devices-apart"),
		"the data is in the clear":        {func(h *hosttest.Host) { h.Remove("/sys/dev/block/" + of("/var/lib/vault").Device) }, []string{"data-encrypted"}},
		"a directory of units is vault's": givenAway("/usr/lib/systemd/system/vault.service.d", "units-protected"),
		"a unit in /run is vault's": {func(h *hosttest.Host) {
			h.File("/run/systemd/system/x.service", "").Chown("/run/systemd/system/x.service", 800, 800)
		}, []string{"units-protected"}},
		"sysctl.d is vault's":       givenAway("/usr/lib/sysctl.d", "kernel-settings-protected"),
		"the configuration's place": {func(h *hosttest.Host) { h.Chmod("/run/vault", 0o770) }, []string{"vault-config-path-protected", "vault-key-path-protected"}},
		"the key's place":           {func(h *hosttest.Host) { h.Chmod("/run/vault/tls", 0o770) }, []string{"vault-key-path-protected"}},
		"the baseline's place":      givenAway("/usr/lib/strongroom", "hostcheck-path-protected"),
		"plugins are vault's":       {func(h *hosttest.Host) { h.Directory("/opt/vault", 0o755).Chown("/opt/vault", 800, 800) }, []string{"plugin-directory-protected"}},
		"the image has no version":  reads("/etc/os-release", "IMAGE_ID=x", "image-identity-known"),
		"the journal reaches a network": {func(h *hosttest.Host) {
			u, _ := h.Unit(t.Context(), "systemd-journald.service")
			u.Properties = maps.Clone(u.Properties)
			u.Properties["IPAddressDeny"] = "::/0"
			h.SetUnit(u)
		}, []string{"services-without-network"}},
		"a set of somebody's": {func(h *hosttest.Host) {
			r, _ := h.Ruleset(t.Context())
			table := r.Tables[0]
			table.Sets = append(slices.Clone(table.Sets), host.Set{Name: "friends4"})
			h.SetRuleset(host.Ruleset{Tables: []host.Table{table}})
		}, []string{"network-default-deny"}},
		"modules load": sysctlIs("kernel.modules_disabled", "0", "kernel-modules-locked"),
		"the lock has failed": {func(h *hosttest.Host) {
			h.SetUnit(host.Unit{Name: "strongroom-kernel-lock.service", LoadState: "loaded", ActiveState: "failed",
				Properties: map[string]string{"IPAddressDeny": "0.0.0.0/0 ::/0"}})
		}, []string{"kernel-bpf-hardened"}},
		"sudo":                     program("/usr/bin/sudo", "privilege-tools-absent"),
		"a getty":                  program("/usr/sbin/agetty", "login-programs-absent"),
		"a cloud's agent":          program("/usr/bin/amazon-ssm-agent", "remote-access-absent"),
		"cloud-init":               program("/usr/bin/cloud-init", "setup-agents-absent"),
		"cron":                     program("/usr/sbin/cron", "schedulers-absent"),
		"a crontab":                reads("/etc/crontab", "@reboot root x", "schedulers-absent"),
		"gdb":                      program("/usr/local/bin/gdb", "debuggers-absent"),
		"a compiler":               program("/usr/bin/x86_64-linux-gnu-gcc", "compilers-absent"),
		"python":                   program("/usr/bin/python3.13", "interpreters-absent"),
		"curl":                     program("/usr/bin/curl", "download-tools-absent"),
		"a mail server":            program("/usr/sbin/sendmail", "mail-servers-absent"),
		"the debug generator":      {func(h *hosttest.Host) { h.Remove("/etc/systemd/system-generators/systemd-debug-generator") }, []string{"start-not-extended"}},
		"an account of somebody":   accounts("/etc/passwd", "guest:x:1000:1000::/:/usr/sbin/nologin", "guest:!:1::::::", "accounts-known"),
		"two accounts of one id":   accounts("/etc/passwd", "games:x:800:800::/:/usr/sbin/nologin", "games:!:1::::::", "accounts-known", "vault-service-account"),
		"a member of disk":         accounts("/etc/group", "disk:x:6:vault", "", "accounts-known"),
		"an administrator":         {func(h *hosttest.Host) { appendTo(h, "/etc/gshadow", "staff:!:vault:") }, []string{"accounts-known"}},
		"root's home is open":      {func(h *hosttest.Host) { h.Chmod("/root", 0o755) }, []string{"root-home-closed"}},
		"localhost is elsewhere":   reads("/etc/hosts", "192.0.2.1 localhost", "loopback-names-local"),
		"programs may run in /dev": reads("/etc/fstab", "# nothing", "mounts-writable-without-programs"),
	})
}

// accounts adds a line to a database of accounts, and one to the passwords.
func accounts(database, line, password string, notices ...string) fault {
	return fault{func(h *hosttest.Host) {
		appendTo(h, database, line)
		if password != "" {
			appendTo(h, "/etc/shadow", password)
		}
	}, notices}
}

// appendTo adds a line to a file, which keeps its owner and mode.
func appendTo(h *hosttest.Host, path, line string) {
	content, _ := h.ReadFile(path)
	info, _ := h.Stat(path)
	h.File(path, string(content)+line+"\n").Chmod(path, info.Mode).Chown(path, info.UID, info.GID)
}

// What the image must not have is looked for in its whole tree, once, when it is made.
func TestImageFaultsAreFound(t *testing.T) {
	b := checktest.Compile(t, checktest.Profile())
	at := "/usr/local/share/odd"
	for name, c := range map[string]struct {
		breaks  func(*hosttest.Host)
		control string
	}{
		"a set-id program":          {func(h *hosttest.Host) { h.File(at, "").Chmod(at, 0o755|fs.ModeSetuid) }, "privileged-files-absent"},
		"a set-group-id program":    {func(h *hosttest.Host) { h.File(at, "").Chmod(at, 0o755|fs.ModeSetgid) }, "privileged-files-absent"},
		"a file capability":         {func(h *hosttest.Host) { h.File(at, "").SetFileCapability(at, "0100000200400000") }, "capable-files-absent"},
		"a file for everybody":      {func(h *hosttest.Host) { h.File(at, "").Chmod(at, 0o666) }, "world-writable-files-absent"},
		"a directory for everybody": {func(h *hosttest.Host) { h.Directory(at, 0o777) }, "world-writable-files-absent"},
		"a file of a service":       {func(h *hosttest.Host) { h.File(at, "").Chown(at, 800, 800) }, "files-owned-by-root"},
		"a file of nobody's group":  {func(h *hosttest.Host) { h.File(at, "").Chown(at, 0, 4242) }, "files-owned-by-root"},
		"a device":                  {func(h *hosttest.Host) { h.Special(at, fs.ModeDevice|0o600) }, "special-files-absent"},
		"state of a first start":    {func(h *hosttest.Host) { h.Directory("/var/lib/cloud", 0o755) }, "image-state-absent"},
		"a machine id":              {func(h *hosttest.Host) { h.File("/etc/machine-id", "0123\n") }, "machine-identity-absent"},
		"a host key":                {func(h *hosttest.Host) { h.File("/etc/ssh/ssh_host_ed25519_key", "") }, "machine-identity-absent"},
		"keys of an operator":       {func(h *hosttest.Host) { h.Directory("/root/.aws", 0o700) }, "machine-identity-absent"},
	} {
		t.Run(name, func(t *testing.T) {
			h := checktest.Tree(t, b)
			c.breaks(h)
			r := run(t, b, h, control.StageImage)
			for _, got := range r.Controls {
				if failed := got.Outcome == control.Fail; failed != (got.Control.ID == c.control) {
					t.Errorf("%s is %s\n%s", got.Control.ID, got.Outcome, complain(r))
				}
			}
		})
	}
	unreadable := checktest.Tree(t, b).Directory(at, 0o755).FailFile(at, fs.ErrPermission)
	r := run(t, b, unreadable, control.StageImage)
	for _, id := range []string{"privileged-files-absent", "capable-files-absent", "world-writable-files-absent", "files-owned-by-root"} {
		if got := outcome(r, id); got != control.Unknown {
			t.Errorf("a directory that cannot be read: %s is %s", id, got)
		}
	}
}
