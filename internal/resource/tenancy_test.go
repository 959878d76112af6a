package resource_test

import (
	"io/fs"
	"strings"
	"testing"

	"github.com/strongroom/strongroom/internal/control"
	"github.com/strongroom/strongroom/internal/host"
	"github.com/strongroom/strongroom/internal/host/hosttest"
	"github.com/strongroom/strongroom/internal/resource"
)

const serverUnit = "vault.service"

// serverNode has a server with memory locked, as it was seen on a booted node.
func serverNode(change ...func(*host.Process)) *hosttest.Host {
	p := host.Process{
		PID: 449, Name: "vault", UIDs: [4]uint64{800, 800, 800, 800}, GIDs: [4]uint64{800, 800, 800, 800}, Groups: []uint64{800},
		CapInheritable: 1 << 14, CapPermitted: 1 << 14, CapEffective: 1 << 14, CapBounding: 1 << 14, CapAmbient: 1 << 14,
		VmSizeKB: 211111688, VmLckKB: 211111660, ControlGroup: "/system.slice/vault.service", Namespaces: map[string]string{"mnt": "4026532229"},
		Arguments: []string{"/usr/bin/vault", "server", "-config=/run/vault/vault.hcl"}, Environment: []string{"PATH"},
	}
	for _, c := range change {
		c(&p)
	}
	return hosttest.New().File("/etc/passwd", "vault:x:800:800::/var/lib/vault:/usr/sbin/nologin\n").
		SetUnit(host.Unit{Name: serverUnit, ActiveState: "active", Properties: map[string]string{"MainPID": "449"}}).
		SetProcess(p).SetProcess(host.Process{PID: 1, Namespaces: map[string]string{"mnt": "4026531841"}}).
		File("/sys/fs/cgroup/system.slice/vault.service/memory.swap.max", "0\n").File("/sys/fs/cgroup/system.slice/vault.service/memory.swap.current", "0\n")
}

func TestProcess(t *testing.T) {
	of := func(change func(*resource.Process)) *resource.Process {
		p := &resource.Process{Unit: serverUnit, Name: "x"}
		change(p)
		if err := p.Validate(); err != nil {
			t.Error(err)
		}
		return p
	}
	identity := of(func(p *resource.Process) { p.Account, p.Namespaces = "vault", []string{"mnt"} })
	expect(t, identity, serverNode(), control.Pass, "its own")
	expect(t, identity, serverNode().File("/etc/passwd", "root:x:0:0::/root:/bin/sh\n"), control.Unknown, "no account vault")
	expect(t, identity, serverNode().FailFile("/etc/passwd", errDenied), control.Unknown, "permission denied")
	expect(t, identity, serverNode().FailFact("Unit", errDenied), control.Unknown, "MainPID")
	expect(t, identity, serverNode().FailFact("Process", errDenied), control.Unknown, "/proc/449")
	expect(t, identity, serverNode().SetNoUnit(serverUnit), control.Fail, "unit inactive")
	expect(t, identity, serverNode(func(p *host.Process) { p.UIDs[1] = 0 }), control.Fail, "[800 0 800 800]")
	expect(t, identity, serverNode(func(p *host.Process) { p.Namespaces = nil }), control.Unknown, "no such namespace")

	power := of(func(p *resource.Process) { p.Capabilities, p.Locked = "CAP_IPC_LOCK", "all" })
	expect(t, power, serverNode(), control.Pass, "211111660 of 211111688 KiB")
	expect(t, power, serverNode(func(p *host.Process) { p.CapAmbient = 0 }), control.Fail, "CapAmb: want cap_ipc_lock, got none")
	expect(t, power, serverNode(func(p *host.Process) { p.CapBounding |= 1<<63 | 1 }), control.Fail, "cap_chown cap_ipc_lock 63")
	expect(t, power, serverNode(func(p *host.Process) { p.VmLckKB = 0 }), control.Fail, "0 of 211111688")
	expect(t, power, serverNode(func(p *host.Process) { p.VmLckKB = 211000000 }), control.Fail, "211000000 of")
	expect(t, power, serverNode(func(p *host.Process) { p.VmLckKB, p.VmSizeKB = 0, 0 }), control.Fail, "0 of 0")

	swap := of(func(p *resource.Process) { p.NoSwap = true })
	const group = "/sys/fs/cgroup/system.slice/vault.service/"
	expect(t, swap, serverNode(), control.Pass, "memory.swap.current")
	expect(t, swap, serverNode().Remove(group+"memory.swap.max"), control.Fail, "absent")
	expect(t, swap, serverNode().FailFile(group+"memory.swap.max", errDenied), control.Unknown, "permission denied")

	config := of(func(p *resource.Process) { p.Config = "/run/vault/vault.hcl" })
	expect(t, config, serverNode(), control.Pass, "/run/vault/vault.hcl")
	for _, arguments := range []string{"vault server -config /run/vault/vault.hcl", "vault server --config=/run/vault/vault.hcl"} {
		expect(t, config, serverNode(func(p *host.Process) { p.Arguments = strings.Fields(arguments) }), control.Pass, "")
	}
	for _, arguments := range []string{"vault server", "vault server -config", "vault server -config=/a", "vault server -config=/run/vault/vault.hcl -config=/a"} {
		expect(t, config, serverNode(func(p *host.Process) { p.Arguments = strings.Fields(arguments) }), control.Fail, "")
	}
}

