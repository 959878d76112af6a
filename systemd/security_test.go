package systemd_test

import (
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/strongroom/strongroom/internal/check/checktest"
	"github.com/strongroom/strongroom/internal/control"
)

// The bars: the most that `systemd-analyze security` may hold against a unit overall. It counts from 0
// (safest) to 10.
const (
	serverBar    = 1.5
	hostcheckBar = 2.8
	// Programs of systemd that make and open disks. What they need most of, CAP_SYS_ADMIN and devices, is what they are for.
	systemdBar = 2.9
)

// remaining are the points that `systemd-analyze security` holds against a unit, each with the reason
// why it stays. The reasons of all services are in everyService. docs/sandbox.md shows them.
type remaining struct {
	unit       string
	memoryLock string
	bar        float64
	known      float64 // the overall level as it was measured
	reasons    map[string]string
}

var everyService = map[string]string{
	"RootDirectory=/RootImage=":                "the root is read-only and checked by dm-verity; a second one would be one more thing to update",
	"ProcSubset=":                              "reads /proc/sys: Go's listen backlog (net.core.somaxconn), and what hostcheck judges",
	"PrivateNetwork=":                          "speaks to the network, or judges and configures it",
	"DeviceAllow=":                             "ProtectClock=yes adds read access to the hardware clock by itself; PrivateDevices=yes has no such device",
	"RestrictAddressFamilies=~AF_NETLINK":      "Go lists interfaces over it, nftables are read and filled over it",
	"RestrictAddressFamilies=~AF_UNIX":         "notification to systemd, the journal, systemd's private socket",
	"RestrictAddressFamilies=~AF_(INET|INET6)": "serves the network; configure asks for the routes",
}

// ofTheServer holds for Vault and OpenBao.
var ofTheServer = map[string]string{
	"IPAddressDeny=": "who may reach the server and whom it may reach is stated once, by nftables, where it is verified rule by rule",
}

// ofLockedMemory is the price of memory_lock=on.
var ofLockedMemory = map[string]string{
	"AmbientCapabilities=":                "mlockall needs CAP_IPC_LOCK in a process that is not root",
	"CapabilityBoundingSet=~CAP_IPC_LOCK": "mlockall",
	"PrivateUsers=":                       "in a user namespace the capability reaches nothing of the host, mlockall included",
}

// ofHostcheck holds for everything that hostcheck does on a node.
var ofHostcheck = map[string]string{
	"User=/DynamicUser=":                   "systemd's private socket answers root only; what it may do is in its capability bounding set and in its AppArmor profile",
	"PrivateUsers=":                        "in a user namespace the owners of files are nobody, and capabilities reach nothing of the host",
	"RestrictSUIDSGID=":                    "takes away openat2, with which paths are resolved inside the host's root; no file system that it may write to honours such bits (nosuid)",
	"CapabilityBoundingSet=~CAP_NET_ADMIN": "the kernel shows nftables rules to nobody else, and fills sets for nobody else",
}

// ofTheJudge holds for the gate and for the agent, which repeats what the gate does.
var ofTheJudge = map[string]string{
	"CapabilityBoundingSet=~CAP_(DAC_*|FOWNER|IPC_OWNER)": "CAP_DAC_READ_SEARCH: reads files that belong to the server's account; none of the others",
	"CapabilityBoundingSet=~CAP_SYS_PTRACE":               "reads /proc/1/mountinfo and /proc/PID of the server",
	"ProtectProc=":                                        "the processes of the host are what is judged",
	"ProtectHome=":                                        "reads what lies in home directories; it cannot write there",
	"UMask=":                                              "the report is for everybody to read; it holds no secret",
}

