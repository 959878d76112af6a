//go:build bake && boot

package plugin_test

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/http/httputil"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/strongroom/strongroom/internal/check"
	"github.com/strongroom/strongroom/internal/control"
	bake "github.com/strongroom/strongroom/internal/image"
	"github.com/strongroom/strongroom/internal/lab"
	"github.com/strongroom/strongroom/internal/lab/network"
	"github.com/strongroom/strongroom/internal/lab/plain"
	"github.com/strongroom/strongroom/internal/report"
)

// quickInitrd spares an emulated machine minutes: its initramfs has the modules of the machine and no others.
const quickInitrd = "printf 'MODULES=dep\\nCOMPRESS=gzip\\n' >/etc/initramfs-tools/conf.d/test\n"

// proxyPort lets a machine of the lab, which reaches nothing outside, get packages from the distribution: by HTTP, at its port.
const proxyPort = 3128

func exposeProxy(t *testing.T, segment *network.Network) string {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	server := &http.Server{Handler: &httputil.ReverseProxy{Rewrite: func(*httputil.ProxyRequest) {}}}
	go server.Serve(listener)
	t.Cleanup(func() { server.Close() })
	if err := segment.Expose(proxyPort, listener.Addr().String()); err != nil {
		t.Fatal(err)
	}
	return fmt.Sprintf("http://%s:%d", network.Host, proxyPort)
}

// plainMachine boots a fresh machine with SSH, which ends with the test.
func plainMachine(t *testing.T, suite, prepare string) (m *plain.Machine, image *plain.Image, proxy string) {
	t.Helper()
	cache, err := bake.UserCache()
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	image, err = plain.Bake(t.Context(), suite, dir, cache, slog.Default())
	if err != nil {
		t.Fatal(err)
	}
	segment, err := network.New(slog.Default())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { segment.Close() })
	proxy = exposeProxy(t, segment)
	if m, err = plain.Start(t.Context(), plain.Config{Image: image, Network: segment, Dir: dir, Prepare: quickInitrd + prepare, Log: slog.Default()}); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if t.Failed() {
			log, _ := os.ReadFile(m.ConsoleLog())
			t.Logf("%s:\n%s", m.ConsoleLog(), log[max(0, len(log)-20000):])
		}
		m.Close()
	})
	return m, image, proxy
}

// harden runs Packer's null builder with the provisioner.
func (w workbench) harden(t *testing.T, m *plain.Machine, image *plain.Image, proxy, attributes string) (dir, out string, code int) {
	t.Helper()
	host, port, err := net.SplitHostPort(m.Address())
	if err != nil {
		t.Fatal(err)
	}
	vault := os.Getenv("VAULT_BINARY")
	if vault == "" {
		t.Skip("VAULT_BINARY is not set")
	}
	dir = t.TempDir()
	text := fmt.Sprintf(`
source "null" "machine" {
  ssh_host             = %q
  ssh_port             = %s
  ssh_username         = %q
  ssh_private_key_file = %q
  ssh_timeout          = "5m"
}
build {
  sources = ["source.null.machine"]
  provisioner "strongroom-harden" {
    image_version    = "1.0.0"
    hostcheck        = %q
    environment_vars = ["http_proxy=%s"]
    vault { binary = %q }
    %s
  }
}
`, host, port, plain.User, image.KeyFile, w.hostcheck, proxy, vault, attributes)
	if err := os.WriteFile(filepath.Join(dir, "test.pkr.hcl"), []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 18*time.Minute)
	defer cancel()
	cmd := exec.CommandContext(ctx, w.packer, "build", "-on-error=abort", ".") // longer than other tests give it
	cmd.Dir = dir
	cmd.Env = append(w.environment(), "PACKER_LOG=1", "PACKER_LOG_PATH="+filepath.Join(dir, "packer.log"))
	began := time.Now()
	var said bytes.Buffer
	cmd.Stdout, cmd.Stderr = io.MultiWriter(&said, os.Stdout), io.MultiWriter(&said, os.Stdout)
	err = cmd.Run()
	t.Logf("packer build took %.0f s: %v", time.Since(began).Seconds(), err)
	return dir, said.String(), cmd.ProcessState.ExitCode()
}

