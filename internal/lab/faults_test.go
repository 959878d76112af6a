//go:build boot

package lab

import (
	"maps"
	"slices"
	"testing"

	"github.com/strongroom/strongroom/internal/check"
	"github.com/strongroom/strongroom/internal/control"
	"github.com/strongroom/strongroom/internal/overlay"
)

const (
	unitDir   = "/usr/lib/systemd/system/"
	swapUnit  = `dev-disk-by\x2dpartlabel-intruder.swap`
	tableUnit = "[Unit]\nDefaultDependencies=no\nAfter=nftables.service\nBefore=hostcheck-gate.service\n[Service]\nType=oneshot\nExecStart=/usr/sbin/nft add table ip intruder\n"
	// The bake takes every login shell away, and /etc cannot be written to.
	shellUnit = "[Unit]\nDefaultDependencies=no\nAfter=local-fs.target\nBefore=hostcheck-gate.service\n[Service]\nType=oneshot\n" +
		"ExecStart=/usr/bin/sh -c 'sed /^nobody:/s#/usr/sbin/nologin#/bin/bash# /etc/passwd >/run/passwd && mount -o bind,ro /run/passwd /etc/passwd'\n"
	idleUnit   = "[Service]\nExecStart=/usr/bin/sleep infinity\n"
	socketUnit = "[Unit]\nDefaultDependencies=no\nBefore=hostcheck-gate.service\n[Socket]\nListenStream=0.0.0.0:2222\n"
)

// faults are what is wrong with one image: for each control the one thing that breaks it and nothing else. They
// are of every family, and none needs another.
var faults = map[string][]overlay.Fragment{
	// Sysctls of drop-ins that sort behind ours.
	"links-protected":             {sysctlFault("fs.protected_fifos", "0")},
	"kernel-keys-restricted":      {sysctlFault("kernel.sysrq", "1")},
	"kernel-profiling-denied":     {sysctlFault("kernel.perf_event_paranoid", "1")},
	"kernel-io-rings-off":         {sysctlFault("kernel.io_uring_disabled", "0")},
	"kernel-warnings-limited":     {sysctlFault("kernel.warn_limit", "0")},
	"network-syn-floods-survived": {sysctlFault("net.ipv4.tcp_syncookies", "0")},
	"memory-core-dumps-off":       {sysctlFault("kernel.core_pattern", "core")},
	// Words on the kernel command line that take back what ours said.
	"kernel-heap-shuffled":       {argumentFault("page_alloc.shuffle=0")},
	"kernel-memory-hardened":     {argumentFault("init_on_free=0")},
	"kernel-vsyscall-absent":     {argumentFault("vsyscall=emulate")},
	"memory-crash-kernel-absent": {argumentFault("crashkernel=16M")},
	// Memory.
	"memory-swap-off": {
		overlay.File(unitDir+swapUnit, "[Unit]\nBefore=hostcheck-gate.service\n[Swap]\nWhat=/dev/disk/by-partlabel/intruder\n"),
		overlay.Symlink(unitDir+"sysinit.target.wants/"+swapUnit, "../"+swapUnit),
	},
	"vault-swap-denied": {overlay.File(unitDir+"vault.service.d/99-swap.conf", "[Service]\nMemorySwapMax=infinity\n")},
	// Who may come in.
	"accounts-no-login": {
		overlay.File(unitDir+"intruder-shell.service", shellUnit),
		overlay.Symlink(unitDir+"sysinit.target.wants/intruder-shell.service", "../intruder-shell.service"),
	},
	"shell-history-absent": {overlay.File("/usr/lib/tmpfiles.d/zz-intruder.conf", "f /var/lib/vault/.vault-token 0600 vault vault - left-about\n")},
	"console-login-absent": {overlay.File("/etc/systemd/system/getty@strongroom.service", idleUnit)},
	"ssh-absent":           {overlay.File("/usr/sbin/sshd", "#!/bin/false\n")},
	// Network.
	"network-default-deny": {
		overlay.File(unitDir+"intruder-table.service", tableUnit),
		overlay.Symlink(unitDir+"sysinit.target.wants/intruder-table.service", "../intruder-table.service"),
	},
	"network-listeners-exact": {
		overlay.File(unitDir+"intruder.service", idleUnit),
		overlay.File(unitDir+"intruder.socket", socketUnit),
		overlay.Symlink(unitDir+"sysinit.target.wants/intruder.socket", "../intruder.socket"),
	},
	// Sandbox, mounts and services.
	"vault-users-private":            {overlay.File(unitDir+"vault.service.d/99-users.conf", "[Service]\nPrivateUsers=no\n")},
	"temporary-directories-confined": {overlay.File(unitDir+"tmp.mount.d/99-exec.conf", "[Mount]\nOptions=mode=1777,size=64m,rw,nosuid,nodev,exec\n")},
	"clock-disciplined":              {overlay.Symlink("/etc/systemd/system/chrony.service", "/dev/null")},
	"power-button-orderly":           {overlay.Symlink("/etc/systemd/system/acpid.service", "/dev/null")},
}

// consequences are controls that state something about the very thing that a fault changes.
var consequences = map[string]string{
	"mounts-writable-without-programs": "temporary-directories-confined", // /tmp is one of them
	"tenancy-units-known":              "network-listeners-exact",        // no socket without somebody who opens it
	"services-without-network":         "power-button-orderly",           // a masked acpid has no sandbox
}

// lacking are the controls (should) that fail on every plain machine of these tests: its partitions are not encrypted, its firmware
// checks nothing, and it has no TPM.
var lacking = []string{"data-encrypted", "firmware-secure-boot-on", "firmware-tpm-present"}

func sysctlFault(name, value string) overlay.Fragment {
	return overlay.File("/usr/lib/sysctl.d/zz-fault-"+name+".conf", name+" = "+value+"\n")
}

func argumentFault(word string) overlay.Fragment {
	return overlay.File("/usr/lib/strongroom/cmdline.d/90-fault-"+word+".conf", word+"\n")
}

// TestBootWithManyFaults boots one image with all faults at once. The report names each of them and no other
// control, and Vault stays down.
func TestBootWithManyFaults(t *testing.T) {
	t.Parallel()
	if len(faults) < 15 {
		t.Fatalf("only %d faults", len(faults))
	}
	var drift []overlay.Fragment
	for _, id := range slices.Sorted(maps.Keys(faults)) {
		drift = append(drift, faults[id]...)
	}
	disk := variant(t, "faults", drift...)
	node := start(t, Config{Disk: newDisk(t, disk), UUID: NewUUID(), Extra: []*Disk{swapDisk(t)}})
	document := verdictOf(t, node)
	if document.Verdict != check.Fail || document.Stage != control.StageBoot {
		t.Errorf("verdict %s at stage %s, want fail at stage boot", document.Verdict, document.Stage)
	}
	for _, c := range document.Controls {
		_, broken := faults[c.ID]
		if consequences[c.ID] != "" || slices.Contains(lacking, c.ID) {
			broken = true
		}
		switch {
		case broken && c.Outcome != control.Fail:
			t.Errorf("control %s was broken, and is %s: %+v", c.ID, c.Outcome, c.Observations)
		case !broken && (c.Outcome == control.Fail || c.Outcome == control.Unknown):
			t.Errorf("control %s was not broken, and is %s: %+v", c.ID, c.Outcome, c.Observations)
		}
	}
	requireVaultDown(t, node)
	identities.record(t, document)
}
