package check_test

import (
	"context"
	"errors"
	"io/fs"
	"maps"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/strongroom/strongroom/internal/baseline"
	"github.com/strongroom/strongroom/internal/check"
	"github.com/strongroom/strongroom/internal/check/checktest"
	"github.com/strongroom/strongroom/internal/control"
	"github.com/strongroom/strongroom/internal/host"
	"github.com/strongroom/strongroom/internal/host/hosttest"
)

func run(t *testing.T, b *baseline.Baseline, h host.Host, stage control.Stage) *check.Report {
	t.Helper()
	return check.Run(t.Context(), b, "digest", h, stage, check.Options{})
}

// unjudged reports whether a control is not judged at a stage: what no host can show, and on a running node
// what was judged when its image was made.
func unjudged(c control.Control, stage control.Stage) bool {
	return c.Procedural() || c.Stage == control.StageImage && stage.Runs()
}

// complain lists everything that is neither pass nor pending, but for what is never judged.
func complain(r *check.Report) string {
	var b strings.Builder
	for _, c := range r.Controls {
		if unjudged(c.Control, r.Stage) && c.Outcome == control.NotApplicable {
			continue
		}
		for _, o := range c.Observations {
			if o.Outcome != control.Pass && o.Outcome != control.Pending && (o.Outcome != control.NotApplicable || o.Got == "") {
				b.WriteString(c.Control.ID + " " + o.Resource.String() + " " + o.Outcome.String() + ": " + o.Source + ": want " + o.Want + ", got " + o.Got)
				if o.Err != nil {
					b.WriteString(": " + o.Err.Error())
				}
				b.WriteString("\n")
			}
		}
	}
	return b.String()
}

func profiles() map[string]control.Profile {
	out := map[string]control.Profile{}
	for _, lock := range []string{"off", "on"} {
		p := checktest.Profile()
		p.Parameters = map[string]string{"memory_lock": lock}
		out["memory_lock="+lock] = p
	}
	out["openbao"] = checktest.OpenBaoProfile()
	p := checktest.Profile()
	p.Parameters = map[string]string{"api_port": "18200", "cluster_port": "18201", "agent_port": "19810", "metadata_egress": "169.254.169.254 fd00:ec2::254"}
	out["other ports"] = p
	return out
}

func TestRenderedTreePassesStageImage(t *testing.T) {
	for name, p := range profiles() {
		t.Run(name, func(t *testing.T) {
			b := checktest.Compile(t, p)
			r := run(t, b, checktest.Tree(t, b), control.StageImage)
			if r.Verdict != check.Pass {
				t.Errorf("verdict %s\n%s", r.Verdict, complain(r))
			}
		})
	}
}

func TestConformingNodePassesEveryStage(t *testing.T) {
	for name, p := range profiles() {
		for _, stage := range []control.Stage{control.StageBoot, control.StageRun, control.StageMember} {
			t.Run(name+"/"+stage.String(), func(t *testing.T) {
				b := checktest.Compile(t, p)
				r := run(t, b, checktest.Node(t, b), stage)
				if r.Verdict != check.Pass || complain(r) != "" {
					t.Errorf("verdict %s\n%s", r.Verdict, complain(r))
				}
				for _, c := range r.Controls {
					if stage >= c.Control.Stage && c.Outcome != control.Pass && !unjudged(c.Control, stage) {
						t.Errorf("%s is %s", c.Control.ID, c.Outcome)
					}
				}
			})
		}
	}
}

// Every fragment that a control renders is looked at: flipped, removed, made writable or given away,
// the control that owns it fails.
func TestEveryFragmentOfAControlIsProven(t *testing.T) {
	for _, p := range []control.Profile{checktest.Profile(), checktest.OpenBaoProfile()} {
		t.Run(p.Server, func(t *testing.T) { everyFragmentIsProven(t, checktest.Compile(t, p)) })
	}
}