// ofTheDiskMaker holds for systemd-repart, which makes the encrypted partitions, and for systemd-cryptsetup, which opens them.
var ofTheDiskMaker = map[string]string{
	"RootDirectory=/RootImage=":                           everyService["RootDirectory=/RootImage="],
	"User=/DynamicUser=":                                  "only root makes and opens block devices",
	"PrivateUsers=":                                       "in a user namespace no capability reaches the device mapper",
	"ProcSubset=":                                         "reads /proc/devices, /proc/crypto and the kernel's command line",
	"PrivateDevices=":                                     "disks and the TPM are devices",
	"DeviceAllow=":                                        "disks, device mapper and loop devices (char-misc), and the TPM; which disk it will be is known at run time only",
	"PrivateNetwork=":                                     "hears from udev over netlink, which belongs to the network namespace; every address is denied, and there are no AF_INET sockets",
	"ProtectKernelTunables=":                              "tells udev of a new partition by writing to its uevent in /sys",
	"RestrictAddressFamilies=~AF_NETLINK":                 "udev",
	"RestrictAddressFamilies=~AF_UNIX":                    "the journal",
	"RestrictAddressFamilies=~…":                          "AF_ALG: the kernel's ciphers, by which the header is checked",
	"CapabilityBoundingSet=~CAP_SYS_ADMIN":                "the device mapper and partition tables are for nobody else",
	"CapabilityBoundingSet=~CAP_SYS_RAWIO":                "writes to a whole disk whose partitions are in use",
	"CapabilityBoundingSet=~CAP_IPC_LOCK":                 "keeps the volume key out of swap",
	"CapabilityBoundingSet=~CAP_(DAC_*|FOWNER|IPC_OWNER)": "CAP_DAC_OVERRIDE: disks belong to the group disk, and the TPM may belong to an account of its own",
	"SystemCallFilter=~@privileged":                       "part of what systemd calls a system service: chown for the new file system, and quotas and the like that nothing here calls",
	"SystemCallFilter=~@resources":                        "libcryptsetup raises its own priority while it makes a key",
}

