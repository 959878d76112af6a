//go:build boot

package lab

import (
	"encoding/json"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/strongroom/strongroom/internal/host"
	"github.com/strongroom/strongroom/internal/overlay"
)

// compared are units that the catalogue makes hostcheck look at: all of them whole but chrony's, which it knows by its state.
var compared = []string{
	"vault.service", "strongroom-kernel-lock.service", "acpid.service", "systemd-journald.service", "systemd-udevd.service", "chrony.service",
}

// differentialUnit has the distribution's own programs say what hostcheck says too, one after the other on a
// node that has come to rest.
func differentialUnit() string {
	const dir = "/var/lib/hostcheck/differential"
	return `[Unit]
After=vault.service hostcheck.service

[Service]
Type=oneshot
ExecStartPre=/usr/bin/sleep 20
ExecStart=/usr/bin/mkdir -p ` + dir + `
ExecStart=/usr/bin/hostcheck capture --stage run --output ` + dir + `/capture.json
ExecStart=/usr/bin/sh -c 'findmnt --json --list --task 1 --output TARGET,FSTYPE,MAJ:MIN,OPTIONS >` + dir + `/findmnt'
ExecStart=/usr/bin/sh -c 'sysctl --all >` + dir + `/sysctl 2>/dev/null || true'
ExecStart=/usr/bin/sh -c 'nft --json list ruleset >` + dir + `/nft.json && nft list ruleset >` + dir + `/nft'
ExecStart=/usr/bin/sh -c 'for u in ` + strings.Join(compared, " ") + `; do systemctl show --all $u >` + dir + `/$u; done'
ExecStart=/usr/bin/sync
ExecStart=/usr/bin/sh -c 'echo "differential: done" >/dev/console'
`
}

// leftOnVar reads what a node that was switched off has left on its partition var.
func leftOnVar(t *testing.T, disk *Disk) func(path string) []byte {
	t.Helper()
	raw := filepath.Join(t.TempDir(), "used.raw")
	output(t, "qemu-img", "convert", "-O", "raw", disk.Path, raw)
	partition := fmt.Sprintf("%s?offset=%d", raw, partition(t, raw, "strongroom-var"))
	return func(path string) []byte {
		t.Helper()
		file := filepath.Join(t.TempDir(), filepath.Base(path))
		output(t, "debugfs", "-R", "dump "+path+" "+file, partition)
		content, err := os.ReadFile(file)
		if err != nil || len(content) == 0 {
			t.Fatalf("%s: %d bytes, %v", path, len(content), err)
		}
		return content
	}
}

// TestReadingsAgreeWithTheSystemsOwn compares what hostcheck reads on a booted node with what sysctl, findmnt,
// systemctl and nft say there in the same minute. Nobody logs in: a unit writes both, and the test takes them from the
// node's disk.
func TestReadingsAgreeWithTheSystemsOwn(t *testing.T) {
	t.Parallel()
	if err := bake(t.Context(), recipe{name: "differential", packages: []string{"procps"}, drift: []overlay.Fragment{
		overlay.File("/usr/lib/systemd/system/differential.service", differentialUnit()),
		overlay.Symlink("/usr/lib/systemd/system/multi-user.target.wants/differential.service", "../differential.service"),
	}}); err != nil {
		t.Fatal(err)
	}
	disk := newDisk(t, filepath.Join(workDir, "differential", "disk.raw"))
	node := start(t, Config{Disk: disk, UUID: NewUUID()})
	verdictOf(t, node)
	awaitConsole(t, node, "differential: done")
	powerOff(t, node)

	left := leftOnVar(t, disk)
	read := func(name string) []byte { return left("/lib/hostcheck/differential/" + name) }
	capture := read("capture.json")
	ours, err := host.Replay(strings.NewReader(string(capture)))
	if err != nil {
		t.Fatal(err)
	}
	if dir := os.Getenv("STRONGROOM_DIFFERENTIAL"); dir != "" { // to look at afterwards
		for _, name := range append([]string{"capture.json", "findmnt", "sysctl", "nft.json", "nft"}, compared...) {
			if err := os.WriteFile(filepath.Join(dir, name), read(name), 0o600); err != nil {
				t.Fatal(err)
			}
		}
	}
	t.Run("sysctl", func(t *testing.T) { compareSysctls(t, ours, capture, string(read("sysctl"))) })
	t.Run("findmnt", func(t *testing.T) { compareMounts(t, ours, read("findmnt")) })
	t.Run("nft", func(t *testing.T) { compareRuleset(t, ours, read("nft.json"), string(read("nft"))) })
	for _, unit := range compared {
		t.Run("systemctl show "+unit, func(t *testing.T) { compareUnit(t, ours, unit, string(read(unit))) })
	}
}