func everyFragmentIsProven(t *testing.T, b *baseline.Baseline) {
	tree, err := b.Overlay()
	if err != nil {
		t.Fatal(err)
	}
	n := 0
	for _, f := range tree.Fragments() {
		owner := tree.Owner(f.Path)
		if _, isControl := b.Find(owner); !isControl {
			continue
		}
		n++
		broken := map[string]func(*hosttest.Host){
			"removed": func(h *hosttest.Host) { h.Remove(f.Path) },
			"flipped": func(h *hosttest.Host) {
				if f.Mode&fs.ModeSymlink != 0 {
					h.Symlink(f.Path, f.Target+"x")
					return
				}
				content := slices.Clone(f.Content)
				content[len(content)/2] ^= 1
				h.File(f.Path, string(content))
			},
		}
		if f.Mode.IsRegular() {
			broken["writable"] = func(h *hosttest.Host) { h.Chmod(f.Path, 0o666) }
			broken["given away"] = func(h *hosttest.Host) { h.Chown(f.Path, 800, 800) }
		}
		for how, breakIt := range broken {
			h := checktest.Tree(t, b)
			breakIt(h)
			if got := outcome(run(t, b, h, control.StageImage), owner); got != control.Fail {
				t.Errorf("%s %s: %s is %s, want fail", f.Path, how, owner, got)
			}
		}
	}
	if n < 80 {
		t.Errorf("only %d fragments of controls were tried", n)
	}
}

func outcome(r *check.Report, id string) control.Outcome {
	for _, c := range r.Controls {
		if c.Control.ID == id {
			return c.Outcome
		}
	}
	return -1
}

// A node on which nothing can be read gives not one pass of an effective fact.
func TestUnreadableFactsAreUnknown(t *testing.T) {
	b := checktest.Compile(t, checktest.Profile())
	denied := errors.New("permission denied")
	conforming := checktest.Node(t, b)
	for _, fact := range []string{"Swaps", "Mounts", "KernelArguments", "Modules", "Listeners", "AppArmor", "Process", "Unit", "UnitStatus", "Units", "Ruleset", "TLSListener"} {
		h := checktest.Node(t, b).FailFact(fact, denied)
		r := run(t, b, h, control.StageRun)
		if r.Verdict != check.Unknown {
			t.Errorf("%s unreadable: verdict %s, want unknown", fact, r.Verdict)
		}
		if !strings.Contains(complain(r), denied.Error()) {
			t.Errorf("%s unreadable: no observation tells why", fact)
		}
	}
	for _, path := range []string{"/proc/sys/kernel/kptr_restrict", "/etc/passwd", "/run/vault/vault.hcl", "/sys/kernel/security/lockdown"} {
		h := checktest.Node(t, b).FailFile(path, denied)
		if r := run(t, b, h, control.StageBoot); r.Verdict != check.Unknown {
			t.Errorf("%s unreadable: verdict %s, want unknown\n%s", path, r.Verdict, complain(r))
		}
	}
	if r := run(t, b, conforming, control.StageBoot); r.Verdict != check.Pass {
		t.Errorf("the untouched node: %s\n%s", r.Verdict, complain(r))
	}
}