func TestExecutable(t *testing.T) {
	sum := strings.Repeat("ab", 32)
	e := &resource.Executable{Unit: serverUnit, Path: "/usr/bin/vault", SHA256: sum}
	good := host.Executable{Path: "/usr/bin/vault", OnDisk: true}
	expectAt(t, e, serverNode().SetExecutable(449, good, sum), control.StageRun, control.Pass, sum)
	expectAt(t, e, serverNode().FailFact("Executable", errDenied), control.StageRun, control.Unknown, "/proc/449/exe")
	expectAt(t, e, serverNode().SetExecutable(449, good, sum).FailFact("ExecutableDigest", errDenied), control.StageRun, control.Unknown, "SHA-256")
	expectAt(t, e, serverNode().SetExecutable(449, good, "0"), control.StageRun, control.Fail, "SHA-256")
	without := &resource.Executable{Unit: serverUnit, Path: "/usr/bin/vault"}
	expectAt(t, without, serverNode().SetExecutable(449, good, sum), control.StageRun, control.Pass, "no digest of the program")

	tree := hosttest.New().FailFact("Mounts", host.ErrNotRunning).File("/usr/bin/vault", "ELF")
	elf := &resource.Executable{Unit: serverUnit, Path: "/usr/bin/vault", SHA256: "ba3a2bc8d6d8efa8e2b5f5b7e5f5f5f5f5f5f5f5f5f5f5f5f5f5f5f5f5f5f5f5"}
	expectAt(t, elf, tree, control.StageImage, control.Fail, "/usr/bin/vault SHA-256")
	expectAt(t, without, tree, control.StageImage, control.NotApplicable, "no digest of the program")
	digest, err := tree.Digest("/usr/bin/vault")
	if err != nil {
		t.Fatal(err)
	}
	elf.SHA256 = digest
	expectAt(t, elf, tree, control.StageImage, control.Pass, digest)
	expectAt(t, elf, tree.FailFile("/usr/bin/vault", errDenied), control.StageImage, control.Unknown, "permission denied")
	// The gate asks what a tree shows; on a node it reads nothing.
	if obs := elf.Verify(t.Context(), hosttest.New().SetMounts(), control.StageImage); len(obs) != 0 {
		t.Errorf("%+v", obs)
	}
}

