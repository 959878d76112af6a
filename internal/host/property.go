package host

import (
	"encoding/json"
	"fmt"
	"math"
	"slices"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"
)

// canonicalProperty writes a D-Bus value as text. See Unit for the rules.
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
		if name == "CapabilityBoundingSet" || name == "AmbientCapabilities" {
			return capabilityNames(v)
		}
		if v == math.MaxUint64 {
			return "infinity"
		}
		return strconv.FormatUint(v, 10)
	case uint32:
		if strings.HasSuffix(name, "UMask") || strings.HasSuffix(name, "Mode") {
			return fmt.Sprintf("%04o", v)
		}
		return strconv.FormatUint(uint64(v), 10)
	case int32:
		return strconv.FormatInt(int64(v), 10)
	case int64:
		return strconv.FormatInt(v, 10)
	case uint8, uint16, int16, float64:
		return fmt.Sprint(v)
	case []string:
		return strings.Join(v, " ")
	case []any:
		if list, ok := allowList(v); ok {
			return list
		}
	}
	return asJSON(v)
}

// allowList writes (bool, strings), the type of SystemCallFilter, RestrictAddressFamilies and
// their like: the bool says that the list allows; a list that denies starts with "~", as in a
// unit file.
func allowList(v []any) (string, bool) {
	if len(v) != 2 {
		return "", false
	}
	allow, ok := v[0].(bool)
	if !ok {
		return "", false
	}
	list, ok := v[1].([]string)
	if !ok {
		return "", false
	}
	text := strings.Join(list, " ")
	if !allow && text != "" {
		text = "~" + text
	}
	return text, true
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