// TestBrokenFactsCloseTheGate breaks one effective fact at a time and sees the control that states
// it fail, and no other.
func TestBrokenFactsCloseTheGate(t *testing.T) {
	b := checktest.Compile(t, checktest.Profile())
	cases := map[string]struct {
		control string
		also    []string // controls that state the same fact
		break_  func(*hosttest.Host)
	}{
		"a sysctl is flipped at run time": {control: "kernel-pointers-hidden", break_: func(h *hosttest.Host) {
			h.File("/proc/sys/kernel/kptr_restrict", "0\n")
		}},
		"a sysctl is absent": {control: "kernel-tracing-denied", break_: func(h *hosttest.Host) {
			h.Remove("/proc/sys/kernel/yama/ptrace_scope")
		}},
		"a later drop-in will flip a sysctl": {control: "kernel-keys-restricted", break_: func(h *hosttest.Host) {
			h.File("/etc/sysctl.d/zz-local.conf", "kernel.sysrq=1\n")
		}},
		"swap is on": {control: "memory-swap-off", break_: func(h *hosttest.Host) {
			h.SetSwaps(host.Swap{Device: "/dev/vda6", Type: "partition", SizeKB: 1024})
		}},
		"a swap unit is loaded": {control: "memory-swap-off", break_: func(h *hosttest.Host) {
			moreUnits(t, h, host.UnitStatus{Name: "dev-vda6.swap", LoadState: "loaded", ActiveState: "inactive"})
		}},
		"fstab names swap": {control: "memory-swap-off", also: []string{"mounts-writable-without-programs"}, break_: func(h *hosttest.Host) {
			h.File("/etc/fstab", "/swap none swap sw 0 0\n")
		}},
		"a core pattern pipes to a collector": {control: "memory-core-dumps-off", break_: func(h *hosttest.Host) {
			h.File("/proc/sys/kernel/core_pattern", "|/usr/lib/systemd/systemd-coredump %P\n")
		}},
		"lockdown was asked for but is off": {control: "kernel-lockdown", break_: func(h *hosttest.Host) {
			h.File("/sys/kernel/security/lockdown", "[none] integrity confidentiality\n")
		}},
		"Secure Boot is off": {control: "firmware-secure-boot-on", break_: func(h *hosttest.Host) {
			h.File("/sys/firmware/efi/efivars/SecureBoot-8be4df61-93ca-11d2-aa0d-00e098032b8c", "\x06\x00\x00\x00\x00")
		}},
		"firmware is in setup mode": {control: "firmware-secure-boot-on", break_: func(h *hosttest.Host) {
			h.File("/sys/firmware/efi/efivars/SetupMode-8be4df61-93ca-11d2-aa0d-00e098032b8c", "\x06\x00\x00\x00\x01")
		}},
		"no TPM": {control: "firmware-tpm-present", break_: func(h *hosttest.Host) { h.Remove("/sys/class/tpm/tpm0/tpm_version_major") }},
		"another kernel was started": {control: "firmware-measurements-expected", break_: func(h *hosttest.Host) {
			h.File("/sys/class/tpm/tpm0/pcr-sha256/4", strings.Repeat("CD", 32)+"\n")
		}},
		"root is not verity": {control: "root-verity", break_: breakVerity},
		"an sshd is there":   {control: "ssh-absent", break_: func(h *hosttest.Host) { h.File("/usr/sbin/sshd", "ELF") }},
		"a socket is open": {control: "network-listeners-exact", break_: func(h *hosttest.Host) {
			h.SetListeners(host.Listener{Protocol: "tcp", Address: "0.0.0.0", Port: 8200},
				host.Listener{Protocol: "tcp", Address: "::", Port: 9810}, host.Listener{Protocol: "tcp", Address: "::", Port: 22})
		}},
		"Vault does not listen": {control: "network-listeners-exact", break_: func(h *hosttest.Host) { h.SetListeners() }},
		"a blocked module is loaded": {control: "filesystems-unneeded-blocked", break_: func(h *hosttest.Host) {
			h.SetModules("squashfs", "usb_storage")
		}},
		"somebody can log in": {control: "accounts-no-login", break_: func(h *hosttest.Host) {
			h.File("/etc/passwd", "root:x:0:0:root:/root:/bin/bash\nvault:x:800:800::/var/lib/vault:/usr/sbin/nologin\n")
		}},
		"a second root": {control: "accounts-no-login", also: []string{"accounts-known"}, break_: func(h *hosttest.Host) {
			h.File("/etc/passwd", "root:x:0:0:root:/root:/usr/sbin/nologin\ntoor:*:0:0::/:/bin/false\nvault:x:800:800::/var/lib/vault:/usr/sbin/nologin\n")
		}},
		"an account with a password": {control: "accounts-no-login", break_: func(h *hosttest.Host) {
			h.File("/etc/shadow", "root:$y$j9T$x:19675:0:99999:7:::\nvault:!:1::::::\n").Chmod("/etc/shadow", 0o640).Chown("/etc/shadow", 0, 42)
		}},
		"an account without any password": {control: "accounts-no-login", break_: func(h *hosttest.Host) {
			h.File("/etc/shadow", "root::19675:0:99999:7:::\nvault:!:1::::::\n").Chmod("/etc/shadow", 0o640).Chown("/etc/shadow", 0, 42)
		}},
		"vault owns its binary": {control: "vault-binary-immutable", also: []string{"vault-binary-path-protected"}, break_: func(h *hosttest.Host) { h.Chown("/usr/bin/vault", 800, 800) }},
		"the binary's directory is writable": {control: "vault-binary-path-protected", also: []string{"hostcheck-path-protected"},
			break_: func(h *hosttest.Host) { h.Chmod("/usr/bin", 0o777) }},
		"vault owns its configuration": {control: "vault-config-immutable", also: []string{"vault-config-path-protected"}, break_: func(h *hosttest.Host) {
			h.Chown("/run/vault/vault.hcl", 800, 800)
		}},
		"TLS is off": {control: "vault-listener-encrypted", break_: func(h *hosttest.Host) {
			vaultConfig(h, strings.Replace(checktest.VaultConfig, `tls_min_version = "tls12"`, `tls_disable = true`, 1))
		}},
		"a second listener without TLS": {control: "vault-listener-encrypted", break_: func(h *hosttest.Host) {
			vaultConfig(h, checktest.VaultConfig+"listener \"tcp\" {\n tls_disable = true\n}\n")
		}},
		"Vault would join by itself": {control: "vault-config-strict", break_: func(h *hosttest.Host) {
			vaultConfig(h, strings.Replace(checktest.VaultConfig, "  path =", "  retry_join {}\n  path =", 1))
		}},
		"mlock is undecided": {control: "memory-lock-decided", break_: func(h *hosttest.Host) {
			vaultConfig(h, strings.Replace(checktest.VaultConfig, "disable_mlock = true\n", "", 1))
		}},
		"another drop-in undoes the sandbox": {control: "vault-privileges-confined", break_: func(h *hosttest.Host) {
			property(t, h, "NoNewPrivileges", "no")
		}},
		"the gate is overridden": {control: "vault-gated", break_: func(h *hosttest.Host) { property(t, h, "Requires", "sysinit.target") }},
		"the process may dump core": {control: "vault-core-limit", break_: func(h *hosttest.Host) {
			p, _ := h.Process(812)
			p.Limits = maps.Clone(p.Limits)
			p.Limits["Max core file size"] = host.Limit{Soft: 0, Hard: host.NoLimit}
			h.SetProcess(p)
		}},
		"the process is root": {control: "vault-process-confined", break_: func(h *hosttest.Host) {
			p, _ := h.Process(812)
			p.UIDs[2] = 0
			h.SetProcess(p)
		}},
		"the process is in another group": {control: "vault-process-confined", break_: func(h *hosttest.Host) {
			process(h, func(p *host.Process) { p.Groups = []uint64{800, 6} })
		}},
		"the process has another group id": {control: "vault-process-confined", break_: func(h *hosttest.Host) {
			process(h, func(p *host.Process) { p.GIDs[3] = 0 })
		}},
		"the process sees the mounts of the host": {control: "vault-process-confined", break_: func(h *hosttest.Host) {
			process(h, func(p *host.Process) { p.Namespaces["mnt"] = "4026531841" })
		}},
		"the process may be traced and dumped": {control: "vault-core-limit", break_: func(h *hosttest.Host) {
			process(h, func(p *host.Process) { p.Dumpable = true })
		}},
		"a core would hold memory": {control: "vault-core-limit", break_: func(h *hosttest.Host) {
			process(h, func(p *host.Process) { p.CoredumpFilter = 0x33 })
		}},
		"the process could gain a capability": {control: "vault-process-powerless", break_: func(h *hosttest.Host) {
			process(h, func(p *host.Process) { p.CapBounding = 1 << 21 })
		}},
		"the process locks memory": {control: "vault-process-powerless", break_: func(h *hosttest.Host) {
			process(h, func(p *host.Process) { p.VmLckKB = 4 })
		}},
		"a page is in swap": {control: "vault-process-unswapped", break_: func(h *hosttest.Host) {
			process(h, func(p *host.Process) { p.VmSwapKB = 4 })
		}},
		"the control group takes swap": {control: "vault-process-unswapped", break_: func(h *hosttest.Host) {
			h.File("/sys/fs/cgroup/system.slice/vault.service/memory.swap.max", "max\n")
		}},
		"the control group has swapped": {control: "vault-process-unswapped", break_: func(h *hosttest.Host) {
			h.File("/sys/fs/cgroup/system.slice/vault.service/memory.swap.current", "4096\n")
		}},
		"a variable turns user lockout off": {control: "vault-environment-clean", break_: func(h *hosttest.Host) {
			process(h, func(p *host.Process) { p.Environment = []string{"PATH", "VAULT_DISABLE_USER_LOCKOUT"} })
		}},
		"a second configuration": {control: "vault-config-sole", break_: func(h *hosttest.Host) {
			process(h, func(p *host.Process) { p.Arguments = append(p.Arguments, "-config", "/etc/vault.d") })
		}},
		"no configuration": {control: "vault-config-sole", break_: func(h *hosttest.Host) {
			process(h, func(p *host.Process) { p.Arguments = []string{"vault", "server", "-dev"} })
		}},
		"the kernel may kill it early": {control: "vault-killed-last", break_: func(h *hosttest.Host) {
			process(h, func(p *host.Process) { p.OOMScoreAdjust = 0 })
		}},
		"the program was deleted": {control: "vault-executable-baked", break_: func(h *hosttest.Host) {
			executable(h, func(e *host.Executable) { e.Deleted, e.OnDisk = true, false })
		}},
		"the program was replaced on disk": {control: "vault-executable-baked", break_: func(h *hosttest.Host) {
			executable(h, func(e *host.Executable) { e.OnDisk = false })
		}},
		"the program is another": {control: "vault-executable-baked", break_: func(h *hosttest.Host) {
			e, _ := h.Executable(812)
			h.SetExecutable(812, e, strings.Repeat("0", 64))
		}},
		"the program lies elsewhere": {control: "vault-executable-baked", break_: func(h *hosttest.Host) {
			executable(h, func(e *host.Executable) { e.Path = "/var/lib/vault/vault" })
		}},
		"the agent is another program": {control: "hostcheck-executable-baked", break_: func(h *hosttest.Host) {
			e, _ := h.Executable(checktest.AgentPID)
			h.SetExecutable(checktest.AgentPID, e, strings.Repeat("0", 64))
		}},
		"the agent was replaced on disk": {control: "hostcheck-executable-baked", break_: func(h *hosttest.Host) {
			digest, _ := h.ExecutableDigest(checktest.AgentPID)
			h.SetExecutable(checktest.AgentPID, host.Executable{Path: "/usr/bin/hostcheck"}, digest)
		}},
		"somebody reads the storage": {control: "vault-storage-exclusive", break_: func(h *hosttest.Host) {
			h.SetOpenFiles("/var/lib/vault", host.OpenFile{PID: 99, Name: "cp", ControlGroup: "/system.slice/backup.service", Path: "/var/lib/vault/vault.db"})
		}},
		"another service runs": {control: "tenancy-units-known", break_: func(h *hosttest.Host) {
			moreUnits(t, h, host.UnitStatus{Name: "cron.service", LoadState: "loaded", ActiveState: "active"})
		}},
		"another service has failed": {control: "tenancy-units-known", break_: func(h *hosttest.Host) {
			moreUnits(t, h, host.UnitStatus{Name: "cron.service", LoadState: "loaded", ActiveState: "failed"})
		}},
		"another timer waits": {control: "tenancy-units-known", break_: func(h *hosttest.Host) {
			moreUnits(t, h, host.UnitStatus{Name: "apt-daily.timer", LoadState: "loaded", ActiveState: "active"})
		}},
		"a transient scope": {control: "tenancy-units-known", break_: func(h *hosttest.Host) {
			moreUnits(t, h, host.UnitStatus{Name: "run-u1.scope", LoadState: "loaded", ActiveState: "active"})
		}},
		"a process in no unit": {control: "tenancy-processes-owned", break_: func(h *hosttest.Host) {
			moreProcesses(h, host.ProcessSummary{PID: 99, Parent: 1, Name: "sh", ControlGroup: "/"})
		}},
		"a process of a session": {control: "tenancy-processes-owned", break_: func(h *hosttest.Host) {
			moreProcesses(h, host.ProcessSummary{PID: 99, Parent: 98, Name: "bash", ControlGroup: "/user.slice/user-0.slice/session-1.scope"})
		}},
		"a process beside PID 1": {control: "tenancy-processes-owned", break_: func(h *hosttest.Host) {
			moreProcesses(h, host.ProcessSummary{PID: 99, Parent: 1, Name: "miner", ControlGroup: "/init.scope"})
		}},
		"a session of logind": {control: "tenancy-sessions-none", break_: func(h *hosttest.Host) { h.File("/run/systemd/sessions/c1", "UID=0\n") }},
		"a container":         {control: "tenancy-kernel-own", break_: func(h *hosttest.Host) { h.SetVirtualization("podman") }},
		"a token in a home":   {control: "shell-history-absent", break_: func(h *hosttest.Host) { h.File("/root/.vault-token", "x") }},
		"a history in a home without an account": {control: "shell-history-absent", break_: func(h *hosttest.Host) {
			h.File("/home/gone/.bash_history", "vault login")
		}},
		"a cloud key in the home of the service": {control: "home-credentials-absent", break_: func(h *hosttest.Host) {
			h.File("/var/lib/vault/.aws/credentials", "x")
		}},
		"a token in an environment": {control: "process-secrets-absent", break_: func(h *hosttest.Host) {
			moreProcesses(h, host.ProcessSummary{PID: 99, Parent: 1, Name: "sh", ControlGroup: "/system.slice/hostcheck.service", Environment: []string{"BAO_TOKEN"}})
		}},
		"a token on a command line": {control: "process-secrets-absent", break_: func(h *hosttest.Host) {
			moreProcesses(h, host.ProcessSummary{PID: 99, Parent: 1, Name: "sh", ControlGroup: "/system.slice/hostcheck.service", Secrets: []string{"argument 2: a Vault token"}})
		}},
		"the clock runs free": {control: "clock-synchronised", break_: func(h *hosttest.Host) {
			h.SetClock(host.Clock{Synchronised: false, MaxErrorMicroseconds: 16e6})
		}},
		"the clock may be seconds off": {control: "clock-synchronised", break_: func(h *hosttest.Host) {
			h.SetClock(host.Clock{Synchronised: true, MaxErrorMicroseconds: 1000001})
		}},
		"chrony does not run": {control: "clock-disciplined", break_: func(h *hosttest.Host) {
			h.SetUnit(host.Unit{Name: "chrony.service", LoadState: "loaded", ActiveState: "failed"})
		}},
		"a getty runs": {control: "console-login-absent", break_: func(h *hosttest.Host) {
			h.SetUnit(host.Unit{Name: "getty@strongroom.service", LoadState: "loaded", ActiveState: "inactive"})
		}},
		"/tmp may execute": {control: "temporary-directories-confined", also: []string{"mounts-writable-without-programs"}, break_: func(h *hosttest.Host) {
			mounts, _ := h.Mounts()
			for i := range mounts {
				if mounts[i].Point == "/tmp" {
					mounts[i].Options = []string{"rw", "nosuid", "nodev"}
				}
			}
			h.SetMounts(mounts...)
		}},
		"AppArmor is off": {control: "apparmor-active", also: []string{"vault-apparmor-enforced", "hostcheck-apparmor-enforced"}, break_: func(h *hosttest.Host) {
			h.File("/sys/kernel/security/lsm", "lockdown,capability,yama\n")
		}},
		"Vault's profile only complains": {control: "vault-apparmor-enforced", break_: func(h *hosttest.Host) {
			policies(t, h, "vault", func(p *host.AppArmorProfile) { p.Mode = "complain" })
		}},
		"another policy was loaded under the profile's name": {control: "vault-apparmor-enforced", break_: func(h *hosttest.Host) {
			policies(t, h, "vault", func(p *host.AppArmorProfile) { p.Digest = "sha256:00" })
		}},
		"the profile of the checker is not loaded": {control: "hostcheck-apparmor-enforced", break_: func(h *hosttest.Host) {
			policies(t, h, "hostcheck", func(p *host.AppArmorProfile) { p.Name = "other" })
		}},
		"the unit does not ask for its profile": {control: "vault-apparmor-enforced", break_: func(h *hosttest.Host) {
			property(t, h, "AppArmorProfile", "-vault")
		}},
		"Vault is unconfined": {control: "vault-apparmor-confined", break_: func(h *hosttest.Host) {
			h.File("/proc/812/attr/current", "unconfined\n")
		}},
		"the checker is unconfined": {control: "hostcheck-apparmor-enforced", break_: func(h *hosttest.Host) {
			h.File("/proc/self/attr/current", "unconfined\n")
		}},
		"a rule was added": {control: "network-default-deny", break_: func(h *hosttest.Host) {
			rules(t, h, func(c *host.Chain) { c.Rules = append(slices.Clone(c.Rules), "tcp dport 22 accept") })
		}},
		"a rule is gone": {control: "network-default-deny", break_: func(h *hosttest.Host) {
			rules(t, h, func(c *host.Chain) { c.Rules = c.Rules[:len(c.Rules)-1] })
		}},
		"the policy is accept": {control: "network-default-deny", break_: func(h *hosttest.Host) {
			rules(t, h, func(c *host.Chain) { c.Policy = "accept" })
		}},
		"a second table": {control: "network-default-deny", break_: func(h *hosttest.Host) {
			r, _ := h.Ruleset(t.Context())
			r.Tables = append(slices.Clone(r.Tables), host.Table{Family: "ip", Name: "nat"})
			h.SetRuleset(r)
		}},
		"no table at all": {control: "network-default-deny", break_: func(h *hosttest.Host) { h.SetRuleset(host.Ruleset{}) }},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			h := checktest.Node(t, b)
			c.break_(h)
			r := run(t, b, h, control.StageMember)
			for _, got := range r.Controls {
				expected := control.Pass
				if unjudged(got.Control, control.StageRun) {
					expected = control.NotApplicable
				}
				if id := got.Control.ID; id == c.control || slices.Contains(c.also, id) {
					expected = control.Fail
				}
				if got.Outcome != expected {
					t.Errorf("%s is %s, want %s\n%s", got.Control.ID, got.Outcome, expected, complain(r))
				}
			}
			ctl, _ := b.Find(c.control)
			if closed := r.Verdict == check.Fail; closed != (ctl.Severity == control.Must) {
				t.Errorf("verdict %s for a %s control", r.Verdict, ctl.Severity)
			}
		})
	}
}

