//go:build boot && record

package lab

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/strongroom/strongroom/internal/overlay"
)

// recordUnit captures the node once the agent has judged the running Vault.
const recordUnit = `[Unit]
After=vault.service hostcheck.service

[Service]
Type=oneshot
ExecStartPre=/usr/bin/sleep 20
ExecStart=/usr/bin/hostcheck capture --stage run --output /var/lib/hostcheck/capture.json
ExecStart=/usr/bin/sync
ExecStart=/usr/bin/sh -c 'echo "capture: done" >/dev/console'
`

// fixture is the recording of a real node that tests and benchmarks of hostcheck replay.
const fixture = "../../cmd/hostcheck/testdata/node-boot.json"

// TestRecordNode makes the fixture again (make fixtures): an image with one unit more is booted, the
// node captures itself, and the recording is read from its disk, as nobody can log in. Its baseline is not signed: what a judgement of the
// recording takes is compared over the years, and a signature is another 0.2 MiB.
func TestRecordNode(t *testing.T) {
	if err := bake(t.Context(), recipe{name: "record", unsigned: true, parameters: map[string]string{"allowed_units": "capture.service"}, drift: []overlay.Fragment{
		overlay.File("/usr/lib/systemd/system/capture.service", recordUnit),
		overlay.Symlink("/usr/lib/systemd/system/multi-user.target.wants/capture.service", "../capture.service"),
	}}); err != nil {
		t.Fatal(err)
	}
	disk := newDisk(t, filepath.Join(workDir, "record", "disk.raw"))
	node := start(t, Config{Disk: disk, UUID: "5712075e-0000-4000-8000-000000000001"})
	verdictOf(t, node)
	for deadline := time.Now().Add(bootTimeout); ; time.Sleep(time.Second) {
		text, err := os.ReadFile(node.ConsoleLog())
		if err != nil {
			t.Fatal(err)
		}
		if strings.Contains(string(text), "capture: done") {
			break
		}
		if time.Now().After(deadline) {
			t.Fatal("the node did not capture itself")
		}
	}
	powerOff(t, node)

	raw := filepath.Join(workDir, "record", "used.raw")
	output(t, "qemu-img", "convert", "-O", "raw", disk.Path, raw)
	recording := filepath.Join(t.TempDir(), "capture.json")
	output(t, "debugfs", "-R", "dump /lib/hostcheck/capture.json "+recording, fmt.Sprintf("%s?offset=%d", raw, partition(t, raw, "strongroom-var")))
	content, err := os.ReadFile(recording)
	if err != nil {
		t.Fatal(err)
	}
	if !json.Valid(content) {
		t.Fatalf("not a recording: %.200q", content)
	}
	if err := os.WriteFile(fixture, content, 0o644); err != nil {
		t.Fatal(err)
	}
}