// A plain machine becomes a node: Packer hardens it over SSH, it is shut down, and at the next boot the gate passes, the server
// starts, and nobody can log in.
func TestHardenedMachineBoots(t *testing.T) {
	w := setUp(t)
	m, image, proxy := plainMachine(t, "bookworm", plain.NoExec+plain.NoBash)
	dir, out, code := w.harden(t, m, image, proxy, "")
	if code != 0 {
		t.Fatalf("packer build ended with %d", code)
	}
	file, err := os.Open(filepath.Join(dir, "machine-report.json"))
	if err != nil {
		t.Fatal(err)
	}
	defer file.Close()
	if document, err := report.ReadJSON(file); err != nil || document.Verdict != check.Pass {
		t.Errorf("the report beside the template: %v", err)
	}
	if !strings.Contains(out, "the machine has all of the hardening") {
		t.Error("nothing of the digest")
	}
	// A second run finds everything there.
	if _, out, code := w.harden(t, m, image, proxy, ""); code != 0 || !strings.Contains(out, "Nothing to change") {
		t.Errorf("the second run ended with %d", code)
	}
	shutdown, err := m.Stop(t.Context(), "poweroff")
	if err != nil || shutdown.Reason != "guest-shutdown" {
		t.Fatalf("shutdown %+v: %v", shutdown, err)
	}
	console, err := os.ReadFile(m.ConsoleLog())
	if err != nil || !bytes.Contains(console, []byte("the hardening is active from the next boot on")) {
		t.Errorf("the activation has not said that it succeeded: %v", err)
	}
	authority, err := lab.NewAuthority()
	if err != nil {
		t.Fatal(err)
	}
	node, err := m.StartNode(t.Context(), authority)
	if err != nil {
		t.Fatal(err)
	}
	defer node.Close()
	ctx, cancel := context.WithTimeout(t.Context(), 8*time.Minute)
	defer cancel()
	document, _, err := node.AwaitVerdict(ctx)
	if err != nil {
		t.Fatal(err)
	}
	if document.Verdict != check.Pass {
		var closing []string
		for _, c := range document.Controls {
			if c.Severity == control.Must && (c.Outcome == control.Fail || c.Outcome == control.Unknown) {
				closing = append(closing, c.ID)
			}
		}
		t.Errorf("the verdict is %s: %s", document.Verdict, strings.Join(closing, ", "))
	}
	if document.Stage < control.StageRun {
		t.Errorf("the verdict is of stage %s: the server has not been looked at", document.Stage)
	}
	// The firewall answers nothing, so waiting has to end.
	knock, cancel := context.WithTimeout(ctx, 20*time.Second)
	defer cancel()
	if conn, err := node.Dial(knock, lab.PortSSH); err == nil {
		conn.Close()
		t.Error("port 22 is open")
	}
	t.Logf("stage %s, %d controls", document.Stage, len(document.Controls))
	if status, _, err := node.Get(ctx, lab.PortAPI, "/v1/sys/health"); err != nil || status != http.StatusNotImplemented {
		t.Errorf("Vault: status %d, %v; want 501, not initialised", status, err)
	}
	stopping, cancel := context.WithTimeout(t.Context(), 5*time.Minute)
	defer cancel()
	if _, err := node.PowerOff(stopping); err != nil {
		t.Fatal(err)
	}
	requireGone(t, m.Disk, "/home/"+plain.User, "/root/.ssh", "/etc/ssh", "/usr/sbin/sshd", "/usr/bin/sudo", "/var/lib/cloud")
}

// requireGone looks on the disk itself.
func requireGone(t *testing.T, disk *lab.Disk, paths ...string) {
	t.Helper()
	raw := filepath.Join(t.TempDir(), "disk.raw")
	if out, err := exec.Command("qemu-img", "convert", "-O", "raw", disk.Path, raw).CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	for _, p := range paths {
		out, err := exec.Command("debugfs", "-R", "stat "+p, fmt.Sprintf("%s?offset=%d", raw, plain.RootOffset)).CombinedOutput()
		if err != nil || !strings.Contains(string(out), "File not found") {
			t.Errorf("%s is on the disk: %v: %s", p, err, out)
		}
	}
}
