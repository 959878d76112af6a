package resource_test

import (
	"io/fs"
	"slices"
	"testing"

	"github.com/strongroom/strongroom/internal/control"
	"github.com/strongroom/strongroom/internal/host"
	"github.com/strongroom/strongroom/internal/host/hosttest"
	"github.com/strongroom/strongroom/internal/resource"
)

func treeWithoutFacts() *hosttest.Host { return hosttest.New().File("/etc/passwd", "") }

func TestSwap(t *testing.T) {
	node := func() *hosttest.Host { return hosttest.New().SetSwaps().SetUnits() }
	s := &resource.Swap{}
	expect(t, s, node(), control.Pass, "/proc/swaps")
	expect(t, s, node().File("/etc/fstab", "# /swap none swap\n\n/dev/a / ext4 rw 0 1\n"), control.Pass, "no swap entry")
	expect(t, s, node().File("/etc/fstab", "UUID=1\tnone\tswap\tsw\n"), control.Fail, "UUID=1")
	expectAt(t, s, hosttest.New().File("/etc/fstab", "/s none swap sw\n"), control.StageImage, control.Fail, "/s none swap")
	expect(t, s, node().SetSwaps(host.Swap{Device: "/dev/zram0", Type: "partition", SizeKB: 5}), control.Fail, "/dev/zram0 (partition, 5 KiB)")
	expect(t, s, node().SetUnits(host.UnitStatus{Name: "dev-sda2.swap", LoadState: "loaded", ActiveState: "inactive"}), control.Fail, "dev-sda2.swap")
	expect(t, s, node().SetUnits(host.UnitStatus{Name: "dev-sda2.swap", LoadState: "masked"}), control.Pass, "ListUnits")
	expect(t, s, node().FailFile("/etc/fstab", errDenied), control.Unknown, "/etc/fstab")
	expect(t, s, node().FailFact("Swaps", errDenied), control.Unknown, "/proc/swaps")
	expect(t, s, node().FailFact("Units", errDenied), control.Unknown, "ListUnits")
}

func TestAbsent(t *testing.T) {
	a := &resource.Absent{Path: "/usr/sbin/sshd"}
	expect(t, a, hosttest.New(), control.Pass, "absent")
	expectAt(t, a, hosttest.New().File("/usr/sbin/sshd", ""), control.StageImage, control.Fail, "present")
	expect(t, a, hosttest.New().Symlink("/usr/sbin/sshd", "/nowhere"), control.Fail, "present")
	expect(t, a, hosttest.New().Directory("/usr/sbin/sshd", 0o755), control.Fail, "present")
	expect(t, a, hosttest.New().FailFile("/usr/sbin/sshd", errDenied), control.Unknown, "permission denied")
}

func TestFile(t *testing.T) {
	f := &resource.File{Path: "/usr/bin/vault", Mode: "0755"}
	tree := func() *hosttest.Host {
		return hosttest.New().File("/usr/bin/vault", "ELF").Chmod("/usr/bin/vault", 0o755)
	}
	expect(t, f, tree(), control.Pass, "0755 uid 0 gid 0")
	expect(t, f, tree().Chmod("/usr/bin/vault", 0o775), control.Fail, "got 0775")
	expect(t, f, tree().Chmod("/usr/bin/vault", 0o755|fs.ModeSetuid), control.Fail, "setuid")
	expect(t, f, tree().Chmod("/usr/bin/vault", 0o755|fs.ModeSetgid), control.Fail, "setgid")
	expect(t, f, tree().Chown("/usr/bin/vault", 800, 0), control.Fail, "uid 800 gid 0")
	expect(t, f, tree().Chown("/usr/bin/vault", 0, 800), control.Fail, "uid 0 gid 800")
	expect(t, f, tree().Remove("/usr/bin/vault"), control.Fail, "absent")
	expect(t, f, tree().FailFile("/usr/bin/vault", errDenied), control.Unknown, "permission denied")
	expect(t, f, tree().FailFile("/usr/bin", errDenied), control.Unknown, "permission denied")
}

func TestRuntimeFile(t *testing.T) {
	f := &resource.File{Path: "/run/vault/vault.hcl", Mode: "0640", GID: 800, Runtime: true}
	if obs := f.Verify(t.Context(), hosttest.New(), control.StageImage); len(obs) != 0 {
		t.Errorf("a tree was asked for a file below /run: %+v", obs)
	}
	expect(t, f, hosttest.New(), control.Fail, "absent")
	expect(t, f, hosttest.New().File("/run/vault/vault.hcl", "").Chmod("/run/vault/vault.hcl", 0o640).Chown("/run/vault/vault.hcl", 0, 800), control.Pass, "")
}

