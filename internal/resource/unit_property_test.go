package resource_test

import (
	"strings"
	"testing"

	"github.com/strongroom/strongroom/internal/check/checktest"
	"github.com/strongroom/strongroom/internal/control"
	"github.com/strongroom/strongroom/internal/host"
	"github.com/strongroom/strongroom/internal/host/hosttest"
	"github.com/strongroom/strongroom/internal/resource"
)

func unitProperty(name, value string) *resource.UnitProperty {
	return &resource.UnitProperty{Unit: "vault.service", Name: "x", Section: "Service", Properties: map[string]string{name: value}}
}

func showing(name, value string) *hosttest.Host {
	return hosttest.New().SetUnit(host.Unit{Name: "vault.service", ActiveState: "active", Properties: map[string]string{name: value}})
}

// busTexts holds, for every setting that the catalogue states of a unit, texts of the bus (see
// host.Unit) with the same meaning, and texts that mean less.
var busTexts = []struct {
	name, want string
	same       []string
	different  []string
}{
	{"User", "vault", []string{"vault"}, []string{"", "root", "Vault", "vault2"}},
	{"Group", "vault", []string{"vault"}, []string{"", "root"}},
	{"AppArmorProfile", "vault", []string{"vault"}, []string{"", "-vault", "vault2"}},
	{"MemorySwapMax", "0", []string{"0"}, []string{"infinity", "4096", "no", ""}},
	{"CoredumpFilter", "0", []string{"0"}, []string{"51", "1", ""}},
	{"OOMScoreAdjust", "-900", []string{"-900"}, []string{"0", "900", "-1000", ""}},
	{"LimitMEMLOCK", "0", []string{"0"}, []string{"infinity", "8388608"}},
	{"LimitMEMLOCK", "infinity", []string{"infinity"}, []string{"0", "18446744073709551614"}},
	{"CapabilityBoundingSet", "", []string{""}, []string{"cap_chown", "cap_ipc_lock cap_syslog"}},
	{"CapabilityBoundingSet", "CAP_IPC_LOCK", []string{"cap_ipc_lock"}, []string{"", "cap_ipc_lock cap_sys_admin", "cap_ipc_owner"}},
	{"CapabilityBoundingSet", "CAP_SYSLOG CAP_IPC_LOCK", []string{"cap_ipc_lock cap_syslog"}, []string{"cap_syslog"}},
	{"AmbientCapabilities", "", []string{""}, []string{"cap_ipc_lock"}},
	{"AmbientCapabilities", "CAP_IPC_LOCK", []string{"cap_ipc_lock"}, []string{"", "cap_ipc_lock cap_setuid"}},
	{"Requires", "hostcheck-gate.service", []string{"hostcheck-gate.service", "system.slice hostcheck-gate.service sysinit.target"}, []string{"", "sysinit.target", "xhostcheck-gate.service"}},
	{"After", "hostcheck-gate.service", []string{"basic.target hostcheck-gate.service"}, []string{"basic.target"}},
	{"ProtectSystem", "strict", []string{"strict"}, []string{"full", "yes", "no", ""}},
	{"ProtectHome", "yes", []string{"yes"}, []string{"no", "read-only", "tmpfs"}},
	{"ProtectProc", "invisible", []string{"invisible"}, []string{"default", "noaccess"}},
	{"KeyringMode", "private", []string{"private"}, []string{"shared", "inherit"}},
	{"UMask", "0077", []string{"0077"}, []string{"0022", "0770", "0007", ""}},
	{"ReadWritePaths", "/var/lib/vault /var/log/vault", []string{"/var/lib/vault /var/log/vault", "/var/log/vault /var/lib/vault"}, []string{"/var/lib/vault", "/var/lib/vault /var/log/vault /usr", "", "/"}},
	{"ExecPaths", "/usr/bin/vault", []string{"/usr/bin/vault"}, []string{"/usr/bin/vault /tmp", "/", ""}},
	{"NoExecPaths", "/", []string{"/", "/ /usr"}, []string{"", "/usr"}},
	{"SystemCallArchitectures", "native", []string{"native"}, []string{"", "native x86"}},
	{"SystemCallErrorNumber", "EPERM", []string{"EPERM"}, []string{"kill", "ENOSYS", "0"}},
	{"RestrictNamespaces", "yes", []string{"yes"}, []string{"no", "user", "cgroup ipc"}},
	{"RestrictAddressFamilies", "AF_INET AF_INET6 AF_NETLINK AF_UNIX", []string{"AF_UNIX AF_NETLINK AF_INET AF_INET6"}, []string{"", "~AF_PACKET", "~AF_INET AF_INET6 AF_NETLINK AF_UNIX", "AF_INET", "AF_INET AF_INET6 AF_NETLINK AF_UNIX AF_PACKET"}},
	{"SystemCallFilter", "@system-service", []string{"brk futex openat2 read write chown setpriority"}, []string{
		"", "~ptrace mount", "~futex read", "read write", "futex read ptrace", "futex read perf_event_open:EPERM", "futex read kexec_load", "futex read settimeofday", "futex read finit_module", "futex mount_setattr read"}},
	{"SystemCallFilter", "~@privileged @resources", []string{"futex read write"}, []string{"", "futex read chroot", "futex read setuid", "futex read sched_setscheduler:EPERM", "~chroot setuid"}},
	{"SystemCallFilter", "~@swap", []string{"futex read", "~swapoff swapon", "~swapon:EPERM swapoff reboot"}, []string{"~swapon", "futex read swapon"}},
	{"SystemCallFilter", "~@unheard-of", nil, []string{"futex read"}},
	{"SystemCallFilter", "~", nil, []string{"futex read", ""}},
	{"SystemCallFilter", "read futex", nil, []string{"futex read"}},
	{"LogRateLimitBurst", "100000000", []string{"100000000"}, []string{"10000", "0", ""}},
	{"IPAddressDeny", "any", []string{"0.0.0.0/0 ::/0", "::/0 0.0.0.0/0"}, []string{"0.0.0.0/0", "::/0", "10.0.0.0/8", ""}},

	// Booleans, in every spelling of unit files.
	{"NoNewPrivileges", "yes", []string{"yes"}, []string{"no", ""}},
	{"NoNewPrivileges", "true", []string{"yes"}, []string{"no"}},
	{"NoNewPrivileges", "on", []string{"yes"}, []string{"no"}},
	{"PrivateNetwork", "off", []string{"no"}, []string{"yes"}},
	{"PrivateNetwork", "false", []string{"no"}, []string{"yes"}},
}