var exposures = []remaining{
	{"vault.service", "off", serverBar, 1.1, with(everyService, ofTheServer)},
	{"vault.service", "on", serverBar, 1.4, with(everyService, ofTheServer, ofLockedMemory)},
	{"openbao.service", "off", serverBar, 1.1, with(everyService, ofTheServer)},
	{"hostcheck-gate.service", "off", hostcheckBar, 2.3, without(with(everyService, ofHostcheck, ofTheJudge), "RestrictAddressFamilies=~AF_(INET|INET6)")},
	{"hostcheck.service", "off", hostcheckBar, 2.7, with(everyService, ofHostcheck, ofTheJudge, map[string]string{
		"IPAddressDeny=": "serves the verdict to those whom nftables lets through, and asks the members of the cluster",
	})},
	{"hostcheck-bootstrap.service", "off", hostcheckBar, 2.7, without(with(everyService, ofHostcheck, ofTheJudge, map[string]string{
		"IPAddressDeny=": "asks the server of this node, the other members, and the places for secrets; nftables say which can be reached",
	}), "UMask=")},
	{"hostcheck-leave.service", "off", hostcheckBar, 2.0, without(with(everyService, ofHostcheck, map[string]string{
		"User=/DynamicUser=": "reads what configure has left for root only, and has no capability of root's",
		"IPAddressDeny=":     "it speaks to the server on loopback, and to nobody else",
	}), "CapabilityBoundingSet=~CAP_NET_ADMIN")},
	{"hostcheck-snapshot.service", "off", hostcheckBar, 2.1, without(with(everyService, ofHostcheck, map[string]string{
		"User=/DynamicUser=": "reads what configure has left for root only, and has no capability of root's",
		"IPAddressDeny=":     "asks the local server, and the stores that node.hcl names; nftables say which can be reached",
	}), "CapabilityBoundingSet=~CAP_NET_ADMIN", "RestrictAddressFamilies=~AF_NETLINK")},
	{"hostcheck-audit.service", "off", hostcheckBar, 0.2, map[string]string{
		"RootDirectory=/RootImage=":        everyService["RootDirectory=/RootImage="],
		"DeviceAllow=":                     everyService["DeviceAllow="],
		"ProcSubset=":                      everyService["ProcSubset="],
		"RemoveIPC=":                       "the account is the server's, whose objects would go as well",
		"RestrictAddressFamilies=~AF_UNIX": "the journal",
		"UMask=":                           "what it leaves is for the agent to read; it holds no secret",
	}},
	{shipUnit, "off", hostcheckBar, 1.3, map[string]string{
		"RootDirectory=/RootImage=":                everyService["RootDirectory=/RootImage="],
		"DeviceAllow=":                             everyService["DeviceAllow="],
		"ProcSubset=":                              "OpenSSL and the resolver read /proc/sys",
		"PrivateNetwork=":                          "ships to the receiver that node.hcl names",
		"IPAddressDeny=":                           "ships to the receiver that node.hcl names; nftables say which can be reached, at one port",
		"RestrictAddressFamilies=~AF_UNIX":         "the journal, and systemd's watchdog",
		"RestrictAddressFamilies=~AF_(INET|INET6)": "the receiver",
		"PrivateUsers=":                            "it reads the journal by its group, which is nobody's in a user namespace",
		"SupplementaryGroups=":                     "systemd-journal: the journal is what it ships",
		"UMask=":                                   "how far it is, is for the agent to read; it holds no secret",
	}},
	{"strongroom-rotate.service", "off", hostcheckBar, 0.3, map[string]string{
		"RootDirectory=/RootImage=": everyService["RootDirectory=/RootImage="],
		"DeviceAllow=":              everyService["DeviceAllow="],
		"RemoveIPC=":                "the account is the server's, whose objects would go as well",
	}},
	{"strongroom-kernel-lock.service", "off", hostcheckBar, 2.0, map[string]string{
		"RootDirectory=/RootImage=":            everyService["RootDirectory=/RootImage="],
		"PrivateUsers=":                        "in a user namespace it would not be the root whose parameters these are",
		"DeviceAllow=":                         everyService["DeviceAllow="],
		"RestrictAddressFamilies=~AF_UNIX":     "the journal",
		"User=/DynamicUser=":                   "the kernel takes its parameters from root only",
		"ProcSubset=":                          "writes to /proc/sys",
		"ProtectKernelTunables=":               "writes to /proc/sys, which is what it is for",
		"PrivateNetwork=":                      "another network has other parameters",
		"CapabilityBoundingSet=~CAP_SYS_ADMIN": "the kernel takes net.core.bpf_jit_harden from nobody else",
	}},
	{"hostcheck-configure.service", "off", hostcheckBar, 2.3, with(everyService, ofHostcheck, map[string]string{
		"IPAddressDeny=":                                    "asks the metadata service, or the server of a URL that DHCP names; nftables say which can be reached, and that server's addresses are admitted while it is asked",
		"SystemCallFilter=~@privileged":                     "chown and its kin, which are of that group",
		"CapabilityBoundingSet=~CAP_(CHOWN|FSETID|SETFCAP)": "CAP_CHOWN: gives files below the server's run directory to its group",
	})},
	{"hostcheck-renew.service", "off", hostcheckBar, 2.2, without(with(everyService, ofHostcheck, map[string]string{
		"SystemCallFilter=~@privileged":                     "chown and its kin, which are of that group",
		"CapabilityBoundingSet=~CAP_(CHOWN|FSETID|SETFCAP)": "CAP_CHOWN: gives files below the server's run directory to its group",
		"IPAddressDeny=":                                    "asks the servers that node.hcl refers to; nftables say which can be reached",
	}), "RestrictAddressFamilies=~AF_NETLINK", "CapabilityBoundingSet=~CAP_NET_ADMIN")},
	{"hostcheck-attest.service", "off", hostcheckBar, 1.1, map[string]string{
		"RootDirectory=/RootImage=": everyService["RootDirectory=/RootImage="],
		"User=/DynamicUser=":        "the TPM belongs to root, and the event log is for root only",
		"PrivateUsers=":             ofHostcheck["PrivateUsers="],
		"ProcSubset=":               everyService["ProcSubset="],
		"PrivateDevices=":           "the TPM is a device",
		"DeviceAllow=":              "the TPM; ProtectClock=yes adds read access to the hardware clock",
		"CapabilityBoundingSet=~CAP_(DAC_*|FOWNER|IPC_OWNER)": "CAP_DAC_OVERRIDE: where tpm2-tss is installed, the TPM belongs to an account of its own",
		"RestrictAddressFamilies=~AF_UNIX":                    "its socket, and the journal",
	}},
	{"strongroom-recovery.service", "off", hostcheckBar, 1.8, without(with(everyService, ofHostcheck, map[string]string{
		"User=/DynamicUser=": "reads what configure has left for root only, and has no capability of root's",
		"PrivateNetwork=":    "node.hcl may name a server that keeps the recovery key",
		"IPAddressDeny=":     "node.hcl may name a server that keeps the recovery key; nftables say which can be reached",
	}), "RestrictAddressFamilies=~AF_NETLINK", "CapabilityBoundingSet=~CAP_NET_ADMIN")},
	{"strongroom-data-disk.service", "off", hostcheckBar, 0.9, map[string]string{
		"User=/DynamicUser=":               "disks belong to root, and it has no capability of root's",
		"PrivateUsers=":                    ofHostcheck["PrivateUsers="],
		"ProcSubset=":                      "reads the kernel's command line",
		"PrivateDevices=":                  "disks are devices",
		"DeviceAllow=":                     "disks, for reading only",
		"RestrictAddressFamilies=~AF_UNIX": "the journal",
	}},
	{"strongroom-install.service", "off", hostcheckBar, 2.1, map[string]string{
		"User=/DynamicUser=":                       "disks belong to root, and of root's capabilities it has the firewall's alone",
		"PrivateUsers=":                            ofHostcheck["PrivateUsers="],
		"ProcSubset=":                              "reads the kernel's command line",
		"PrivateDevices=":                          "disks are devices",
		"DeviceAllow=":                             "disks; which one it will be is known at run time only",
		"PrivateNetwork=":                          "the image comes from a server",
		"IPAddressDeny=":                           "the image comes from a server whose address is known when its name is resolved; nftables admit that one, for as long as it is read",
		"RestrictAddressFamilies=~AF_NETLINK":      "nftables are filled over it",
		"RestrictAddressFamilies=~AF_UNIX":         "the journal",
		"RestrictAddressFamilies=~AF_(INET|INET6)": "the server of the image",
		"CapabilityBoundingSet=~CAP_NET_ADMIN":     ofHostcheck["CapabilityBoundingSet=~CAP_NET_ADMIN"],
	}},
	{"strongroom-data.service", "off", systemdBar, 2.8, with(ofTheDiskMaker, map[string]string{
		"CapabilityBoundingSet=~CAP_(CHOWN|FSETID|SETFCAP)": "CAP_CHOWN: mkfs.ext4 gives the root of a file system its owner",
	})},
	{"strongroom-open@vault.service", "off", systemdBar, 2.8, with(ofTheDiskMaker, map[string]string{
		"KeyringMode=": "dm-crypt finds the volume key in the keyring of the process",
	})},
	{"strongroom-directories.service", "off", systemdBar, 1.3, map[string]string{
		"RootDirectory=/RootImage=":        everyService["RootDirectory=/RootImage="],
		"User=/DynamicUser=":               "it gives directories to the server's account",
		"PrivateUsers=":                    ofHostcheck["PrivateUsers="],
		"ProcSubset=":                      "systemd-tmpfiles reads the kernel's release and the boot id",
		"DeviceAllow=":                     everyService["DeviceAllow="],
		"RestrictAddressFamilies=~AF_UNIX": "the journal",
		"CapabilityBoundingSet=~CAP_(CHOWN|FSETID|SETFCAP)":   "CAP_CHOWN: gives directories to the server's account",
		"CapabilityBoundingSet=~CAP_(DAC_*|FOWNER|IPC_OWNER)": "CAP_FOWNER and CAP_DAC_OVERRIDE: sets modes of what is the server's already",
		"SystemCallFilter=~@privileged":                       "chown and its kin, which are of that group",
		"SystemCallFilter=~@resources":                        "part of what systemd calls a system service; it has no capability that such a call could use",
	}},
}

