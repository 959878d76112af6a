package resource

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"math/bits"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"github.com/strongroom/strongroom/internal/control"
	"github.com/strongroom/strongroom/internal/host"
	"github.com/strongroom/strongroom/internal/overlay"
)

// Process states what a unit's main process is, judged on the process itself: a process keeps what it was started
// with, whatever its unit says by now. Nothing is rendered; what brings these facts about are settings of the unit.
type Process struct {
	Unit string `yaml:"unit" json:"unit"`
	Name string `yaml:"name" json:"name"` // what this is about; unique for the unit

	// Account owns all four user and group ids, and there is no supplementary group.
	Account string `yaml:"account" json:"account,omitempty"`
	// Capabilities are exactly those in all five sets: "none", or names as in "CAP_IPC_LOCK".
	Capabilities string `yaml:"capabilities" json:"capabilities,omitempty"`
	// Namespaces are those that the sandbox makes, so they are not PID 1's: "mnt", "uts", …
	Namespaces []string `yaml:"namespaces" json:"namespaces,omitempty"`

	// Locked is "none" or "all" of the process's memory.
	Locked string `yaml:"locked" json:"locked,omitempty"`
	// NoSwap asks that no page of the process is in swap, and that its control group refuses swap to it, as
	// the kernel's own file says it.
	NoSwap bool `yaml:"no_swap" json:"no_swap,omitempty"`
	// NoDump asks that the process is not dumpable, so that neither its own account nor a dump can read it, and
	// that a core would hold no memory.
	NoDump bool `yaml:"no_dump" json:"no_dump,omitempty"`
	// OOMScoreAdjust is the exact score, as text.
	OOMScoreAdjust string `yaml:"oom_score_adjust" json:"oom_score_adjust,omitempty"`

	// NoEnvironment are variables that the process was not started with.
	NoEnvironment []string `yaml:"no_environment" json:"no_environment,omitempty"`
	// Config is the one configuration that its arguments name.
	Config string `yaml:"config" json:"config,omitempty"`
}

var (
	variableName    = regexp.MustCompile(`^[A-Za-z_][A-Za-z0-9_]*$`)
	namespaceKinds  = []string{"cgroup", "ipc", "mnt", "net", "pid", "user", "uts"}
	capabilityNames = []string{
		"chown", "dac_override", "dac_read_search", "fowner", "fsetid", "kill", "setgid", "setuid", "setpcap", "linux_immutable",
		"net_bind_service", "net_broadcast", "net_admin", "net_raw", "ipc_lock", "ipc_owner", "sys_module", "sys_rawio", "sys_chroot",
		"sys_ptrace", "sys_pacct", "sys_admin", "sys_boot", "sys_nice", "sys_resource", "sys_time", "sys_tty_config", "mknod", "lease",
		"audit_write", "audit_control", "setfcap", "mac_override", "mac_admin", "syslog", "wake_alarm", "block_suspend", "audit_read",
		"perfmon", "bpf", "checkpoint_restore",
	} // by number, of capability.h
)

func (p *Process) Key() control.Key { return control.Key{Kind: "process", Name: p.Unit + "/" + p.Name} }

func (p *Process) Validate() error {
	var r require
	r.that(strings.HasSuffix(p.Unit, ".service"), "unit %q is not a service", p.Unit)
	r.that(slugName.MatchString(p.Name), "name %q is not a slug", p.Name)
	r.that(p.Account != "" || p.Capabilities != "" || len(p.Namespaces) > 0 || p.Locked != "" || p.NoSwap || p.NoDump ||
		p.OOMScoreAdjust != "" || len(p.NoEnvironment) > 0 || p.Config != "", "nothing is stated about the process")
	r.that(p.Account == "" || p.Account != "*" && accountName.MatchString(p.Account), "account %q is not an account name", p.Account)
	_, err := capabilityMask(p.Capabilities)
	r.that(err == nil, "capabilities: %v", err)
	for _, n := range p.Namespaces {
		r.that(slices.Contains(namespaceKinds, n), "namespace %q is not one of %s", n, strings.Join(namespaceKinds, ", "))
	}
	r.that(slices.Contains([]string{"", "none", "all"}, p.Locked), "locked %q is neither none nor all", p.Locked)
	if p.OOMScoreAdjust != "" {
		n, err := strconv.Atoi(p.OOMScoreAdjust)
		r.that(err == nil && n >= -1000 && n <= 1000, "oom_score_adjust %q is not a number from -1000 to 1000", p.OOMScoreAdjust)
	}
	for _, v := range p.NoEnvironment {
		r.that(variableName.MatchString(v), "variable %q is not a name", v)
	}
	r.that(p.Config == "" || strings.HasPrefix(p.Config, "/"), "config %q is not absolute", p.Config)
	return r.err()
}