// breakVerity puts the root on a device of another kind.
func breakVerity(h *hosttest.Host) {
	mounts, _ := h.Mounts()
	for _, m := range mounts {
		if m.Point == "/" {
			h.Remove("/sys/dev/block/" + m.Device)
		}
	}
}

func vaultConfig(h *hosttest.Host, content string) {
	h.File("/run/vault/vault.hcl", content).Chmod("/run/vault/vault.hcl", 0o640).Chown("/run/vault/vault.hcl", 0, 800)
}

func policies(t *testing.T, h *hosttest.Host, name string, change func(*host.AppArmorProfile)) {
	t.Helper()
	loaded, err := h.AppArmor()
	if err != nil {
		t.Fatal(err)
	}
	loaded = slices.Clone(loaded)
	for i := range loaded {
		if loaded[i].Name == name {
			change(&loaded[i])
		}
	}
	h.SetAppArmor(loaded...)
}

func process(h *hosttest.Host, change func(*host.Process)) {
	p, _ := h.Process(812)
	p.Namespaces = maps.Clone(p.Namespaces)
	change(&p)
	h.SetProcess(p)
}

func executable(h *hosttest.Host, change func(*host.Executable)) {
	e, _ := h.Executable(812)
	digest, _ := h.ExecutableDigest(812)
	change(&e)
	h.SetExecutable(812, e, digest)
}

