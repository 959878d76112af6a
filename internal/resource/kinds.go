// Package resource holds the kinds of desired state, one file each, with Render and Verify side
// by side. A new kind is one file and one line in [Kinds].
package resource

import (
	"github.com/strongroom/strongroom/internal/control"
)

// Kind makes the empty resource that a catalogue entry or a baseline entry is decoded into.
type Kind struct {
	Name string
	New  func() control.Resource
}

// Kinds is every kind that this binary knows, in the order of the documentation. It is an
// explicit list: a forgotten registration would drop a kind without a sound.
var Kinds = []Kind{
	{"sysctl", func() control.Resource { return new(Sysctl) }},
	{"interface_sysctl", func() control.Resource { return new(InterfaceSysctl) }},
	{"kernel_fact", func() control.Resource { return new(KernelFact) }},
	{"swap", func() control.Resource { return new(Swap) }},
	{"file", func() control.Resource { return new(File) }},
	{"write_protected", func() control.Resource { return new(WriteProtected) }},
	{"absent", func() control.Resource { return new(Absent) }},
	{"pristine", func() control.Resource { return new(Pristine) }},
	{"programs_absent", func() control.Resource { return new(ProgramsAbsent) }},
	{"root_tree", func() control.Resource { return new(RootTree) }},
	{"os_release", func() control.Resource { return new(OSRelease) }},
	{"mounts", func() control.Resource { return new(Mounts) }},
	{"mount", func() control.Resource { return new(Mount) }},
	{"kernel_argument", func() control.Resource { return new(KernelArgument) }},
	{"kernel_arguments_absent", func() control.Resource { return new(KernelArgumentsAbsent) }},
	{"cpu_vulnerabilities", func() control.Resource { return new(CPUVulnerabilities) }},
	{"kernel_module", func() control.Resource { return new(KernelModule) }},
	{"unit_state", func() control.Resource { return new(UnitState) }},
	{"unit_property", func() control.Resource { return new(UnitProperty) }},
	{"accounts_known", func() control.Resource { return new(AccountsKnown) }},
	{"account", func() control.Resource { return new(Account) }},
	{"listener", func() control.Resource { return new(Listener) }},
	{"firewall", func() control.Resource { return new(Firewall) }},
	{"process_limits", func() control.Resource { return new(ProcessLimits) }},
	{"tls_listener", func() control.Resource { return new(TLSListener) }},
	{"apparmor_profile", func() control.Resource { return new(AppArmorProfile) }},
	{"apparmor_process", func() control.Resource { return new(AppArmorProcess) }},
	{"selinux", func() control.Resource { return new(SELinux) }},
	{"audit_devices", func() control.Resource { return new(AuditDevices) }},
	{"root_tokens", func() control.Resource { return new(RootTokens) }},
	{"user_lockout", func() control.Resource { return new(UserLockout) }},
	{"autopilot", func() control.Resource { return new(Autopilot) }},
	{"process", func() control.Resource { return new(Process) }},
	{"executable", func() control.Resource { return new(Executable) }},
	{"open_files", func() control.Resource { return new(OpenFiles) }},
	{"units", func() control.Resource { return new(Units) }},
	{"processes", func() control.Resource { return new(Processes) }},
	{"sessions", func() control.Resource { return new(Sessions) }},
	{"home_traces", func() control.Resource { return new(HomeTraces) }},
	{"leaked_secrets", func() control.Resource { return new(LeakedSecrets) }},
	{"process_secrets", func() control.Resource { return new(ProcessSecrets) }},
	{"clock", func() control.Resource { return new(Clock) }},
	{"secure_boot", func() control.Resource { return new(SecureBoot) }},
	{"measured", func() control.Resource { return new(Measured) }},
	{"virtualization", func() control.Resource { return new(Virtualization) }},
	{"vault_config", func() control.Resource { return new(VaultConfig) }},
	{control.KindProcedure, func() control.Resource { return new(Procedure) }},
}

// New gives the empty resource of a kind.
func New(kind string) (control.Resource, bool) {
	for _, k := range Kinds {
		if k.Name == kind {
			return k.New(), true
		}
	}
	return nil, false
}

// KindNames lists the known kinds, for error messages.
func KindNames() []string {
	names := make([]string, len(Kinds))
	for i, k := range Kinds {
		names[i] = k.Name
	}
	return names
}
