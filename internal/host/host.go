// Package host is the read-only view of one machine: a root tree at bake time, a running
// node, or a recording of one. Nothing in it writes, and nothing in it forks.
//
// [Live] reads this machine, [Tree] a root tree, [NewRecorder] writes down what either was asked
// and [Replay] answers from that. Package hosttest has a host in memory for tests.
package host

import (
	"context"
	"io/fs"
)

// Host is everything that a check may ask of a machine.
//
// Paths are absolute inside the host; symlinks are resolved inside the host's root too, so
// that checking a tree never reads the machine that checks it. The path API serves /proc and /sys
// of a running host as well.
//
// A Host is a snapshot for one run of the checks: a fact about the whole host may be read once
// and answered again. All methods are safe for concurrent use; answers are shared, and callers do
// not change what they point to. An error means that the question has no answer: it is never a
// finding, but for fs.ErrNotExist of a path.
type Host interface {
	// ReadFile follows symlinks. A file that does not exist gives fs.ErrNotExist, one of more than
	// MaxFile bytes ErrTooLarge, and what is no regular file an error.
	ReadFile(path string) ([]byte, error)
	// Lstat does not follow a symlink in the last element; Stat does.
	Lstat(path string) (FileInfo, error)
	Stat(path string) (FileInfo, error)
	// ReadDir lists the names in a directory, sorted.
	ReadDir(path string) ([]string, error)
	// Digest is the SHA-256 of a regular file of any size, in hex.
	Digest(path string) (string, error)
	// Secrets says what in a regular file has the shape of a secret, and never tells the secret. One of more than MaxScan
	// bytes gives ErrTooLarge.
	Secrets(path string) (FileSecrets, error)
	// FileCapability is the extended attribute security.capability of a file in hex, and "" when it has
	// none. It does not follow a symlink in the last element.
	FileCapability(path string) (string, error)

	// The methods below answer ErrNotRunning on a tree.

	// Swaps lists /proc/swaps.
	Swaps() ([]Swap, error)
	// Mounts lists the mounts of PID 1's namespace, which the sandbox of the asker does not change.
	Mounts() ([]Mount, error)
	// KernelArguments is /proc/cmdline, split as the kernel splits it: quotes removed, and without
	// what follows "--", which is for init.
	KernelArguments() ([]string, error)
	// Modules lists the names of /proc/modules, sorted. Built-in code is not in it.
	Modules() ([]string, error)
	// Listeners lists listening TCP and bound UDP sockets of PID 1's network namespace.
	Listeners() ([]Listener, error)
	// Process gives what one process is allowed and how it was started.
	Process(pid int) (Process, error)
	// Processes lists the processes of user space by id; kernel threads and the dead are not in it.
	Processes() ([]ProcessSummary, error)
	// Executable says which program a process runs.
	Executable(pid int) (Executable, error)
	// ExecutableDigest is the SHA-256 of the program that a process runs, in hex. It reads all of a file that may have
	// 100 MB and more.
	ExecutableDigest(pid int) (string, error)
	// OpenFiles lists who holds files below a directory open, or files of its file system where
	// the directory is a mount point of its own.
	OpenFiles(dir string) ([]OpenFile, error)
	// Clock is what the kernel knows of its own accuracy.
	Clock() (Clock, error)
	// Virtualization is systemd's word for what this system runs in: "" on bare metal, else
	// "kvm", "qemu", "amazon", "docker", …
	Virtualization(ctx context.Context) (string, error)
	// Unit asks systemd for a unit. One that systemd does not know has LoadState "not-found".
	// UnitStatus is the state of one unit, and all that is known of one that is masked or not there.
	// It costs a fraction of Unit.
	UnitStatus(ctx context.Context, name string) (UnitStatus, error)
	Unit(ctx context.Context, name string) (Unit, error)
	// Units lists the loaded units by name.
	Units(ctx context.Context) ([]UnitStatus, error)
	// AppArmor lists the profiles that the kernel has loaded, by name. A kernel in which AppArmor is not
	// active gives fs.ErrNotExist.
	AppArmor() ([]AppArmorProfile, error)
	// Ruleset reads nftables over netlink.
	Ruleset(ctx context.Context) (Ruleset, error)
	// TLSListener looks at a TLS server of this machine by real handshakes. address is where it is
	// dialled ("127.0.0.1:8200"), authorities the path of the certificates that its own is to lead to.
	TLSListener(ctx context.Context, address, authorities string) (TLSListener, error)

	// The methods below ask the server's API with the agent's token. Without one they answer
	// ErrNoToken, and ErrSealed while the server is not unsealed.

	// AuditDevices lists the audit devices by path.
	AuditDevices(ctx context.Context) ([]AuditDevice, error)
	// Tokens looks at all living tokens.
	Tokens(ctx context.Context) (Tokens, error)
	// AuthMethods lists the auth methods by path.
	AuthMethods(ctx context.Context) ([]AuthMethod, error)
	// Autopilot reads configuration and state of the cluster's autopilot.
	Autopilot(ctx context.Context) (Autopilot, error)
}

// FileInfo is what stat(2) says, as far as checks need it.
type FileInfo struct {
	Mode   fs.FileMode `json:"mode"` // type and permission bits, setuid and setgid included
	UID    uint32      `json:"uid"`
	GID    uint32      `json:"gid"`
	Size   int64       `json:"size"`
	Target string      `json:"target,omitempty"` // of a symlink, verbatim
}

// Swap is one line of /proc/swaps. Sizes in KiB.
type Swap struct {
	Device string `json:"device"`
	Type   string `json:"type"`
	SizeKB int    `json:"size_kib"`
}