func moreUnits(t *testing.T, h *hosttest.Host, more ...host.UnitStatus) {
	t.Helper()
	units, err := h.Units(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	h.SetUnits(append(slices.Clone(units), more...)...)
}

func moreProcesses(h *hosttest.Host, more ...host.ProcessSummary) {
	processes, _ := h.Processes()
	h.SetProcesses(append(slices.Clone(processes), more...)...)
}

func property(t *testing.T, h *hosttest.Host, name, value string) {
	t.Helper()
	u, err := h.Unit(t.Context(), "vault.service")
	if err != nil {
		t.Fatal(err)
	}
	u.Properties = maps.Clone(u.Properties)
	u.Properties[name] = value
	h.SetUnit(u)
}

func rules(t *testing.T, h *hosttest.Host, change func(*host.Chain)) {
	t.Helper()
	r, err := h.Ruleset(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	table := r.Tables[0]
	table.Chains = slices.Clone(table.Chains)
	change(&table.Chains[0])
	h.SetRuleset(host.Ruleset{Tables: []host.Table{table}})
}

func TestStageRunFactsArePendingAtBoot(t *testing.T) {
	b := checktest.Compile(t, checktest.Profile())
	r := run(t, b, checktest.Node(t, b).FailFact("Process", errors.New("must not be asked")), control.StageBoot)
	if got := outcome(r, "vault-core-limit"); got != control.Pass {
		// On-disk facts pass; the effective one is pending and is told as such.
		t.Errorf("vault-core-limit is %s", got)
	}
	for _, c := range r.Controls {
		if c.Control.ID == "vault-core-limit" && !slices.ContainsFunc(c.Observations, func(o control.Observation) bool { return o.Outcome == control.Pending }) {
			t.Error("vault-core-limit shows no pending observation at stage boot")
		}
	}
	if r.Verdict != check.Pass {
		t.Errorf("verdict %s\n%s", r.Verdict, complain(r))
	}
}

// broken stands for a kind with a bug.
type broken struct {
	control.Resource
	verify func()
}

func (b broken) Verify(_ context.Context, _ host.Host, _ control.Stage) []control.Observation {
	b.verify()
	return nil
}

func TestPanicAndHangAreUnknown(t *testing.T) {
	for name, verify := range map[string]func(){
		"panic": func() { panic("index out of range") },
		"hang":  func() { select {} },
	} {
		t.Run(name, func(t *testing.T) {
			b := checktest.Compile(t, checktest.Profile())
			b.Controls[0].Resources = []control.Resource{broken{b.Controls[0].Resources[0], verify}}
			b.Controls[0].Severity = control.Must
			r := check.Run(t.Context(), b, "digest", checktest.Node(t, b), control.StageBoot, check.Options{Parallel: 1, Timeout: time.Second})
			if r.Controls[0].Outcome != control.Unknown || r.Verdict != check.Unknown {
				t.Errorf("outcome %s, verdict %s; want unknown", r.Controls[0].Outcome, r.Verdict)
			}
			for _, c := range r.Controls[1:] {
				if c.Outcome == control.Unknown {
					t.Errorf("%s was to be judged after it: %v", c.Control.ID, c.Observations)
				}
			}
		})
	}
}
