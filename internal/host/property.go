package host

import (
	"encoding/hex"
	"encoding/json"
	"fmt"
	"math"
	"net/netip"
	"slices"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"
)

// canonicalProperty writes a D-Bus value as text, as `systemctl show` does where that is one
// word. See Unit for the rules.
func canonicalProperty(name string, v any) string {
	switch v := v.(type) {
	case bool:
		if v {
			return "yes"
		}
		return "no"
	case string:
		return v
	case uint64:
		return unsignedProperty(name, v)
	case uint32:
		if strings.HasSuffix(name, "UMask") || strings.HasSuffix(name, "Mode") {
			return fmt.Sprintf("%04o", v)
		}
		return strconv.FormatUint(uint64(v), 10)
	case int32:
		return signedProperty(name, v)
	case int64:
		return strconv.FormatInt(v, 10)
	case uint8, uint16, int16, float64:
		return fmt.Sprint(v)
	case []byte:
		return hex.EncodeToString(v)
	case []string:
		return strings.Join(v, " ")
	case []any:
		if text, ok := marked(v); ok {
			return text
		}
	case [][]any:
		if text, ok := prefixes(v); ok && strings.HasPrefix(name, "IPAddress") {
			return text
		}
	}
	return asJSON(v)
}

func unsignedProperty(name string, v uint64) string {
	switch {
	case name == "CapabilityBoundingSet" || name == "AmbientCapabilities":
		return capabilityNames(v)
	case name == "RestrictNamespaces":
		return restrictedNamespaces(v)
	case v == math.MaxUint64:
		return "infinity"
	}
	return strconv.FormatUint(v, 10)
}

func signedProperty(name string, v int32) string {
	switch name {
	case "SecureBits":
		return secureBits(v)
	case "SystemCallErrorNumber":
		if v == math.MaxInt32 {
			return "kill"
		}
		if errno := unix.ErrnoName(unix.Errno(v)); v > 0 && errno != "" {
			return errno
		}
	}
	return strconv.FormatInt(int64(v), 10)
}

// marked writes a value that comes with a flag, as a unit file has it. (bool, strings) is a list
// of what is allowed, or, with the bool false, of what is not: "~@swap" (SystemCallFilter,
// RestrictAddressFamilies). (bool, string) is a name that may be missing: "-profile"
// (AppArmorProfile).
func marked(v []any) (string, bool) {
	if len(v) != 2 {
		return "", false
	}
	flag, ok := v[0].(bool)
	if !ok {
		return "", false
	}
	switch value := v[1].(type) {
	case []string:
		text := strings.Join(value, " ")
		if !flag && text != "" {
			text = "~" + text
		}
		return text, true
	case string:
		if flag && value != "" {
			value = "-" + value
		}
		return value, true
	}
	return "", false
}

// prefixes writes the address ranges of IPAddressAllow and IPAddressDeny: family, bytes, length.
func prefixes(list [][]any) (string, bool) {
	var out []string
	for _, v := range list {
		if len(v) != 3 {
			return "", false
		}
		bytes, ok := v[1].([]byte)
		if !ok {
			return "", false
		}
		length, ok := v[2].(uint32)
		if !ok {
			return "", false
		}
		address, ok := netip.AddrFromSlice(bytes)
		if !ok {
			return "", false
		}
		out = append(out, netip.PrefixFrom(address, int(length)).String())
	}
	slices.Sort(out)
	return strings.Join(out, " "), true
}

// namespaces are the flags of clone(2) that RestrictNamespaces knows, by its names.
var namespaces = map[uint64]string{
	unix.CLONE_NEWCGROUP: "cgroup", unix.CLONE_NEWIPC: "ipc", unix.CLONE_NEWNET: "net", unix.CLONE_NEWNS: "mnt",
	unix.CLONE_NEWPID: "pid", unix.CLONE_NEWUSER: "user", unix.CLONE_NEWUTS: "uts",
}

// restrictedNamespaces writes the mask of namespaces that may be made: "yes" when none may.
func restrictedNamespaces(mask uint64) string {
	var allowed []string
	for flag, name := range namespaces {
		if mask&flag != 0 {
			allowed = append(allowed, name)
		}
	}
	switch slices.Sort(allowed); len(allowed) {
	case 0:
		return "yes"
	case len(namespaces):
		return "no"
	}
	return strings.Join(allowed, " ")
}