func TestMount(t *testing.T) {
	m := &resource.Mount{Point: "/", FSType: "squashfs", Options: []string{"ro"}, Verity: true}
	good := host.Mount{Point: "/", FSType: "squashfs", Source: "/dev/mapper/root", Device: "254:0", Options: []string{"relatime", "ro"}}
	node := func(mounts ...host.Mount) *hosttest.Host {
		return hosttest.New().File("/sys/dev/block/254:0/dm/uuid", "CRYPT-VERITY-1-root\n").SetMounts(mounts...)
	}
	with := func(change func(*host.Mount)) host.Mount {
		m := good
		change(&m)
		return m
	}
	expect(t, m, node(host.Mount{Point: "/boot"}, good), control.Pass, "CRYPT-VERITY-1-root")
	expect(t, m, node(host.Mount{Point: "/boot"}), control.Fail, "not a mount point")
	expect(t, m, node(with(func(m *host.Mount) { m.FSType = "ext4" })), control.Fail, "got ext4")
	expect(t, m, node(with(func(m *host.Mount) { m.Options = []string{"rw"} })), control.Fail, "got rw")
	expect(t, m, node(with(func(m *host.Mount) { m.Device = "8:1" })), control.Fail, "not a device-mapper device")
	expect(t, m, node(good).File("/sys/dev/block/254:0/dm/uuid", "CRYPT-LUKS2-1-root\n"), control.Fail, "CRYPT-LUKS2")
	expect(t, m, node(good).FailFile("/sys/dev/block/254:0/dm/uuid", errDenied), control.Unknown, "permission denied")
	expect(t, m, node().FailFact("Mounts", errDenied), control.Unknown, "permission denied")

	// What is mounted over another mount is what everybody sees.
	over := host.Mount{Point: "/", FSType: "tmpfs", Device: "0:5", Options: []string{"rw"}}
	expect(t, m, node(good, over), control.Fail, "got tmpfs")
	expect(t, m, node(over, good), control.Pass, "")
}

func TestKernelArgument(t *testing.T) {
	a := &resource.KernelArgument{Name: "init_on_alloc", Value: "1"}
	for _, c := range []struct {
		args []string
		want control.Outcome
	}{
		{[]string{"quiet", "init_on_alloc=1"}, control.Pass},
		{[]string{"init_on_alloc=1", "init_on_alloc=1"}, control.Pass},
		{[]string{"quiet"}, control.Fail},
		{[]string{"init_on_alloc"}, control.Fail},
		{[]string{"init_on_alloc=10"}, control.Fail},
		{[]string{"xinit_on_alloc=1"}, control.Fail},
		{[]string{"init_on_alloc=1", "init_on_alloc=0"}, control.Fail}, // the last one wins
		{[]string{"init_on_alloc=0", "init_on_alloc=1"}, control.Fail}, // and nobody should have to know that
		{[]string{"init_on_alloc=1", "init-on-alloc=0"}, control.Fail}, // which to the kernel is the same name
		{[]string{"init_on_alloc=1", "init_on_alloc"}, control.Fail},
	} {
		got, said := judge(t, a, hosttest.New().SetKernelArguments(c.args...), control.StageBoot)
		if got != c.want {
			t.Errorf("%q is %s, want %s\n%s", c.args, got, c.want, said)
		}
	}
	expect(t, a, hosttest.New().FailFact("KernelArguments", errDenied), control.Unknown, "permission denied")

	console := &resource.KernelArgument{Name: "console", Value: "ttyS0,115200"}
	expect(t, console, hosttest.New().SetKernelArguments("console=tty0", "console=ttyS0,115200"), control.Pass, "")
	expect(t, console, hosttest.New().SetKernelArguments("console=tty0"), control.Fail, "got console=tty0")

	proven := &resource.KernelArgument{Name: "lockdown", Value: "integrity", Proof: &resource.KernelProof{Path: "/sys/kernel/security/lockdown", Contains: "[integrity]"}}
	node := func(s string) *hosttest.Host {
		return hosttest.New().SetKernelArguments("lockdown=integrity").File("/sys/kernel/security/lockdown", s)
	}
	expect(t, proven, node("none [integrity] confidentiality\n"), control.Pass, "")
	expect(t, proven, node("[none] integrity confidentiality\n"), control.Fail, "got [none]")
	expect(t, proven, node("").Remove("/sys/kernel/security/lockdown"), control.Fail, "absent")
	expect(t, proven, node("").FailFile("/sys/kernel/security/lockdown", errDenied), control.Unknown, "permission denied")
	expect(t, proven, node("none [integrity]").FailFact("KernelArguments", errDenied), control.Unknown, "permission denied")
}