func (p *Process) Render(control.Profile) ([]overlay.Fragment, error) { return nil, nil }

func (p *Process) Verify(ctx context.Context, h host.Host, stage control.Stage) []control.Observation {
	if !stage.Runs() {
		return nil
	}
	o := effective(p.Key())
	pid, ok := mainProcess(ctx, o, h, p.Unit)
	if !ok {
		return o.out
	}
	dir := fmt.Sprintf("/proc/%d", pid)
	proc, err := h.Process(pid)
	if err != nil {
		o.unknown(dir, "readable", err)
		return o.out
	}
	p.verifyIdentity(o, h, dir, proc)
	p.verifyMemory(o, h, dir, proc)
	p.verifyStart(o, dir, proc)
	return o.out
}

// mainProcess asks systemd for the main process of a unit. Without one there is nothing to judge, and that is said.
func mainProcess(ctx context.Context, o *observe, h host.Host, name string) (pid int, ok bool) {
	source := "org.freedesktop.systemd1 " + name + " MainPID"
	unit, err := h.Unit(ctx, name)
	if err != nil {
		o.unknown(source, "a main process", err)
		return 0, false
	}
	if pid, err = strconv.Atoi(unit.Properties["MainPID"]); err != nil || pid == 0 {
		o.judge(source, "a main process", "unit "+unit.ActiveState, false)
		return 0, false
	}
	return pid, true
}

func (p *Process) verifyIdentity(o *observe, h host.Host, dir string, proc host.Process) {
	if p.Account != "" {
		uid, gid, err := accountIDs(h, p.Account)
		if err != nil {
			o.unknown("/etc/passwd "+p.Account, "an account", err)
		} else {
			o.equal(dir+"/status Uid", fmt.Sprint([4]uint64{uid, uid, uid, uid}), fmt.Sprint(proc.UIDs))
			o.equal(dir+"/status Gid", fmt.Sprint([4]uint64{gid, gid, gid, gid}), fmt.Sprint(proc.GIDs))
			// initgroups(3), which systemd calls, puts the account's own group into the list.
			others := slices.DeleteFunc(slices.Clone(proc.Groups), func(g uint64) bool { return g == gid })
			o.equal(dir+"/status Groups other than its own", "[]", fmt.Sprint(others))
		}
	}
	if p.Capabilities != "" {
		want, _ := capabilityMask(p.Capabilities)
		for _, set := range []struct {
			name string
			got  uint64
		}{
			{"CapInh", proc.CapInheritable}, {"CapPrm", proc.CapPermitted}, {"CapEff", proc.CapEffective},
			{"CapBnd", proc.CapBounding}, {"CapAmb", proc.CapAmbient},
		} {
			o.equal(dir+"/status "+set.name, capabilityText(want), capabilityText(set.got))
		}
	}
	if len(p.Namespaces) == 0 {
		return
	}
	first, err := h.Process(1)
	if err != nil {
		o.unknown("/proc/1/ns", "readable", err)
		return
	}
	for _, n := range p.Namespaces {
		source, want := dir+"/ns/"+n, "not that of PID 1"
		own, theirs := proc.Namespaces[n], first.Namespaces[n]
		if own == "" || theirs == "" {
			o.unknown(source, want, errors.New("the kernel names no such namespace"))
			continue
		}
		o.judge(source, want, map[bool]string{true: "that of PID 1", false: "its own"}[own == theirs], own != theirs)
	}
}

// unlockable bounds the memory that mlockall cannot lock: the pages that the kernel itself maps into each process
// (vdso, vvar), 28 KiB on Linux 6.12.
const unlockable = 256