func awaitConsole(t *testing.T, node *Node, text string) {
	t.Helper()
	for deadline := time.Now().Add(bootTimeout); ; time.Sleep(time.Second) {
		console, err := os.ReadFile(node.ConsoleLog())
		if err != nil {
			t.Fatal(err)
		}
		if strings.Contains(string(console), text) {
			return
		}
		if time.Now().After(deadline) {
			t.Fatalf("the console did not say %q", text)
		}
	}
}

// compareSysctls takes every parameter that the catalogue made hostcheck read.
func compareSysctls(t *testing.T, ours host.Host, capture []byte, text string) {
	theirs := map[string]string{}
	for line := range strings.Lines(text) {
		if name, value, ok := strings.Cut(line, "="); ok {
			// A "/" in sysctl's own notation is a dot of the name.
			theirs[strings.NewReplacer(".", "/", "/", ".").Replace(strings.TrimSpace(name))] = strings.Join(strings.Fields(value), " ")
		}
	}
	n := 0
	for _, path := range recordedPaths(t, capture, "/proc/sys/") {
		content, err := ours.ReadFile(path)
		if err != nil {
			continue // not in this kernel
		}
		want, shown := theirs[strings.TrimPrefix(path, "/proc/sys/")]
		if !shown {
			t.Errorf("%s is not among what sysctl shows", path)
			continue
		}
		n++
		if got := strings.Join(strings.Fields(string(content)), " "); got != want {
			t.Errorf("%s: hostcheck %q, sysctl %q", path, got, want)
		}
	}
	if n < 40 {
		t.Errorf("only %d parameters were compared", n)
	}
	t.Logf("%d parameters agree", n)
}

// recordedPaths are the files below a directory that a capture has an answer for.
func recordedPaths(t *testing.T, capture []byte, below string) []string {
	t.Helper()
	var c struct {
		Answers []struct{ Method, Argument string }
	}
	if err := json.Unmarshal(capture, &c); err != nil {
		t.Fatal(err)
	}
	var out []string
	for _, a := range c.Answers {
		if a.Method == "ReadFile" && strings.HasPrefix(a.Argument, below) {
			out = append(out, a.Argument)
		}
	}
	return out
}

func compareMounts(t *testing.T, ours host.Host, raw []byte) {
	var theirs struct {
		Filesystems []struct {
			Target  string
			FSType  string
			Device  string `json:"maj:min"`
			Options string
		}
	}
	if err := json.Unmarshal(raw, &theirs); err != nil {
		t.Fatal(err)
	}
	describe := func(point, fstype, device string, options []string) string {
		options = slices.Compact(slices.Sorted(slices.Values(options)))
		if slices.Contains(options, "ro") { // of the mount or of the file system
			options = slices.DeleteFunc(options, func(o string) bool { return o == "rw" })
		}
		return fmt.Sprintf("%s %s %s %s", point, fstype, device, strings.Join(options, ","))
	}
	var got, want []string
	mounts, err := ours.Mounts()
	if err != nil {
		t.Fatal(err)
	}
	for _, m := range mounts {
		got = append(got, describe(m.Point, m.FSType, m.Device, m.Options))
	}
	for _, m := range theirs.Filesystems {
		want = append(want, describe(m.Target, m.FSType, m.Device, strings.Split(m.Options, ",")))
	}
	sameLists(t, got, want)
}

// sameLists compares without order.
func sameLists(t *testing.T, got, want []string) {
	t.Helper()
	slices.Sort(got)
	slices.Sort(want)
	for _, g := range got {
		if !slices.Contains(want, g) {
			t.Errorf("only hostcheck: %s", g)
		}
	}
	for _, w := range want {
		if !slices.Contains(got, w) {
			t.Errorf("not hostcheck: %s", w)
		}
	}
	t.Logf("%d and %d", len(got), len(want))
}

var (
	// What moves between two looks.
	moving = regexp.MustCompile(`(CurrentN?|Peak|Available|CPUUsageNSec|IOReadBytes|IOWriteBytes|IOReadOperations|IOWriteOperations|IP\w+(Bytes|Packets)|Memory\w+|TasksCurrent|Watchdog\w*|StatusText|StatusErrno|EffectiveTasksMax|EffectiveMemory\w+)$`)
	// What is no word in systemctl's output, or another word than ours: see host.Unit.
	written = regexp.MustCompile(`(USec|USecNext|Timestamp|TimestampMonotonic|NSec|Sec)$|^(Exec|Condition|Assert|Device|SystemCallFilter|SystemCallLog|RestrictAddressFamilies|RestrictFileSystems|` +
		`BindPaths|BindReadOnlyPaths|TemporaryFileSystem|IPAddress|SetCredential|LoadCredential|ImportCredential|Environment|Mount(Images|Flags)|ExtensionImages|Job|` +
		`InvocationID|LogExtraFields|RootHash|CapabilityBoundingSet|AmbientCapabilities|RestrictNamespaces|SecureBits|StandardInputData|OpenFile|CPUAffinity|NUMAMask|AllowedCPUs|AllowedMemoryNodes|` +
		`EffectiveCPUs|EffectiveMemoryNodes|StateDirectorySymlink|RuntimeDirectorySymlink|CacheDirectorySymlink|LogsDirectorySymlink|Listen|Paths|Timers|ExtraFileDescriptorNames|LoadError|Refs|ActivationDetails|LogFilterPatterns|BPFProgram|SocketBind|RestrictNetworkInterfaces|NFTSet|LogRateLimit|RootImage|Id|Following|SuccessExitStatus|RestartPreventExitStatus|RestartForceExitStatus|DebugInvocation|SystemCallErrorNumber|SystemCallArchitectures)`)
)