// Mount is one line of mountinfo.
type Mount struct {
	Point   string   `json:"point"`
	FSType  string   `json:"fstype"`
	Source  string   `json:"source"`  // "/dev/mapper/root"
	Device  string   `json:"device"`  // "254:0", key of /sys/dev/block
	Options []string `json:"options"` // of mount and superblock, sorted, each once; "ro" of either wins over "rw"
}

// Listener is a socket that accepts from outside: TCP in state LISTEN, or UDP without a peer.
type Listener struct {
	Protocol string `json:"protocol"` // "tcp", "udp"
	Address  string `json:"address"`  // "0.0.0.0", "::", "127.0.0.1"
	Port     uint16 `json:"port"`
	UID      uint32 `json:"uid"`
}

// Process is what /proc/PID says. Limits are by the name of /proc/PID/limits; NoLimit is unlimited.
type Process struct {
	PID            int              `json:"pid"`
	Name           string           `json:"name"`
	UIDs           [4]uint64        `json:"uids"` // real, effective, saved, filesystem
	GIDs           [4]uint64        `json:"gids"`
	Groups         []uint64         `json:"groups"`
	CapInheritable uint64           `json:"cap_inheritable"`
	CapPermitted   uint64           `json:"cap_permitted"`
	CapEffective   uint64           `json:"cap_effective"`
	CapBounding    uint64           `json:"cap_bounding"`
	CapAmbient     uint64           `json:"cap_ambient"`
	NoNewPrivs     bool             `json:"no_new_privs"`
	Seccomp        int              `json:"seccomp"` // 0 off, 1 strict, 2 filter
	VmSizeKB       uint64           `json:"vm_size_kib"`
	VmLckKB        uint64           `json:"vm_lck_kib"`
	VmSwapKB       uint64           `json:"vm_swap_kib"`
	Limits         map[string]Limit `json:"limits"` // "Max core file size"

	ControlGroup   string            `json:"control_group"` // "/system.slice/vault.service", of the unified hierarchy
	Namespaces     map[string]string `json:"namespaces"`    // "mnt" → "4026531841"; equal numbers are one namespace
	Dumpable       bool              `json:"dumpable"`      // its own account may trace and dump it; of a process of root this cannot be told, and is true
	CoredumpFilter uint64            `json:"coredump_filter"`
	OOMScoreAdjust int               `json:"oom_score_adjust"`
	Arguments      []string          `json:"arguments"`   // what has the shape of a secret is replaced
	Environment    []string          `json:"environment"` // names alone, as the process was started with, sorted
}

// Limit is one row of /proc/PID/limits.
type Limit struct {
	Soft uint64 `json:"soft"`
	Hard uint64 `json:"hard"`
}

// NoLimit stands for "unlimited".
const NoLimit = ^uint64(0)

// Unit is one systemd unit. Properties hold the D-Bus values of all its interfaces in their
// canonical text, which is what `systemctl show` prints wherever that is one word:
//
//   - booleans are "yes" and "no"; numbers decimal, with "infinity" for the largest of 64 bits;
//     durations (…USec) are microseconds; modes and umasks octal with four digits
//   - string lists are joined by a space, in systemd's order; bytes are hex
//   - lists that allow or deny (SystemCallFilter, RestrictAddressFamilies, RestrictFileSystems)
//     have "~" in front when they deny; groups like @swap are expanded by systemd
//   - CapabilityBoundingSet and AmbientCapabilities are names, sorted: "cap_ipc_lock cap_setgid"
//   - RestrictNamespaces is "yes", "no", or the names of the namespaces that are allowed
//   - SecureBits are names; SystemCallErrorNumber is "EPERM" or "kill"; IPAddressAllow and
//     IPAddressDeny are CIDRs, sorted
//   - anything else is JSON (ExecStart, LoadCredential, DeviceAllow): "[]" when empty
type Unit struct {
	Name          string            `json:"name"`
	LoadState     string            `json:"load_state"`      // loaded, not-found, masked, error
	ActiveState   string            `json:"active_state"`    // active, inactive, failed, …
	UnitFileState string            `json:"unit_file_state"` // enabled, static, masked, …
	Properties    map[string]string `json:"properties"`
}

// UnitStatus is one row of ListUnits.
type UnitStatus struct {
	Name        string `json:"name"`
	LoadState   string `json:"load_state"`
	ActiveState string `json:"active_state"`
}

// Ruleset is the nftables state of the host's network namespace. Rules are in the
// normal form of NormalRule.
type Ruleset struct {
	Tables []Table `json:"tables"`
}

// Table is one nftables table.
//
// A dormant table has no hooks: the kernel keeps its rules and applies none of them.
type Table struct {
	Family  string  `json:"family"` // "inet", "ip", "ip6", …
	Name    string  `json:"name"`
	Dormant bool    `json:"dormant,omitempty"`
	Chains  []Chain `json:"chains"` // by name
	Sets    []Set   `json:"sets"`   // by name, without anonymous ones: those are part of their rule
}

// Chain is a chain; Hook is empty for a regular chain and in a dormant table.
type Chain struct {
	Name     string   `json:"name"`
	Type     string   `json:"type"`   // "filter", "nat", "route"
	Hook     string   `json:"hook"`   // "input", "output", "forward", …
	Policy   string   `json:"policy"` // "drop", "accept"
	Priority int32    `json:"priority"`
	Rules    []string `json:"rules"` // in order
}

// Set is a named set. Elements are sorted by value; those of an address set are joined as
// NormalElements does it. A catch-all element is "*"; what cannot be read is "unknown(…)".
type Set struct {
	Name     string   `json:"name"`
	Elements []string `json:"elements"`
}