const shipUnit = "strongroom-ship.service"

// ships is a profile whose nodes ship their journal.
func ships() control.Profile {
	p := checktest.Profile()
	p.Parameters = map[string]string{"log_shipping": "journal-upload"}
	return p
}

// encrypted is a profile with encrypted data partitions.
func encrypted() control.Profile {
	p := checktest.Profile()
	p.Parameters = map[string]string{"data_encryption": "tpm"}
	return p
}

func with(all ...map[string]string) map[string]string {
	out := map[string]string{}
	for _, m := range all {
		maps.Copy(out, m)
	}
	return out
}

func without(m map[string]string, names ...string) map[string]string {
	for _, n := range names {
		delete(m, n)
	}
	return m
}

func TestEveryRemainingExposureHasItsReason(t *testing.T) {
	for _, want := range exposures {
		t.Run(fmt.Sprintf("%s memory_lock=%s", want.unit, want.memoryLock), func(t *testing.T) {
			r := newRoot(t, want.memoryLock)
			switch {
			case want.unit == "openbao.service":
				r = newRootOf(t, checktest.OpenBaoProfile())
			case want.unit == shipUnit:
				r = newRootOf(t, ships())
			case want.bar == systemdBar, want.unit == "strongroom-recovery.service":
				r = newRootOf(t, encrypted())
			}
			overall, points := r.exposure(t, want.unit)
			if overall > want.bar {
				t.Errorf("overall exposure %.1f, the bar is %.1f", overall, want.bar)
			}
			if overall > want.known {
				t.Errorf("overall exposure %.1f, and docs/sandbox.md says %.1f", overall, want.known)
			}
			for _, name := range slices.Sorted(maps.Keys(points)) {
				if want.reasons[name] == "" {
					t.Errorf("%s has no reason: %s", name, points[name])
				}
			}
			for _, name := range slices.Sorted(maps.Keys(want.reasons)) {
				if points[name] == "" {
					t.Errorf("%s is not held against the unit any more: its reason has gone", name)
				}
			}
		})
	}
}

