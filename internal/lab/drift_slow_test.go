//go:build boot && slow

package lab

import (
	"bufio"
	"bytes"
	"encoding/json"
	"fmt"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/strongroom/strongroom/internal/overlay"
	"github.com/strongroom/strongroom/internal/telemetry"
)

// drifts are changes of a running node, each with the control that fails by it and who announces it: one of them at least.
var drifts = []struct{ control, sources, command string }{
	{"links-protected", "files", "echo 0 >/proc/sys/fs/protected_fifos"},
	{"mounts-writable-known", "mounts", "mount -t tmpfs drift /mnt"},
	{"network-default-deny", "nftables", "nft add table ip intruder"},
	{"vault-swap-denied", "files systemd", "systemctl set-property --runtime vault.service MemorySwapMax=infinity"},
}

// driftScript makes them, each when the agent has long come to rest, says when, and leaves what the agent has told the journal.
func driftScript() string {
	const dir = "/var/lib/hostcheck/drift"
	lines := []string{"set -eu", "mkdir -p " + dir, "sleep 120"}
	for _, d := range drifts {
		lines = append(lines, "sleep 13", fmt.Sprintf("echo %s $(date +%%s%%6N) >>%s/times", d.control, dir), d.command)
	}
	return strings.Join(append(lines, "sleep 13", "journalctl --flush",
		"journalctl --output=json MESSAGE_ID="+telemetry.MessageControl+" >"+dir+"/journal", "sync", `echo "drift: done" >/dev/console`), "\n") + "\n"
}

// TestBootWithDrift changes a running node, and reads in its journal what the agent has told of it: the control, what it was, and who has announced it.
func TestBootWithDrift(t *testing.T) {
	t.Parallel()
	const waivers = "waivers:\n  - {control: tenancy-units-known, reason: a unit makes the drift, owner: the tests, expires: 2099-12-31}\n"
	if err := bake(t.Context(), recipe{name: "drift", waivers: waivers, drift: []overlay.Fragment{
		overlay.File("/usr/lib/strongroom-drift", driftScript()),
		overlay.File(unitDir+"drift.service", "[Unit]\nAfter=vault.service hostcheck.service\n[Service]\nType=exec\nExecStart=/usr/bin/sh /usr/lib/strongroom-drift\n"),
		overlay.Symlink(unitDir+"multi-user.target.wants/drift.service", "../drift.service"),
	}}); err != nil {
		t.Fatal(err)
	}
	disk := newDisk(t, filepath.Join(workDir, "drift", "disk.raw"))
	node := start(t, Config{Disk: disk, UUID: NewUUID()})
	verdictOf(t, node)
	awaitConsole(t, node, "drift: done")
	metrics, err := node.Metrics(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	for line := range strings.Lines(string(metrics)) {
		if strings.HasPrefix(line, "hostcheck_announcements_total") || strings.HasPrefix(line, "hostcheck_run_duration_seconds_") {
			t.Log(strings.TrimSpace(line))
		}
	}
	for _, d := range drifts {
		if series := fmt.Sprintf("hostcheck_drift_total{check=%q} 1\n", d.control); !strings.Contains(string(metrics), series) {
			t.Errorf("the metrics lack %s", series)
		}
	}
	powerOff(t, node)

	left := leftOnVar(t, disk)
	made := map[string]int64{} // microseconds
	for line := range strings.Lines(string(left("/lib/hostcheck/drift/times"))) {
		id, at, _ := strings.Cut(strings.TrimSpace(line), " ")
		if made[id], err = strconv.ParseInt(at, 10, 64); err != nil {
			t.Fatal(err)
		}
	}
	type entry struct {
		Time      int64  `json:"__REALTIME_TIMESTAMP,string"` // microseconds
		Control   string `json:"STRONGROOM_CONTROL"`
		Was       string `json:"STRONGROOM_WAS"`
		Outcome   string `json:"STRONGROOM_OUTCOME"`
		Announced string `json:"STRONGROOM_ANNOUNCED"`
	}
	told := map[string]entry{}
	journal := bufio.NewScanner(bytes.NewReader(left("/lib/hostcheck/drift/journal")))
	journal.Buffer(nil, 1<<20)
	for journal.Scan() {
		var e entry
		if err := json.Unmarshal(journal.Bytes(), &e); err != nil {
			t.Fatalf("%v: %s", err, journal.Bytes())
		}
		if e.Time >= made[e.Control] {
			told[e.Control] = e
		}
	}
	for _, d := range drifts {
		e := told[d.control]
		if e.Was != "pass" || e.Outcome != "fail" || !slices.ContainsFunc(strings.Fields(e.Announced), func(s string) bool { return slices.Contains(strings.Fields(d.sources), s) }) {
			t.Errorf("%s, made by %q: the journal says after %s: %+v", d.control, d.command, time.Duration(e.Time-made[d.control])*time.Microsecond, e)
			continue
		}
		t.Logf("%s: told %s after %q was begun, announced by %s", d.control, time.Duration(e.Time-made[d.control])*time.Microsecond, d.command, e.Announced)
	}
}