func TestKernelModule(t *testing.T) {
	blocked := &resource.KernelModule{Name: "usb_storage", State: "blocked"}
	loaded := &resource.KernelModule{Name: "dm_verity", State: "loaded"}
	node := func(modules ...string) *hosttest.Host {
		return hosttest.New().SetModules(modules...).File("/proc/sys/kernel/osrelease", "6.12.0\n")
	}
	const builtin = "/usr/lib/modules/6.12.0/modules.builtin"
	expect(t, blocked, node("usb_storage_x"), control.Pass, "not loaded")
	expect(t, blocked, node("usb_storage"), control.Fail, "got loaded")
	expect(t, blocked, node().Directory("/sys/module/usb_storage", 0o755), control.Fail, "built in")
	expect(t, blocked, node().FailFact("Modules", errDenied), control.Unknown, "permission denied")
	expect(t, blocked, node().FailFile("/sys/module/usb_storage", errDenied), control.Unknown, "permission denied")
	expect(t, loaded, node("dm_verity"), control.Pass, "")
	expect(t, loaded, node().File(builtin, "kernel/drivers/md/dm_verity.ko\n"), control.Pass, "")
	expect(t, loaded, node().File(builtin, "kernel/drivers/md/xdm_verity.ko\n"), control.Fail, "not loaded")
	expect(t, loaded, node(), control.Fail, "not loaded")
	expect(t, loaded, node().FailFile("/proc/sys/kernel/osrelease", errDenied), control.Unknown, "permission denied")
}

func TestUnitState(t *testing.T) {
	state := func(name, load, active string) *hosttest.Host {
		return hosttest.New().SetUnit(host.Unit{Name: name, LoadState: load, ActiveState: active})
	}
	active := &resource.UnitState{Name: "chrony.service", State: "active"}
	expect(t, active, state("chrony.service", "loaded", "active"), control.Pass, "")
	for _, s := range []string{"inactive", "failed", "activating", "deactivating", "reloading"} {
		expect(t, active, state("chrony.service", "loaded", s), control.Fail, "got loaded, "+s)
	}
	expect(t, active, hosttest.New().SetNoUnit("chrony.service"), control.Fail, "not-found")
	expect(t, active, hosttest.New().FailFact("UnitStatus", errDenied), control.Unknown, "permission denied")

	masked := &resource.UnitState{Name: "ssh.service", State: "masked"}
	expect(t, masked, state("ssh.service", "masked", "inactive"), control.Pass, "")
	expect(t, masked, hosttest.New().SetNoUnit("ssh.service"), control.Pass, "")
	expect(t, masked, state("ssh.service", "loaded", "inactive"), control.Fail, "got loaded")
	expect(t, masked, state("ssh.service", "masked", "active"), control.Fail, "got masked, active") // masked after it was started
	template := &resource.UnitState{Name: "getty@.service", State: "masked"}
	expect(t, template, state("getty@strongroom.service", "masked", "inactive"), control.Pass, "getty@strongroom.service")
	expect(t, template, state("getty@strongroom.service", "loaded", "inactive"), control.Fail, "")
}

func TestListener(t *testing.T) {
	l := &resource.Listener{Allow: []string{"tcp/8200", "udp/68"}, Require: []string{"tcp/8200"}}
	vault := host.Listener{Protocol: "tcp", Address: "::", Port: 8200}
	node := func(l ...host.Listener) *hosttest.Host { return hosttest.New().SetListeners(l...) }
	expect(t, l, node(), control.Pass, "no other")
	expect(t, l, node(vault, host.Listener{Protocol: "udp", Address: "192.0.2.1", Port: 68}), control.Pass, "")
	expect(t, l, node(host.Listener{Protocol: "tcp", Address: "0.0.0.0", Port: 22, UID: 7}), control.Fail, "tcp/22 on 0.0.0.0 (uid 7)")
	expect(t, l, node(host.Listener{Protocol: "tcp", Address: "127.0.0.1", Port: 9}), control.Fail, "127.0.0.1")
	expect(t, l, node(host.Listener{Protocol: "udp", Address: "::", Port: 8200}), control.Fail, "udp/8200")
	expect(t, l, node().FailFact("Listeners", errDenied), control.Unknown, "permission denied")
	expectAt(t, l, node(), control.StageRun, control.Fail, "want open, got closed")
	expectAt(t, l, node(vault), control.StageRun, control.Pass, "")
	expectAt(t, l, node(host.Listener{Protocol: "udp", Address: "::", Port: 68}), control.StageRun, control.Fail, "got closed")
}