// exposure reviews a unit offline: the overall level, and each point with its description.
func (r root) exposure(t *testing.T, unit string) (float64, map[string]string) {
	t.Helper()
	args := []string{"security", "--offline=true", "--root=" + r.dir, "--no-pager"}
	stdout, stderr, err := run(t, "systemd-analyze", append(args, "--json=short", unit)...)
	if err != nil || stderr != "" {
		t.Fatalf("systemd-analyze security: %v\n%s", err, stderr)
	}
	var rows []struct {
		Name        string
		Description string
		Exposure    *string
	}
	if err := json.Unmarshal([]byte(stdout), &rows); err != nil {
		t.Fatalf("systemd-analyze security: %v\n%s", err, stdout)
	}
	if len(rows) < 60 {
		t.Fatalf("only %d settings were reviewed", len(rows))
	}
	points := map[string]string{}
	for _, row := range rows {
		if row.Exposure != nil && *row.Exposure != "" {
			points[row.Name] = row.Description + " (" + *row.Exposure + ")"
		}
	}
	// The overall level is in the text only.
	stdout, _, err = run(t, "systemd-analyze", append(args, unit)...)
	_, level, found := strings.Cut(stdout, "Overall exposure level for "+unit+": ")
	if err != nil || !found {
		t.Fatalf("no overall exposure level: %v\n%s", err, stdout)
	}
	overall, err := strconv.ParseFloat(strings.Fields(level)[0], 64)
	if err != nil {
		t.Fatal(err)
	}
	return overall, points
}