// secureBits writes the mask of prctl(PR_SET_SECUREBITS), in the order of its bits.
func secureBits(mask int32) string {
	names := []string{"noroot", "noroot-locked", "no-setuid-fixup", "no-setuid-fixup-locked", "keep-caps", "keep-caps-locked"}
	var out []string
	for bit, name := range names {
		if mask&(1<<bit) != 0 {
			out = append(out, name)
		}
	}
	return strings.Join(out, " ")
}

func asJSON(v any) string {
	b, err := json.Marshal(v)
	if err != nil { // a map with keys that JSON has no form for
		return fmt.Sprint(v)
	}
	return string(b)
}

// capabilities names the bits of a capability mask, by number: include/uapi/linux/capability.h.
// Neither the standard library nor x/sys has the names.
var capabilities = [...]string{
	unix.CAP_CHOWN: "cap_chown", unix.CAP_DAC_OVERRIDE: "cap_dac_override",
	unix.CAP_DAC_READ_SEARCH: "cap_dac_read_search", unix.CAP_FOWNER: "cap_fowner",
	unix.CAP_FSETID: "cap_fsetid", unix.CAP_KILL: "cap_kill", unix.CAP_SETGID: "cap_setgid",
	unix.CAP_SETUID: "cap_setuid", unix.CAP_SETPCAP: "cap_setpcap",
	unix.CAP_LINUX_IMMUTABLE: "cap_linux_immutable", unix.CAP_NET_BIND_SERVICE: "cap_net_bind_service",
	unix.CAP_NET_BROADCAST: "cap_net_broadcast", unix.CAP_NET_ADMIN: "cap_net_admin",
	unix.CAP_NET_RAW: "cap_net_raw", unix.CAP_IPC_LOCK: "cap_ipc_lock", unix.CAP_IPC_OWNER: "cap_ipc_owner",
	unix.CAP_SYS_MODULE: "cap_sys_module", unix.CAP_SYS_RAWIO: "cap_sys_rawio",
	unix.CAP_SYS_CHROOT: "cap_sys_chroot", unix.CAP_SYS_PTRACE: "cap_sys_ptrace",
	unix.CAP_SYS_PACCT: "cap_sys_pacct", unix.CAP_SYS_ADMIN: "cap_sys_admin", unix.CAP_SYS_BOOT: "cap_sys_boot",
	unix.CAP_SYS_NICE: "cap_sys_nice", unix.CAP_SYS_RESOURCE: "cap_sys_resource",
	unix.CAP_SYS_TIME: "cap_sys_time", unix.CAP_SYS_TTY_CONFIG: "cap_sys_tty_config",
	unix.CAP_MKNOD: "cap_mknod", unix.CAP_LEASE: "cap_lease", unix.CAP_AUDIT_WRITE: "cap_audit_write",
	unix.CAP_AUDIT_CONTROL: "cap_audit_control", unix.CAP_SETFCAP: "cap_setfcap",
	unix.CAP_MAC_OVERRIDE: "cap_mac_override", unix.CAP_MAC_ADMIN: "cap_mac_admin", unix.CAP_SYSLOG: "cap_syslog",
	unix.CAP_WAKE_ALARM: "cap_wake_alarm", unix.CAP_BLOCK_SUSPEND: "cap_block_suspend",
	unix.CAP_AUDIT_READ: "cap_audit_read", unix.CAP_PERFMON: "cap_perfmon", unix.CAP_BPF: "cap_bpf",
	unix.CAP_CHECKPOINT_RESTORE: "cap_checkpoint_restore",
}

// capabilityNames writes a mask as sorted names. A bit beyond the known ones has its number, so
// that it cannot be overlooked; but a mask with all bits set is systemd's way to say "all".
func capabilityNames(mask uint64) string {
	var out []string
	for bit := range 64 {
		if mask&(1<<bit) == 0 {
			continue
		}
		switch {
		case bit < len(capabilities):
			out = append(out, capabilities[bit])
		case mask != math.MaxUint64:
			out = append(out, "cap_"+strconv.Itoa(bit))
		}
	}
	slices.Sort(out)
	return strings.Join(out, " ")
}