// compareUnit takes every property that both show as one word.
func compareUnit(t *testing.T, ours host.Host, name, shown string) {
	unit, err := ours.Unit(t.Context(), name)
	if err != nil {
		status, err := ours.UnitStatus(t.Context(), name)
		if err != nil {
			t.Fatalf("the catalogue asks nothing about it: %v", err)
		}
		for property, got := range map[string]string{"LoadState": status.LoadState, "ActiveState": status.ActiveState} {
			if !strings.Contains("\n"+shown, "\n"+property+"="+got+"\n") {
				t.Errorf("%s: hostcheck %q, and systemctl shows another", property, got)
			}
		}
		return
	}
	theirs := map[string]string{}
	for line := range strings.Lines(shown) {
		key, value, _ := strings.Cut(strings.TrimRight(line, "\n"), "=")
		theirs[key] = value
	}
	// systemctl quotes the elements of a list in which it finds a parenthesis.
	theirs["Documentation"] = strings.ReplaceAll(theirs["Documentation"], `"`, "")
	n := 0
	for _, key := range slices.Sorted(maps.Keys(unit.Properties)) {
		want, ok := theirs[key]
		if !ok || moving.MatchString(key) || written.MatchString(key) {
			continue
		}
		n++
		if got := unit.Properties[key]; got != want && !unset(key, got, want) {
			t.Errorf("%s: hostcheck %q, systemctl %q", key, got, want)
		}
	}
	if n < 50 {
		t.Errorf("only %d of %d properties were compared", n, len(unit.Properties))
	}
	t.Logf("%d properties compared, of %d", n, len(unit.Properties))
}

// unset knows the words that systemctl has for a number that nobody set, which is the largest or -1 on the bus, and
// its hexadecimal for the one property that it shows so.
func unset(key, got, want string) bool {
	switch want {
	case "[not set]", "[unprintable]", "n/a":
		return slices.Contains([]string{"infinity", "-1", "65535", "4294967295"}, got)
	}
	n, err := strconv.ParseUint(got, 10, 64)
	return key == "CoredumpFilter" && err == nil && want == fmt.Sprintf("%#x", n)
}

// compareRuleset takes chains with their hooks from nft's JSON, and rules from its text, in the normal form.
func compareRuleset(t *testing.T, ours host.Host, raw []byte, text string) {
	var theirs struct {
		Nftables []struct {
			Chain *struct {
				Family, Table, Name, Type, Hook, Policy string
				Prio                                    int
			}
		}
	}
	if err := json.Unmarshal(raw, &theirs); err != nil {
		t.Fatal(err)
	}
	var got, want []string
	for _, x := range theirs.Nftables {
		if c := x.Chain; c != nil {
			want = append(want, fmt.Sprintf("%s %s %s: %s %s %d %s", c.Family, c.Table, c.Name, c.Type, c.Hook, c.Prio, c.Policy))
		}
	}
	table, chain := "", ""
	for line := range strings.Lines(text) {
		line = strings.TrimSpace(line)
		switch {
		case strings.HasPrefix(line, "table "):
			table = strings.TrimSuffix(strings.TrimPrefix(line, "table "), " {")
		case strings.HasPrefix(line, "chain "):
			chain = strings.TrimSuffix(strings.TrimPrefix(line, "chain "), " {")
		case line == "}":
			chain = ""
		case chain != "" && line != "" && !strings.HasPrefix(line, "type "):
			want = append(want, table+" "+chain+": "+host.NormalRule(line))
		}
	}
	ruleset, err := ours.Ruleset(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	for _, tab := range ruleset.Tables {
		for _, c := range tab.Chains {
			at := fmt.Sprintf("%s %s %s: ", tab.Family, tab.Name, c.Name)
			got = append(got, fmt.Sprintf("%s%s %s %d %s", at, c.Type, c.Hook, c.Priority, c.Policy))
			for _, r := range c.Rules {
				got = append(got, at+r)
			}
		}
	}
	if len(got) < 10 {
		t.Errorf("only %d chains and rules", len(got))
	}
	sameLists(t, got, want)
}
