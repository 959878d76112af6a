//go:build boot && install

package lab

import (
	"context"
	"crypto/sha256"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/strongroom/strongroom/internal/lab/network"
)

// installPatience is for an emulated processor that others share.
const installPatience = 4 * time.Hour

// installation is a machine whose disks an installer works on, with what it fetches.
type installation struct {
	segment   *network.Network
	authority *Authority
	kernel    Kernel
	disk      *Disk // the one that the preseed names
	dir       string

	mu    sync.Mutex
	steps []string
}

// newInstallation renders the bundle with the program itself, and serves it.
func newInstallation(t *testing.T) *installation {
	t.Helper()
	i := &installation{authority: newAuthority(t), dir: t.TempDir()}
	var err error
	if i.segment, err = network.New(testLog()); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { i.segment.Close() })
	serveMirror(t, i.segment)
	for _, program := range []string{"imagebuild", "hostcheck"} {
		build := exec.CommandContext(t.Context(), "go", "build", "-trimpath", "-o", filepath.Join(i.dir, program), "../../cmd/"+program)
		build.Env = append(os.Environ(), "CGO_ENABLED=0")
		if out, err := build.CombinedOutput(); err != nil {
			t.Fatalf("%v: %s", err, out)
		}
	}
	authorities := filepath.Join(i.dir, "ca.pem")
	if err := os.WriteFile(authorities, i.authority.CA(), 0o600); err != nil {
		t.Fatal(err)
	}
	if i.disk, err = NewEmptyDisk(t.Context(), i.dir, "NODE1", 16<<30); err != nil {
		t.Fatal(err)
	}
	bundle := filepath.Join(i.dir, "bundle")
	vault := os.Getenv("VAULT_BINARY")
	if vault == "" {
		t.Fatal("VAULT_BINARY is not set: make test-install sets it")
	}
	render := exec.CommandContext(t.Context(), filepath.Join(i.dir, "imagebuild"), "metal", "--distribution", "debian/"+installSuite, "--profile", "vault/metal", "--image-version", "1.0.0",
		"--url", "https://host.lab:8443", "--ca", authorities, "--disk", "/dev/disk/by-id/virtio-"+i.disk.Serial, "--source", "http://host.lab/debian", "--server", vault, "--output", bundle)
	if out, err := render.CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	serve(t, i.segment, i.authority, http.FileServer(http.Dir(bundle)))
	serveLog(t, i.segment, i.take(t))
	i.kernel = netbootInstaller(t, filepath.Join(bundle, "preseed.cfg"))
	i.kernel.Arguments = strings.Join([]string{
		"auto=true", "priority=critical", // as docs/metal.md says
		"DEBIAN_FRONTEND=text", "log_host=" + network.Host.String(), "console=ttyS0",
		// For an emulated processor alone: the guarded jumps of the mitigations cost it most, and a small initramfs saves minutes each time that it is made.
		"mitigations=off", "base-installer/initramfs-tools/driver-policy=dep",
	}, " ")
	return i
}

// step is what the installer's menu says that it does.
var step = regexp.MustCompile(`main-menu\[\d+\]: (?:INFO: )?Menu item '([^']+)' selected`)

// take keeps the installer's log, and what of it matters here.
func (i *installation) take(t *testing.T) func(string) {
	file, err := os.Create(filepath.Join(i.dir, "installer.log"))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { file.Close() })
	return func(line string) {
		i.mu.Lock()
		defer i.mu.Unlock()
		fmt.Fprintln(file, line)
		if match := step.FindStringSubmatch(line); match != nil {
			i.steps = append(i.steps, fmt.Sprintf("%s %s", time.Now().Format(time.TimeOnly), match[1]))
			t.Log(i.steps[len(i.steps)-1])
		}
	}
}

// question is what the installer shows when it waits for somebody: it is to run unattended.
var question = regexp.MustCompile(`Prompt: '\?' for help|\[Press enter to continue\]`)