func TestOpenFiles(t *testing.T) {
	f := &resource.OpenFiles{Directory: "/var/lib/vault", Unit: serverUnit}
	own := host.OpenFile{PID: 449, Name: "vault", ControlGroup: "/system.slice/vault.service", Path: "/var/lib/vault/vault.db"}
	expect(t, f, hosttest.New().SetOpenFiles("/var/lib/vault", own), control.Pass, "in no other")
	expect(t, f, hosttest.New().SetOpenFiles("/var/lib/vault"), control.Pass, "in no other")
	other := own
	other.ControlGroup = "/system.slice/vault.service.evil.slice/x.service"
	expect(t, f, hosttest.New().SetOpenFiles("/var/lib/vault", own, other), control.Fail, "process 449 (vault)")
	closed := host.OpenFile{PID: 5, Unreadable: "fd: permission denied"}
	expect(t, f, hosttest.New().SetOpenFiles("/var/lib/vault", own, closed), control.Unknown, "/proc/5/fd")
	expect(t, f, hosttest.New().FailFact("OpenFiles", errDenied), control.Unknown, "permission denied")
}

func TestUnits(t *testing.T) {
	u := &resource.Units{Allow: []string{"a.service", "b@.service", "c.timer", "d@.socket"}}
	status := func(name, state string) host.UnitStatus {
		return host.UnitStatus{Name: name, LoadState: "loaded", ActiveState: state}
	}
	expect(t, u, hosttest.New().SetUnits(status("a.service", "active"), status("b@x.service", "activating"), status("c.timer", "active"), status("d@1.socket", "active"),
		status("e.service", "inactive"), status("e.mount", "active"), status("e.slice", "active"), status("e.target", "active")), control.Pass, "none")
	for _, bad := range []host.UnitStatus{
		status("e.service", "active"), status("e.service", "activating"), status("e.service", "failed"), status("b.service", "active"), status("b@x.timer", "active"),
		status("e.scope", "active"), status("e.path", "active"), status("e.automount", "active"), status("c.service", "active"),
	} {
		expect(t, u, hosttest.New().SetUnits(bad), control.Fail, bad.Name+" ("+bad.ActiveState+")")
	}
	expect(t, u, hosttest.New().FailFact("Units", errDenied), control.Unknown, "ListUnits")
	var many []host.UnitStatus
	for range 100 {
		many = append(many, status("e.service", "active"))
	}
	expect(t, u, hosttest.New().SetUnits(many...), control.Fail, "and 80 more")
}

func TestProcessesAndTheirSecrets(t *testing.T) {
	p := &resource.Processes{}
	units := []host.UnitStatus{{Name: "a.service", LoadState: "loaded"}, {Name: "gone.service", LoadState: "not-found"}, {Name: "b.scope", LoadState: "loaded"}}
	one := func(group, name string, pid, parent int) *hosttest.Host {
		return hosttest.New().SetUnits(units...).SetProcesses(host.ProcessSummary{PID: pid, Parent: parent, Name: name, ControlGroup: group})
	}
	expect(t, p, one("/system.slice/a.service", "a", 9, 1), control.Pass, "1 processes")
	expect(t, p, one("/system.slice/system-a.slice/a.service/sub", "a", 9, 1), control.Pass, "")
	expect(t, p, one("/init.scope", "systemd", 1, 0), control.Pass, "")
	expect(t, p, one("/init.scope", "(vault)", 9, 1), control.Pass, "")
	expect(t, p, one("/", "modprobe", 9, 2), control.Pass, "")
	expect(t, p, one("/init.scope", "(vault)", 9, 8), control.Fail, "(vault)")
	expect(t, p, one("/", "modprobe", 9, 1), control.Fail, "modprobe (process 9, uid 0, control group /)")
	expect(t, p, one("/system.slice/gone.service", "a", 9, 1), control.Fail, "gone.service")
	expect(t, p, one("/system.slice/unknown.service", "a", 9, 1), control.Fail, "unknown.service")
	expect(t, p, one("/user.slice/b.scope", "a", 9, 1), control.Fail, "b.scope")
	expect(t, p, one("/a.service", "a", 9, 1), control.Fail, "/a.service")
	expect(t, p, one("/lxc/a.service", "a", 9, 1), control.Fail, "/lxc")
	expect(t, p, hosttest.New().SetUnits().SetProcesses(host.ProcessSummary{PID: 9, Unreadable: "status: permission denied"}), control.Unknown, "/proc/9")
	expect(t, p, one("/", "a", 9, 1).FailFact("Units", errDenied), control.Unknown, "ListUnits")
	expect(t, p, hosttest.New().FailFact("Processes", errDenied), control.Unknown, "cgroup")

	s := &resource.ProcessSecrets{Variables: []string{"VAULT_TOKEN"}}
	with := func(p host.ProcessSummary) *hosttest.Host { return hosttest.New().SetProcesses(p) }
	expect(t, s, with(host.ProcessSummary{PID: 9, Environment: []string{"PATH"}}), control.Pass, "none in 1 processes")
	expect(t, s, with(host.ProcessSummary{PID: 9, Name: "sh", Environment: []string{"VAULT_TOKEN"}}), control.Fail, "process 9 (sh): environment VAULT_TOKEN")
	expect(t, s, with(host.ProcessSummary{PID: 9, Secrets: []string{"argument 3: a Vault token"}}), control.Fail, "argument 3")
	expect(t, s, with(host.ProcessSummary{PID: 9, Unreadable: "environ: permission denied"}), control.Unknown, "environ")
	expect(t, s, hosttest.New().FailFact("Processes", errDenied), control.Unknown, "environ")
}

