//go:build boot && slow

package plain

import (
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/strongroom/strongroom/internal/image"
	"github.com/strongroom/strongroom/internal/lab/network"
)

// images are baked once for all tests.
var images = struct {
	sync.Mutex
	dir  string
	made map[string]*Image
}{made: map[string]*Image{}}

func TestMain(m *testing.M) {
	os.Exit(func() int {
		dir, err := os.MkdirTemp("", "strongroom-plain-")
		if err != nil {
			panic(err)
		}
		defer os.RemoveAll(dir)
		images.dir = dir
		return m.Run()
	}())
}

func imageOf(t *testing.T, suite string) *Image {
	t.Helper()
	images.Lock()
	defer images.Unlock()
	if image := images.made[suite]; image != nil {
		return image
	}
	cache, err := image.UserCache()
	if err != nil {
		t.Fatal(err)
	}
	began := time.Now()
	image, err := Bake(t.Context(), suite, images.dir, cache, slog.Default())
	if err != nil {
		t.Fatal(err)
	}
	t.Logf("the disk took %.0f s", time.Since(began).Seconds())
	images.made[suite] = image
	return image
}

// start boots a machine that ends with the test.
func start(t *testing.T, suite, prepare string) *Machine {
	t.Helper()
	segment, err := network.New(slog.Default())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { segment.Close() })
	dir := t.TempDir()
	image := imageOf(t, suite)
	began := time.Now()
	m, err := Start(t.Context(), Config{Image: image, Network: segment, Dir: dir, Prepare: prepare, Log: slog.Default()})
	if err != nil {
		logs, _ := filepath.Glob(filepath.Join(dir, "*.log"))
		for _, log := range logs {
			text, _ := os.ReadFile(log)
			t.Logf("%s:\n%s", log, text)
		}
		t.Fatal(err)
	}
	t.Cleanup(func() { m.Close() })
	t.Logf("SSH after %.0f s", time.Since(began).Seconds())
	return m
}

// want runs a command and fails the test unless its output has the text.
func want(t *testing.T, m *Machine, command, text string) {
	t.Helper()
	output, err := m.Run(t.Context(), command, "")
	if err != nil || !strings.Contains(output, text) {
		t.Errorf("%s: %q, %v; want %q", command, output, err, text)
	}
}

func TestPlainMachine(t *testing.T) {
	m := start(t, "bookworm", NoExec+NoBash)
	want(t, m, "sudo id -u", "0")
	want(t, m, "echo $SHELL; findmnt -no OPTIONS /tmp", "noexec")
	if _, err := m.Run(t.Context(), "/bin/bash -c true", ""); err == nil {
		t.Error("the build user can start bash")
	}
	want(t, m, "systemctl is-system-running --wait; systemctl --failed --no-legend --plain | wc -l", "0")
	want(t, m, `echo 'GRUB_CMDLINE_LINUX="$GRUB_CMDLINE_LINUX strongroom.test=1"' | sudo tee /etc/default/grub.d/60-test.cfg && sudo update-grub`, "done")
	if err := m.Reboot(t.Context()); err != nil {
		t.Fatal(err)
	}
	want(t, m, "cat /proc/cmdline", "strongroom.test=1")
	want(t, m, "findmnt -no OPTIONS /tmp", "noexec")
	shutdown, err := m.Stop(t.Context(), "poweroff")
	if err != nil || shutdown.Reason != "guest-shutdown" {
		t.Errorf("shutdown %+v, %v", shutdown, err)
	}
}