// run runs the installer until the machine restarts, or shows what until gives true for.
func (i *installation) run(t *testing.T, until func(console string) bool, extra ...*Disk) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), installPatience)
	defer cancel()
	console := filepath.Join(i.dir, "installer-console.log")
	machine, err := Start(ctx, Config{
		Network: i.segment, Disk: i.disk, Extra: extra, Kernel: &i.kernel, UUID: NewUUID(), MemoryMiB: 1536, Forwards: []int{}, ConsoleLog: console, Log: testLog(),
	})
	if err != nil {
		t.Fatal(err)
	}
	defer machine.Close()
	stuck := func(format string, arguments ...any) {
		text, _ := os.ReadFile(console)
		log, _ := os.ReadFile(filepath.Join(i.dir, "installer.log"))
		t.Fatalf(format+"\nafter %.0f min; its log ends with\n%s\nits console with\n%s", append(arguments, machine.Uptime().Minutes(), tail(log, 3000), tail(text, 3000))...)
	}
	for {
		select {
		case <-machine.Done():
			if until != nil {
				stuck("the machine went down")
			}
			shutdown, err := machine.Wait(ctx)
			if err != nil || shutdown.Reason != "guest-reset" {
				stuck("the installer ended by %s, %v, and not by a restart", shutdown.Reason, err)
			}
			t.Logf("the installation took %.0f min", machine.Uptime().Minutes())
			return
		case <-ctx.Done():
			stuck("no end: %v", context.Cause(ctx))
		case <-time.After(pollInterval):
		}
		text, err := os.ReadFile(console)
		if err != nil {
			t.Fatal(err)
		}
		switch {
		case until != nil && until(string(text)):
			return
		case strings.Contains(string(text), "strongroom: THE INSTALLATION HAS FAILED"): // in the log it is also before the script runs: there the command is told
			stuck("the script has failed")
		case question.Match(text):
			stuck("the installer waits for somebody")
		}
	}
}

func tail(text []byte, n int) []byte { return text[max(0, len(text)-n):] }

// foreignDisk is one that belongs to somebody else: it has a file system.
func foreignDisk(t *testing.T, serial string) (disk *Disk, digest func() string) {
	t.Helper()
	disk, err := NewEmptyDisk(t.Context(), t.TempDir(), serial, 64<<20)
	if err != nil {
		t.Fatal(err)
	}
	filled := disk.Path + ".raw"
	for _, argv := range [][]string{
		{"truncate", "--size=64M", filled}, {"mke2fs", "-q", "-t", "ext4", "-F", filled}, {"qemu-img", "convert", "-O", "qcow2", filled, disk.Path},
	} {
		if err := run(t.Context(), argv[0], argv[1:]...); err != nil {
			t.Fatal(err)
		}
	}
	return disk, func() string {
		t.Helper()
		if err := run(t.Context(), "qemu-img", "convert", "-O", "raw", disk.Path, filled); err != nil {
			t.Fatal(err)
		}
		file, err := os.Open(filled)
		if err != nil {
			t.Fatal(err)
		}
		defer file.Close()
		sum := sha256.New()
		if _, err := io.Copy(sum, file); err != nil {
			t.Fatal(err)
		}
		return fmt.Sprintf("%x", sum.Sum(nil))
	}
}

// TestInstall lets Debian's installer make a node, unattended, of a machine with an empty disk and another one of somebody else's; then the machine starts from its
// disk, the gate passes and Vault runs, and the other disk is the same bit for bit.
func TestInstall(t *testing.T) {
	i := newInstallation(t)
	other, digest := foreignDisk(t, "OTHER")
	before := digest()
	i.run(t, nil, other)
	if digest() != before {
		t.Error("the disk of somebody else has changed")
	}
	node, err := StartNode(t.Context(), i.authority, Config{Network: i.segment, Disk: i.disk, UUID: NewUUID(), ConsoleLog: filepath.Join(i.dir, "console.log"), Log: testLog()})
	if err != nil {
		t.Fatal(err)
	}
	defer node.Close()
	document := verdictOf(t, node)
	requirePass(t, document)
	t.Logf("%d controls, stage %s", len(document.Controls), document.Stage)
	powerOff(t, node)
}

// TestInstallRefusesForeignDisk gives the installer a disk of somebody else's under the very name that the preseed has: it says so, stops for good, and the disk is
// the same bit for bit.
func TestInstallRefusesForeignDisk(t *testing.T) {
	i := newInstallation(t)
	disk, digest := foreignDisk(t, i.disk.Serial)
	i.disk = disk
	before := digest()
	i.run(t, func(console string) bool { return strings.Contains(console, "holds data and is left alone") })
	if digest() != before {
		t.Error("the disk of somebody else has changed")
	}
}