// utmpEntry is a record as login(1) writes it.
func utmpEntry(kind byte, line, user string) string {
	b := make([]byte, 384)
	b[0] = kind
	copy(b[8:], line)
	copy(b[44:], user)
	return string(b)
}

func TestSessions(t *testing.T) {
	s := &resource.Sessions{}
	boot := utmpEntry(2, "~", "reboot")
	expect(t, s, hosttest.New(), control.Pass, "absent")
	expect(t, s, hosttest.New().Directory("/run/systemd/sessions", 0o755).File("/run/utmp", boot), control.Pass, "no user")
	expect(t, s, hosttest.New().File("/run/utmp", boot+utmpEntry(7, "tty1", "root")), control.Fail, "root on tty1")
	expect(t, s, hosttest.New().File("/run/utmp", utmpEntry(7, "pts/0", "a\x1b[2J")), control.Fail, `"a\x1b[2J" on pts/0`)
	expect(t, s, hosttest.New().File("/run/utmp", boot[:100]), control.Unknown, "no whole number of entries")
	expect(t, s, hosttest.New().File("/run/systemd/sessions/c1", ""), control.Fail, "got c1")
	expect(t, s, hosttest.New().FailFile("/run/systemd/sessions", errDenied), control.Unknown, "/run/systemd/sessions")
	expect(t, s, hosttest.New().FailFile("/run/utmp", errDenied), control.Unknown, "/run/utmp")
}

func TestHomeTraces(t *testing.T) {
	h := &resource.HomeTraces{Name: "x", Files: []string{".vault-token", ".aws/credentials"}}
	node := func() *hosttest.Host {
		return hosttest.New().File("/etc/passwd", "root:x:0:0::/root:/bin/sh\nd:x:1:1::/:/bin/sh\nn:x:2:2::/nonexistent:/bin/sh\nv:x:3:3::/var/lib/v:/bin/sh\n").
			Directory("/root", 0o700).Directory("/var/lib/v", 0o700)
	}
	for _, stage := range []control.Stage{control.StageImage, control.StageBoot} {
		expectAt(t, h, node(), stage, control.Pass, "none")
		expectAt(t, h, node().File("/var/lib/v/.aws/credentials", ""), stage, control.Fail, "/var/lib/v/.aws/credentials")
		expectAt(t, h, node().Symlink("/root/.vault-token", "/nowhere"), stage, control.Fail, "/root/.vault-token")
		expectAt(t, h, node().File("/.vault-token", ""), stage, control.Fail, "/.vault-token")
		expectAt(t, h, node().File("/home/old/.vault-token", ""), stage, control.Fail, "/home/old/.vault-token")
	}
	expect(t, h, node().File("/root/.aws", "a file"), control.Pass, "none")
	expect(t, h, node().FailFile("/root/.vault-token", errDenied), control.Unknown, "/root/.vault-token")
	expect(t, h, node().FailFile("/root", errDenied), control.Unknown, "/root")
	expect(t, h, node().FailFile("/home", fs.ErrPermission), control.Unknown, "permission")
	expect(t, h, node().File("/etc/passwd", "x\n"), control.Unknown, "fields")
}

