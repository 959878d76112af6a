// Package checktest builds hosts in memory that conform to a baseline, so that tests can break one
// fact at a time and see which control notices.
package checktest

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"io/fs"
	"path"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/strongroom/strongroom/hardening"
	"github.com/strongroom/strongroom/internal/baseline"
	"github.com/strongroom/strongroom/internal/control"
	"github.com/strongroom/strongroom/internal/distribution"
	"github.com/strongroom/strongroom/internal/host"
	"github.com/strongroom/strongroom/internal/host/hosttest"
	"github.com/strongroom/strongroom/internal/resource"
	"github.com/strongroom/strongroom/internal/server"
)

// program is the content of the server's program and of hostcheck in a tree.
const program = "ELF"

// Profile is the profile that tests use when they do not care: Vault on a virtual machine.
func Profile() control.Profile {
	sum := sha256.Sum256([]byte(program))
	return control.Profile{
		Server: "vault", Platform: "vm", Layout: "sealed", Distribution: "debian/trixie",
		Parameters: map[string]string{"server_sha256": hex.EncodeToString(sum[:]), "hostcheck_sha256": hex.EncodeToString(sum[:])},
	}
}

// Profiles are those that the catalogue compiles for, by name: every pair of server and ground, and every platform on the
// first distribution of each layout. OpenBao has no memory locking to choose.
func Profiles() map[string]control.Profile {
	out := map[string]control.Profile{}
	for _, server := range baseline.Servers {
		for _, platform := range baseline.Platforms {
			for _, layout := range baseline.Layouts {
				for i, distribution := range baseline.Distributions(layout) {
					if i > 0 && platform != "vm" {
						continue // no control asks for both
					}
					p := control.Profile{Server: server, Platform: platform, Layout: layout, Distribution: distribution}
					name := strings.Join([]string{server, platform, layout, distribution}, " ")
					out[name] = p
					if server == "vault" {
						p.Parameters = map[string]string{"memory_lock": "on"}
						out[name+" memory_lock=on"] = p
					}
					if server == "vault" && layout == "sealed" && distribution == "debian/trixie" && platform == "vm" {
						p.Parameters = map[string]string{"log_shipping": "journal-upload"}
						out[name+" log_shipping=journal-upload"] = p
					}
					if layout == "sealed" && distribution == "debian/trixie" && platform == "metal" {
						p.Parameters = map[string]string{"data_encryption": "tpm"}
						out[name+" data_encryption=tpm"] = p
					}
				}
			}
		}
	}
	return out
}

// OpenBaoProfile is the same for the other server.
func OpenBaoProfile() control.Profile {
	p := Profile()
	p.Server = "openbao"
	return p
}