func TestProcessLimits(t *testing.T) {
	p := &resource.ProcessLimits{Unit: "vault.service", Name: "all", Limits: map[string]string{"core": "0", "nofile": "65536", "memlock": "infinity"}, Confined: true}
	process := func(change func(*host.Process)) *hosttest.Host {
		proc := host.Process{PID: 9, UIDs: [4]uint64{800, 800, 800, 800}, NoNewPrivs: true, Seccomp: 2, Limits: map[string]host.Limit{
			"Max core file size": {}, "Max open files": {Soft: 65536, Hard: 65536}, "Max locked memory": {Soft: host.NoLimit, Hard: host.NoLimit},
		}}
		change(&proc)
		return hosttest.New().SetUnit(host.Unit{Name: "vault.service", ActiveState: "active", Properties: map[string]string{"MainPID": "9"}}).SetProcess(proc)
	}
	unchanged := func(*host.Process) {}
	expect(t, p, process(unchanged), control.Pass, "Max locked memory: want unlimited, got soft unlimited, hard unlimited")
	expect(t, p, process(func(p *host.Process) { p.Limits["Max core file size"] = host.Limit{Soft: 0, Hard: 1} }), control.Fail, "hard 1")
	expect(t, p, process(func(p *host.Process) { p.Limits["Max open files"] = host.Limit{Soft: 1024, Hard: 65536} }), control.Fail, "soft 1024")
	expect(t, p, process(func(p *host.Process) { delete(p.Limits, "Max open files") }), control.Unknown, "no such row")
	for i := range 4 {
		expect(t, p, process(func(p *host.Process) { p.UIDs[i] = 0 }), control.Fail, "four unprivileged ids")
	}
	expect(t, p, process(func(p *host.Process) { p.NoNewPrivs = false }), control.Fail, "NoNewPrivs: want 1, got 0")
	expect(t, p, process(func(p *host.Process) { p.Seccomp = 0 }), control.Fail, "Seccomp: want 2, got 0")
	expect(t, p, process(unchanged).FailFact("Process", errDenied), control.Unknown, "/proc/9")
	expect(t, p, process(unchanged).FailFact("Unit", errDenied), control.Unknown, "MainPID")
	stopped := host.Unit{Name: "vault.service", ActiveState: "failed", Properties: map[string]string{"MainPID": "0"}}
	expect(t, p, hosttest.New().SetUnit(stopped), control.Fail, "unit failed")
	expect(t, p, hosttest.New().SetNoUnit("vault.service"), control.Fail, "unit inactive")
}

func TestFirewallOfTheModel(t *testing.T) {
	f := &resource.Firewall{Sets: []string{"peers"}, Inbound: []resource.Opening{{Protocol: "tcp", Port: 8200, Peer: "peers"}}}
	changed := func(change func(*host.Table)) *hosttest.Host {
		r := f.Expected()
		r.Tables[0].Chains = slices.Clone(r.Tables[0].Chains)
		change(&r.Tables[0])
		return hosttest.New().SetRuleset(r)
	}
	expect(t, f, changed(func(*host.Table) {}), control.Pass, "input rules")
	expect(t, f, changed(func(t *host.Table) { t.Sets[0].Elements = []string{"192.0.2.1"} }), control.Pass, "")
	expect(t, f, changed(func(t *host.Table) { t.Family = "ip" }), control.Fail, "got ip strongroom")
	expect(t, f, changed(func(t *host.Table) { t.Chains[0].Priority = 10 }), control.Fail, "priority 10")
	expect(t, f, changed(func(t *host.Table) { t.Chains[1].Hook = "" }), control.Fail, "forward hook and policy")
	expect(t, f, changed(func(t *host.Table) { t.Chains = t.Chains[:2] }), control.Fail, "got input, forward")
	expect(t, f, changed(func(t *host.Table) { t.Chains = append(t.Chains, host.Chain{Name: "more"}) }), control.Fail, "more")
	expect(t, f, hosttest.New().SetRuleset(host.Ruleset{}), control.Fail, "got none")
	expect(t, f, hosttest.New().FailFact("Ruleset", errDenied), control.Unknown, "permission denied")
}
