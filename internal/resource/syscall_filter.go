package resource

import (
	"slices"
	"strings"
)

// systemCalls are those calls of systemd's groups for which a group is denied. The groups grow from
// version to version and differ between architectures, so that what a filter allows cannot be
// compared call by call; what it must not allow can.
var systemCalls = map[string][]string{
	"@chown":         {"chown", "fchown", "fchownat", "lchown"},
	"@clock":         {"adjtimex", "clock_adjtime", "clock_settime", "settimeofday"},
	"@cpu-emulation": {"modify_ldt"},
	"@debug":         {"perf_event_open", "pidfd_getfd", "ptrace"},
	"@module":        {"delete_module", "finit_module", "init_module"},
	"@mount":         {"chroot", "fsconfig", "fsmount", "fsopen", "mount", "mount_setattr", "move_mount", "open_tree", "pivot_root", "umount2"},
	"@privileged":    {"acct", "bpf", "capset", "chroot", "fanotify_init", "open_by_handle_at", "quotactl", "setgroups", "sethostname", "setresuid", "setreuid", "setuid"},
	"@raw-io":        {"ioperm", "iopl"},
	"@reboot":        {"kexec_file_load", "kexec_load", "reboot"},
	"@resources":     {"ioprio_set", "mbind", "migrate_pages", "move_pages", "sched_setaffinity", "sched_setattr", "sched_setscheduler", "set_mempolicy", "setpriority", "setrlimit"},
	"@swap":          {"swapoff", "swapon"},
}

// outsideSystemService are the groups of which @system-service holds nothing.
var outsideSystemService = []string{"@clock", "@cpu-emulation", "@debug", "@module", "@mount", "@raw-io", "@reboot", "@swap"}

// sameSystemCallFilter judges the filter that the bus shows, expanded to single calls, by one line
// of SystemCallFilter=: "@system-service" asks for a list of what is allowed that has nothing of the
// groups outside it, and "~@privileged @resources" that nothing of these is allowed. Anything else
// cannot be judged, and so is not the same.
func sameSystemCallFilter(want, got string) bool {
	groups, denies := outsideSystemService, false
	if list, ok := strings.CutPrefix(want, "~"); ok {
		groups, denies = strings.Fields(list), true
	} else if want != "@system-service" {
		return false
	}
	list, denyList := strings.CutPrefix(got, "~")
	calls := filteredCalls(list)
	if denyList && !denies || !denyList && !allowsWork(calls) || len(groups) == 0 {
		return false
	}
	for _, g := range groups {
		members, known := systemCalls[g]
		if !known {
			return false
		}
		for _, c := range members {
			if slices.Contains(calls, c) != denyList {
				return false
			}
		}
	}
	return true
}

// allowsWork tells a list of what is allowed from no filter at all, which the bus shows as an empty
// list.
func allowsWork(calls []string) bool {
	return slices.Contains(calls, "read") && slices.Contains(calls, "futex")
}

// filteredCalls are the names of a filter, without the error ("name:EPERM") that some have.
func filteredCalls(list string) []string {
	calls := strings.Fields(list)
	for i, c := range calls {
		calls[i], _, _ = strings.Cut(c, ":")
	}
	return calls
}