// Catalogue is the real one.
func Catalogue(t testing.TB) *baseline.Catalogue {
	t.Helper()
	c, err := hardening.Load()
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// Compile gives the real catalogue's baseline of a profile.
func Compile(t testing.TB, p control.Profile) *baseline.Baseline {
	t.Helper()
	b, err := Catalogue(t).Compile(p)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// Tree is a root tree with the baseline's overlay and what the distribution brings.
func Tree(t testing.TB, b *baseline.Baseline) *hosttest.Host {
	t.Helper()
	overlay, err := b.Overlay()
	if err != nil {
		t.Fatal(err)
	}
	p := Product(t, b.Profile)
	h := hosttest.New().Directory("/root", 0o700).
		File("/etc/passwd", "root:x:0:0:root:/root:/usr/sbin/nologin\n"+p.Account+":x:800:800:"+p.Long+":"+p.Data+":/usr/sbin/nologin\n").
		File("/etc/shadow", "root:*:19675:0:99999:7:::\n"+p.Account+":!*:19675::::::\n").Chmod("/etc/shadow", 0o640).Chown("/etc/shadow", 0, 42).
		File("/etc/group", "root:x:0:\nshadow:x:42:\n"+p.Account+":x:800:\n").
		File("/etc/os-release", "ID=debian\nIMAGE_ID=strongroom-"+p.Account+"\nIMAGE_VERSION=0.1.0\n").
		Directory("/root", 0o700).
		File("/etc/gshadow", "root:*::\n").Chmod("/etc/gshadow", 0o640).Chown("/etc/gshadow", 0, 42).
		File(p.Binary, program).Chmod(p.Binary, 0o711).
		File("/usr/bin/hostcheck", program).Chmod("/usr/bin/hostcheck", 0o711)
	if b.Profile.Layout == distribution.Installed {
		installed(h, distribution.FamilyOf(b.Profile.Distribution))
	}
	for _, c := range b.Controls {
		for _, res := range c.Resources {
			if p, ok := res.(*resource.AppArmorProfile); ok {
				h.File(p.Policy(), compiled(p)) // by the bake
			}
		}
	}
	for _, f := range overlay.Fragments() {
		switch {
		case f.Mode.IsDir():
			h.Directory(f.Path, f.Mode)
		case f.Mode&fs.ModeSymlink != 0:
			h.Symlink(f.Path, f.Target)
		default:
			h.File(f.Path, string(f.Content)).Chmod(f.Path, f.Mode)
		}
	}
	return h
}

// installed adds what an installer leaves: a boot loader, a package manager, and modes of its own.
func installed(h *hosttest.Host, family distribution.Family) {
	h.File("/etc/fstab", "UUID=0123 / ext4 errors=remount-ro 0 1\n").File("/boot/grub/grub.cfg", "set timeout=0\n").File("/etc/default/grub", "GRUB_DEFAULT=0\n")
	if family == distribution.RHEL {
		h.Directory("/root", 0o550).Chmod("/etc/shadow", 0).Chown("/etc/shadow", 0, 0).Chmod("/etc/gshadow", 0).Chown("/etc/gshadow", 0, 0).
			Directory("/etc/yum.repos.d", 0o755).Directory("/etc/dnf", 0o755).Directory("/etc/pki/rpm-gpg", 0o755)
		return
	}
	h.Directory("/etc/apt", 0o755).Directory("/etc/dpkg", 0o755).Directory("/var/lib/dpkg/info", 0o755)
}

// Product is the server of a profile.
func Product(t testing.TB, p control.Profile) server.Product {
	t.Helper()
	product, err := server.Find(p.Server)
	if err != nil {
		t.Fatal(err)
	}
	return product
}

// compiled stands for what the bake makes of a profile.
func compiled(p *resource.AppArmorProfile) string { return "compiled " + p.Source }

// policyDigest is what the kernel says of it.
func policyDigest(p *resource.AppArmorProfile) string {
	return fmt.Sprintf("sha256:%x", sha256.Sum256([]byte(compiled(p))))
}

// ServerPID is the main process of the server's unit on a conforming node.
const ServerPID = 812

// AgentPID is that of hostcheck.service.
const AgentPID = 790

// VaultConfig is what hostcheck-configure writes for Vault, as far as the catalogue looks at it.
const VaultConfig = `cluster_name = "prod-eu1"
api_addr = "https://vault-1.example.net:8200"
cluster_addr = "https://10.1.2.3:8201"
ui = false
disable_mlock = true
log_level = "info"
default_lease_ttl = "1h"
max_lease_ttl = "24h"
deny_slash_in_templated_paths = true
storage "raft" {
  path = "/var/lib/vault"
}
listener "tcp" {
  address = "[::]:8200"
  tls_cert_file = "/run/vault/tls/tls.crt"
  tls_key_file = "/run/vault/tls/tls.key"
  tls_min_version = "tls12"
}
user_lockout "all" {
  lockout_threshold = "5"
  lockout_duration = "15m"
  lockout_counter_reset = "15m"
  disable_lockout = false
}
telemetry {
  prometheus_retention_time = "24h"
  disable_hostname = true
}
`

// OpenBaoConfig is what it writes for OpenBao.
var OpenBaoConfig = strings.NewReplacer(
	"/vault/", "/openbao/", "/lib/vault\"", "/lib/openbao\"", "disable_mlock = true\n", "", "deny_slash_in_templated_paths = true\n", "",
	"listener \"tcp\" {\n", "listener \"tcp\" {\n  disable_unauthed_rekey_endpoints = true\n  disable_unauthed_generate_root_endpoints = true\n",
).Replace(VaultConfig) + `audit "file" "file" {
  options {
    file_path = "/var/log/openbao/audit.log"
  }
}
audit "syslog" "syslog" {
  options {
    tag = "openbao-audit"
  }
}
`

// ServerConfig is the one of a profile's server.
func ServerConfig(p control.Profile) string {
	config := VaultConfig
	switch {
	case p.Server == "openbao":
		config = OpenBaoConfig
	case p.Parameters["memory_lock"] == "on":
		config = strings.Replace(config, "disable_mlock = true", "disable_mlock = false", 1)
	}
	return strings.NewReplacer(`:8200"`, ":"+p.Parameters["api_port"]+`"`, `:8201"`, ":"+p.Parameters["cluster_port"]+`"`).Replace(config)
}

// Node is a running node on which every fact of the baseline holds. Facts that no control states
// are not set, so that a check which reads more than it says is noticed.
func Node(t testing.TB, b *baseline.Baseline) *hosttest.Host {
	t.Helper()
	h := Tree(t, b)
	p := Product(t, b.Profile)
	h.Directory(p.Run, 0o750).Chown(p.Run, 0, 800)
	for file, content := range map[string]string{p.Config: ServerConfig(b.Profile), p.Run + "/tls/tls.key": "key"} {
		h.File(file, content).Chmod(file, 0o640).Chown(file, 0, 800)
	}

	var arguments []string
	modules := []string{"squashfs"}
	var mounts []host.Mount
	units := map[string]host.Unit{}
	unit := func(name string) host.Unit {
		if u, ok := units[name]; ok {
			return u
		}
		return host.Unit{Name: name, LoadState: "loaded", ActiveState: "active", Properties: map[string]string{}}
	}
	process := host.Process{
		PID: ServerPID, Name: path.Base(p.Binary), UIDs: [4]uint64{800, 800, 800, 800}, GIDs: [4]uint64{800, 800, 800, 800}, Groups: []uint64{800},
		NoNewPrivs: true, Seccomp: 2, Limits: map[string]host.Limit{}, VmSizeKB: 211111688,
		ControlGroup: "/system.slice/" + p.Unit, Namespaces: map[string]string{}, Environment: []string{"HOME", "LANG", "NOTIFY_SOCKET", "PATH"},
	}
	first := host.Process{PID: 1, Name: "systemd", Namespaces: map[string]string{}}
	main := func(name string) { // the unit has a main process
		u := unit(name)
		u.Properties["MainPID"] = strconv.Itoa(ServerPID)
		units[name] = u
	}
	ruleset := host.Ruleset{}
	listeners := []host.Listener{}
	policies := []host.AppArmorProfile{}

	for _, c := range b.Controls {
		for _, res := range c.Resources {
			switch r := res.(type) {
			case *resource.Sysctl:
				h.File("/proc/sys/"+strings.ReplaceAll(r.Name, ".", "/"), r.Value+"\n")
			case *resource.InterfaceSysctl:
				for _, name := range []string{"all", "default", "lo", "eth0"} {
					h.File("/proc/sys/net/"+r.Family+"/conf/"+name+"/"+r.Name, r.Value+"\n")
				}
			case *resource.KernelFact:
				// A fact that only says what must not be there is true of what a kernel shows anyway.
				content := r.Is + strings.Join(r.Has, ",") + "\n"
				if r.Path == "/sys/block" {
					h.Directory(r.Path+"/vda", 0o755)
					continue
				}
				h.File(r.Path, content)
			case *resource.CPUVulnerabilities:
				h.File("/sys/devices/system/cpu/vulnerabilities/meltdown", "Mitigation: PTI\n").
					File("/sys/devices/system/cpu/vulnerabilities/l1tf", "Not affected\n")
			case *resource.KernelArgument:
				word := r.Name
				if r.Value != "" {
					word += "=" + r.Value
				}
				arguments = append(arguments, word)
				if r.Proof != nil {
					list := "none " + r.Proof.Contains + " confidentiality\n"
					if r.Proof.Path == "/sys/kernel/security/lsm" {
						list = "lockdown,capability,yama," + r.Proof.Contains + "\n"
					}
					h.File(r.Proof.Path, list)
				}
			case *resource.KernelModule:
				if r.State == "loaded" {
					modules = append(modules, r.Name)
				}
			case *resource.Mount:
				device := fmt.Sprintf("254:%d", len(mounts))
				options := slices.Clone(r.Options)
				if !slices.Contains(options, "ro") && !slices.Contains(options, "rw") {
					options = append(options, "rw")
				}
				mounts = append(mounts, host.Mount{Point: r.Point, FSType: r.FSType, Source: "/dev/x", Device: device, Options: options})
				if r.Verity {
					h.File("/sys/dev/block/"+device+"/dm/uuid", "CRYPT-VERITY-0123-root\n")
				}
			case *resource.UnitState:
				name := strings.Replace(r.Name, "@.", "@strongroom.", 1)
				u := unit(name)
				if r.State == "masked" {
					u.LoadState, u.ActiveState = "masked", "inactive"
				}
				units[name] = u
			case *resource.UnitProperty:
				u := unit(r.Unit)
				for k, v := range r.Properties {
					switch k {
					case "SystemCallFilter":
						v = "futex read write"
					case "CapabilityBoundingSet", "AmbientCapabilities":
						v = strings.ToLower(v)
					}
					u.Properties[k] = v
				}
				units[r.Unit] = u
			case *resource.ProcessLimits:
				main(r.Unit)
				for name, v := range r.Limits {
					n, err := strconv.ParseUint(v, 10, 64)
					if err != nil {
						n = host.NoLimit
					}
					row := map[string]string{"core": "Max core file size", "memlock": "Max locked memory", "nofile": "Max open files"}[name]
					process.Limits[row] = host.Limit{Soft: n, Hard: n}
				}
			case *resource.Process:
				main(r.Unit)
				conformProcess(h, r, &process, &first)
			case *resource.Executable:
				pid := ServerPID
				if r.Unit != p.Unit {
					pid = AgentPID
				}
				u := unit(r.Unit)
				u.Properties["MainPID"] = strconv.Itoa(pid)
				units[r.Unit] = u
				h.SetExecutable(pid, host.Executable{Path: r.Path, OnDisk: true}, r.SHA256)
			case *resource.OpenFiles:
				h.SetOpenFiles(r.Directory, host.OpenFile{PID: ServerPID, Name: process.Name, ControlGroup: "/system.slice/" + r.Unit, Path: r.Directory + "/vault.db"})
			case *resource.Processes, *resource.ProcessSecrets:
				h.SetProcesses(
					host.ProcessSummary{PID: 1, Name: "systemd", ControlGroup: "/init.scope"},
					host.ProcessSummary{PID: 90, Parent: 2, Name: "modprobe", ControlGroup: "/"},
					host.ProcessSummary{PID: 300, Parent: 1, Name: "systemd-udevd", ControlGroup: "/system.slice/systemd-udevd.service/udev"},
					host.ProcessSummary{PID: ServerPID, Parent: 1, Name: process.Name, UID: 800, ControlGroup: process.ControlGroup, Environment: process.Environment})
			case *resource.Clock:
				h.SetClock(host.Clock{Synchronised: true, MaxErrorMicroseconds: 31000})
			case *resource.SecureBoot:
				h.File("/sys/firmware/efi/efivars/SecureBoot-8be4df61-93ca-11d2-aa0d-00e098032b8c", "\x06\x00\x00\x00\x01").
					File("/sys/firmware/efi/efivars/SetupMode-8be4df61-93ca-11d2-aa0d-00e098032b8c", "\x06\x00\x00\x00\x00")
			case *resource.Measured:
				value := strings.Repeat("ab", 32)
				h.File("/run/hostcheck/"+r.Credential, `{"schema": "strongroom.measurements/v1", "kernels": [{"name": "disk", "pcr4": "`+value+`", "pcr11": [{"sha256": "`+value+`"}]}]}`).
					File("/sys/class/tpm/tpm0/pcr-sha256/4", strings.ToUpper(value)+"\n").File("/sys/class/tpm/tpm0/pcr-sha256/11", strings.ToUpper(value)+"\n")
			case *resource.Virtualization:
				h.SetVirtualization(map[bool]string{true: "", false: "kvm"}[b.Profile.Platform == "metal"])
			case *resource.Listener:
				for _, spec := range r.Require {
					protocol, port, _ := strings.Cut(spec, "/")
					n, _ := strconv.Atoi(port)
					listeners = append(listeners, host.Listener{Protocol: protocol, Address: "::", Port: uint16(n)})
				}
			case *resource.Firewall:
				ruleset = r.Expected()
			case *resource.TLSListener:
				h.SetTLSListener("127.0.0.1:"+b.Profile.Parameters["api_port"], TLSListener())
			case *resource.AppArmorProfile:
				policies = append(policies, host.AppArmorProfile{Name: r.Name, Mode: "enforce", Digest: policyDigest(r)})
			case *resource.SELinux:
				active, err := h.ReadFile("/sys/kernel/security/lsm") // which other controls have an opinion on
				if err != nil {
					t.Fatal(err)
				}
				h.File("/sys/kernel/security/lsm", strings.TrimSpace(string(active))+",selinux\n").File("/sys/fs/selinux/enforce", "1\n")
			case *resource.AppArmorProcess:
				dir := "/proc/self"
				if r.Unit != "self" {
					u := unit(r.Unit)
					u.Properties["MainPID"] = strconv.Itoa(ServerPID)
					units[r.Unit] = u
					dir = fmt.Sprintf("/proc/%d", ServerPID)
				}
				h.File(dir+"/attr/current", r.Profile+" (enforce)\n")
			}
		}
	}
	for _, u := range units {
		h.SetUnit(u)
	}
	for _, c := range b.Controls {
		for _, res := range c.Resources {
			if rule, ok := res.(*resource.Mounts); ok {
				conformMounts(h, mounts, rule)
			}
		}
	}
	return Member(h, p).SetSwaps().SetMounts(mounts...).SetKernelArguments(arguments...).SetModules(modules...).
		SetListeners(listeners...).SetUnits(loadedUnits(p)...).
		SetProcess(process).SetProcess(first).SetAppArmor(policies...).SetRuleset(ruleset)
}

// loadedUnits is a short form of what systemd lists on a node.
func loadedUnits(p server.Product) []host.UnitStatus {
	out := []host.UnitStatus{
		{Name: "emergency.service", LoadState: "masked", ActiveState: "inactive"},
		{Name: "initrd-cleanup.service", LoadState: "loaded", ActiveState: "inactive"},
		{Name: "syslog.service", LoadState: "not-found", ActiveState: "inactive"},
	}
	for _, name := range []string{
		"-.mount", "-.slice", "basic.target", "dev-vda.device", "hostcheck.service", "init.scope", "systemd-fsck@dev-vda4.service", "systemd-udevd.service",
		p.Unit,
	} {
		out = append(out, host.UnitStatus{Name: name, LoadState: "loaded", ActiveState: "active"})
	}
	return out
}

// conformProcess makes the facts of a process those that a resource states.
func conformProcess(h *hosttest.Host, r *resource.Process, process, first *host.Process) {
	if r.Capabilities != "" {
		mask := map[string]uint64{"none": 0, "CAP_IPC_LOCK": 1 << 14}[r.Capabilities]
		process.CapInheritable, process.CapPermitted, process.CapEffective, process.CapBounding, process.CapAmbient = mask, mask, mask, mask, mask
	}
	for _, n := range r.Namespaces {
		process.Namespaces[n], first.Namespaces[n] = "4026532229", "4026531841"
	}
	if r.Locked == "all" {
		process.VmLckKB = process.VmSizeKB - 28
	}
	if r.NoSwap {
		h.File("/sys/fs/cgroup"+process.ControlGroup+"/memory.swap.max", "0\n").File("/sys/fs/cgroup"+process.ControlGroup+"/memory.swap.current", "0\n")
	}
	if r.OOMScoreAdjust != "" {
		process.OOMScoreAdjust, _ = strconv.Atoi(r.OOMScoreAdjust)
	}
	if r.Config != "" {
		process.Arguments = []string{"server", "server", "-config=" + r.Config}
	}
}

// conformMounts makes mounts obey a rule.
func conformMounts(h *hosttest.Host, mounts []host.Mount, rule *resource.Mounts) {
	for i := range mounts {
		m := &mounts[i]
		if len(rule.Points) > 0 && !slices.Contains(rule.Points, m.Point) || rule.Writable && !slices.Contains(m.Options, "rw") {
			continue
		}
		for _, o := range rule.Options {
			if !slices.Contains(rule.Except, m.Point) && !slices.Contains(m.Options, o) {
				m.Options = append(m.Options, o)
			}
		}
		if rule.Encrypted {
			h.File("/sys/dev/block/"+m.Device+"/dm/uuid", "CRYPT-LUKS2-0123-data\n")
		}
	}
}