func TestClockAndTier(t *testing.T) {
	c := &resource.Clock{MaxErrorMS: "100"}
	expect(t, c, hosttest.New().SetClock(host.Clock{Synchronised: true, MaxErrorMicroseconds: 100000}), control.Pass, "100.0 ms")
	expect(t, c, hosttest.New().SetClock(host.Clock{Synchronised: true, MaxErrorMicroseconds: 100001}), control.Fail, "at most 100 ms")
	expect(t, c, hosttest.New().SetClock(host.Clock{MaxErrorMicroseconds: 1}), control.Fail, "not synchronised")
	expect(t, c, hosttest.New().FailFact("Clock", errDenied), control.Unknown, "adjtimex")

	machine, metal := &resource.Virtualization{Tier: "machine"}, &resource.Virtualization{Tier: "metal"}
	for word, want := range map[string][2]control.Outcome{
		"": {control.Pass, control.Pass}, "kvm": {control.Pass, control.Fail}, "docker": {control.Fail, control.Fail},
	} {
		expect(t, machine, hosttest.New().SetVirtualization(word), want[0], "")
		expect(t, metal, hosttest.New().SetVirtualization(word), want[1], word)
	}
	expect(t, metal, hosttest.New().FailFact("Virtualization", errDenied), control.Unknown, "Virtualization")
}

func TestValidateRefusesNonsenseAboutTenants(t *testing.T) {
	for _, c := range []struct {
		res  control.Resource
		want string
	}{
		{&resource.Process{Unit: serverUnit, Name: "x"}, "nothing is stated"},
		{&resource.Process{Unit: "vault", Name: "x", NoSwap: true}, `unit "vault"`},
		{&resource.Process{Unit: serverUnit, Name: "X", NoSwap: true}, `name "X"`},
		{&resource.Process{Unit: serverUnit, Name: "x", Account: "*"}, `account "*"`},
		{&resource.Process{Unit: serverUnit, Name: "x", Capabilities: "CAP_FLY"}, "CAP_FLY"},
		{&resource.Process{Unit: serverUnit, Name: "x", Namespaces: []string{"moon"}}, "moon"},
		{&resource.Process{Unit: serverUnit, Name: "x", Locked: "some"}, "some"},
		{&resource.Process{Unit: serverUnit, Name: "x", OOMScoreAdjust: "-1001"}, "-1001"},
		{&resource.Process{Unit: serverUnit, Name: "x", NoEnvironment: []string{"A=B"}}, "A=B"},
		{&resource.Process{Unit: serverUnit, Name: "x", Config: "vault.hcl"}, "vault.hcl"},
		{&resource.Executable{Unit: serverUnit, Path: "vault"}, `path "vault"`},
		{&resource.Executable{Unit: serverUnit, Path: "/v", SHA256: "AB"}, `sha256 "AB"`},
		{&resource.OpenFiles{Unit: serverUnit, Directory: "/"}, `directory "/"`},
		{&resource.OpenFiles{Unit: "x", Directory: "/a"}, `unit "x"`},
		{&resource.Units{}, "no unit"},
		{&resource.Units{Allow: []string{"a.mount"}}, "a.mount"},
		{&resource.Units{Allow: []string{"rm -rf"}}, `"rm -rf"`},
		{&resource.HomeTraces{Name: "x"}, "no files"},
		{&resource.HomeTraces{Name: "x", Files: []string{"../etc/passwd"}}, "../etc/passwd"},
		{&resource.HomeTraces{Name: "x", Files: []string{"/etc/passwd"}}, "/etc/passwd"},
		{&resource.ProcessSecrets{}, "no variables"},
		{&resource.ProcessSecrets{Variables: []string{"A B"}}, "A B"},
		{&resource.Clock{MaxErrorMS: "0"}, `"0"`},
		{&resource.Clock{MaxErrorMS: "16001"}, "16001"},
		{&resource.Virtualization{Tier: "cloud"}, "cloud"},
	} {
		if err := c.res.Validate(); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: %v, want %q", c.res.Key(), err, c.want)
		}
	}
}