func TestUnitProperty(t *testing.T) {
	for _, c := range busTexts {
		for _, got := range c.same {
			expect(t, unitProperty(c.name, c.want), showing(c.name, got), control.Pass, "org.freedesktop.systemd1 vault.service "+c.name)
		}
		for _, got := range c.different {
			expect(t, unitProperty(c.name, c.want), showing(c.name, got), control.Fail, "want "+c.want)
		}
	}
	p := unitProperty("NoNewPrivileges", "yes")
	expect(t, p, showing("User", "vault"), control.Unknown, "this systemd shows no property NoNewPrivileges")
	expect(t, p, hosttest.New().SetNoUnit("vault.service"), control.Fail, "unit not-found")
	expect(t, p, hosttest.New().SetUnit(host.Unit{Name: "vault.service", LoadState: "masked"}), control.Fail, "unit masked")
	expect(t, p, hosttest.New().FailFact("Unit", errDenied), control.Unknown, "permission denied")
}

// The table above knows every setting that the catalogue states, but for plain booleans.
func TestEverySettingOfTheCatalogueIsTried(t *testing.T) {
	tried := map[string]bool{}
	for _, c := range busTexts {
		tried[c.name+"="+c.want] = true
	}
	for _, lock := range []string{"on", "off"} {
		p := checktest.Profile()
		p.Parameters = map[string]string{"memory_lock": lock}
		for _, c := range checktest.Compile(t, p).Controls {
			for _, r := range c.Resources {
				u, ok := r.(*resource.UnitProperty)
				if !ok {
					continue
				}
				for name, value := range u.Properties {
					boolean := value == "yes" && (strings.HasPrefix(name, "P") || strings.HasPrefix(name, "R") || name == "LockPersonality" || name == "MemoryDenyWriteExecute")
					if !boolean && !tried[name+"="+value] {
						t.Errorf("%s: %s=%s is not among the texts of the bus", c.ID, name, value)
					}
				}
			}
		}
	}
}