func (p *Process) verifyMemory(o *observe, h host.Host, dir string, proc host.Process) {
	switch p.Locked {
	case "none":
		o.equal(dir+"/status VmLck", "0 KiB", fmt.Sprintf("%d KiB", proc.VmLckKB))
	case "all":
		// VmLck counts address space like VmSize does, whether a page is there or not, so that the two agree.
		ok := proc.VmLckKB > 0 && proc.VmLckKB+unlockable >= proc.VmSizeKB
		o.judge(dir+"/status VmLck", fmt.Sprintf("VmSize, less at most %d KiB of the kernel's own", unlockable),
			fmt.Sprintf("%d of %d KiB", proc.VmLckKB, proc.VmSizeKB), ok)
	}
	if p.NoSwap {
		o.equal(dir+"/status VmSwap", "0 KiB", fmt.Sprintf("%d KiB", proc.VmSwapKB))
		group := "/sys/fs/cgroup" + strings.TrimSuffix(proc.ControlGroup, "/")
		for _, file := range []string{"memory.swap.max", "memory.swap.current"} {
			content, err := h.ReadFile(group + "/" + file)
			if err != nil {
				o.missing(group+"/"+file, "0", err)
				continue
			}
			o.equal(group+"/"+file, "0", strings.TrimSpace(string(content)))
		}
	}
	if p.NoDump {
		o.equal(dir+" owner", "not dumpable", map[bool]string{true: "dumpable", false: "not dumpable"}[proc.Dumpable])
		o.equal(dir+"/coredump_filter", "0", strconv.FormatUint(proc.CoredumpFilter, 16))
	}
	if p.OOMScoreAdjust != "" {
		o.equal(dir+"/oom_score_adj", p.OOMScoreAdjust, strconv.Itoa(proc.OOMScoreAdjust))
	}
}

func (p *Process) verifyStart(o *observe, dir string, proc host.Process) {
	if len(p.NoEnvironment) > 0 {
		found := "none"
		for _, name := range proc.Environment {
			if slices.Contains(p.NoEnvironment, name) {
				found = join(found, "none", name)
			}
		}
		o.judge(dir+"/environ", "none of "+strings.Join(p.NoEnvironment, ", "), found, found == "none")
	}
	if p.Config != "" {
		configs := configArguments(proc.Arguments)
		o.equal(dir+"/cmdline -config", p.Config, strings.Join(configs, ", "))
	}
}

// configArguments lists the values of -config, in the four ways in which Go's flag package takes it.
func configArguments(arguments []string) []string {
	var out []string
	for i, a := range arguments {
		name, value, assigned := strings.Cut(a, "=")
		if name != "-config" && name != "--config" {
			continue
		}
		if !assigned && i+1 < len(arguments) {
			value = arguments[i+1]
		}
		out = append(out, value)
	}
	return out
}

func accountIDs(h host.Host, name string) (uid, gid uint64, err error) {
	passwd, err := h.ReadFile("/etc/passwd")
	if err != nil {
		return 0, 0, err
	}
	accounts, err := parseColonFile(string(passwd), 7)
	if err != nil {
		return 0, 0, err
	}
	for _, f := range accounts {
		if f[0] != name {
			continue
		}
		if uid, err = strconv.ParseUint(f[2], 10, 32); err != nil {
			return 0, 0, err
		}
		gid, err = strconv.ParseUint(f[3], 10, 32)
		return uid, gid, err
	}
	return 0, 0, fmt.Errorf("no account %s: %w", name, fs.ErrNotExist)
}

// capabilityMask reads "none" or names with blanks between them, in any case, with or without CAP_.
func capabilityMask(text string) (uint64, error) {
	if text == "" || text == "none" {
		return 0, nil
	}
	var mask uint64
	for _, word := range strings.Fields(text) {
		n := slices.Index(capabilityNames, strings.TrimPrefix(strings.ToLower(word), "cap_"))
		if n < 0 {
			return 0, fmt.Errorf("%q is no capability", word)
		}
		mask |= 1 << n
	}
	return mask, nil
}

func capabilityText(mask uint64) string {
	if mask == 0 {
		return "none"
	}
	var words []string
	for ; mask != 0; mask &= mask - 1 {
		n := bits.TrailingZeros64(mask)
		if n < len(capabilityNames) {
			words = append(words, "cap_"+capabilityNames[n])
		} else {
			words = append(words, strconv.Itoa(n))
		}
	}
	if len(words) == len(capabilityNames) {
		return "all"
	}
	return strings.Join(words, " ")
}
