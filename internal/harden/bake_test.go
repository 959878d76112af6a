//go:build bake

package harden

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/strongroom/strongroom/hardening"
	"github.com/strongroom/strongroom/internal/control"
	"github.com/strongroom/strongroom/internal/distribution"
	"github.com/strongroom/strongroom/internal/harden/hardentest"
	"github.com/strongroom/strongroom/internal/image"
	"github.com/strongroom/strongroom/internal/overlay"
	"github.com/strongroom/strongroom/internal/server"
)

// rootTree is a machine as far as one can be without a kernel of its own: a Debian tree in namespaces, whose process 1 is
// called systemd and does nothing.
type rootTree struct {
	dir  string
	init *exec.Cmd
}

func newRootTree(t *testing.T) *rootTree {
	t.Helper()
	if os.Geteuid() != 0 {
		t.Skip("needs root: overlayfs over a directory tree")
	}
	dir, err := os.MkdirTemp("/var/tmp", "strongroom-harden-")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	tree := filepath.Join(dir, "tree")
	do := func(argv ...string) {
		t.Helper()
		if out, err := exec.Command(argv[0], argv[1:]...).CombinedOutput(); err != nil {
			t.Fatalf("%q: %v: %s", argv, err, out)
		}
	}
	hardentest.Unpack(t, tree)
	do("cp", filepath.Join(tree, "usr/bin/sleep"), filepath.Join(tree, "usr/local/bin/systemd"))
	m := &rootTree{dir: tree}
	m.init = exec.Command("unshare", "--mount", "--pid", "--fork", "--kill-child", "sh", "-eu", "-c", `
		mount --bind "$1" "$1"; cd "$1"
		mount -t proc proc proc; mount -t tmpfs -o mode=0755 run run; mount -t tmpfs -o mode=1777,noexec tmp tmp; mount --rbind /dev dev
		mkdir -p run/systemd/system
		echo ready
		exec chroot . /usr/local/bin/systemd infinity`, "sh", tree)
	ready, err := m.init.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	m.init.Stderr = os.Stderr
	if err := m.init.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { m.init.Process.Kill(); m.init.Wait() })
	if _, err := io.ReadFull(ready, make([]byte, 6)); err != nil {
		t.Fatal(err)
	}
	return m
}

// pid is that of process 1 of the tree.
func (m *rootTree) pid() (string, error) {
	out, err := os.ReadFile(fmt.Sprintf("/proc/%d/task/%[1]d/children", m.init.Process.Pid))
	return strings.TrimSpace(string(out)), err
}

func (m *rootTree) enter(ctx context.Context, argv ...string) (*exec.Cmd, error) {
	pid, err := m.pid()
	return exec.CommandContext(ctx, "nsenter", append([]string{"--target", pid, "--mount", "--pid", "--root", "--wdns=/", "--"}, argv...)...), err
}

func (m *rootTree) Run(ctx context.Context, command string, out io.Writer) (int, error) {
	cmd, err := m.enter(ctx, "env", "-i", "PATH=/usr/bin:/bin", "/bin/sh", "-c", command)
	if err != nil {
		return 0, err
	}
	cmd.Stdout, cmd.Stderr = out, out
	var exit *exec.ExitError
	if err := cmd.Run(); err != nil && !errors.As(err, &exit) {
		return 0, err
	}
	return cmd.ProcessState.ExitCode(), nil
}

func (m *rootTree) put(ctx context.Context, path string, r io.Reader) error {
	cmd, err := m.enter(ctx, "/bin/sh", "-c", `cat >"$0"`, path)
	if err != nil {
		return err
	}
	cmd.Stdin = r
	return cmd.Run()
}

func (m *rootTree) Upload(ctx context.Context, path string, content []byte) error {
	return m.put(ctx, path, bytes.NewReader(content))
}

func (m *rootTree) UploadFile(ctx context.Context, path, source string) error {
	f, err := os.Open(source)
	if err != nil {
		return err
	}
	defer f.Close()
	return m.put(ctx, path, f)
}

func (m *rootTree) Download(ctx context.Context, path string, w io.Writer) error {
	cmd, err := m.enter(ctx, "cat", path)
	if err != nil {
		return err
	}
	cmd.Stdout = w
	return cmd.Run()
}

func (m *rootTree) sh(t *testing.T, command string) string {
	t.Helper()
	var out bytes.Buffer
	status, err := m.Run(t.Context(), command, &out)
	if err != nil || status != 0 {
		t.Fatalf("%s: %v, status %d: %s", command, err, status, out.String())
	}
	return strings.TrimSpace(out.String())
}

// testLog writes to the test.
type testLog struct{ t *testing.T }

func (l testLog) Write(p []byte) (int, error) {
	l.t.Log(strings.TrimSpace(string(p)))
	return len(p), nil
}

func spec(t *testing.T) Spec {
	t.Helper()
	hostcheck := filepath.Join(t.TempDir(), "hostcheck")
	build := exec.Command("go", "build", "-trimpath", "-o", hostcheck, "../../cmd/hostcheck")
	build.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := build.CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	return Spec{
		Overlay: func(d distribution.Distribution) (*overlay.Tree, error) {
			catalogue, err := hardening.Load()
			if err != nil {
				return nil, err
			}
			b, err := catalogue.Compile(control.Profile{Server: "vault", Platform: "vm", Layout: distribution.Installed, Distribution: d.ID})
			if err != nil {
				return nil, err
			}
			return b.Overlay()
		},
		Programs: []image.Binary{{Source: hostcheck, Path: server.Products[0].Binary}, {Source: hostcheck, Path: "/usr/bin/hostcheck"}},
		Accounts: []string{"vault"},
		Name:     "test", Version: "1.0.0",
		Execute: func(script string, _ bool) (string, error) { return "sh " + script, nil },
		Log:     slog.New(slog.NewTextHandler(testLog{t}, &slog.HandlerOptions{Level: slog.LevelDebug})),
	}
}

// snapshot names every file of the tree with what is in it, but for what programs write down by the way.
func (m *rootTree) snapshot(t *testing.T) string {
	return m.sh(t, `find / -xdev \( -path /var/log -o -path /var/cache -o -path /var/tmp \) -prune -o \( -type f -o -type l \) -printf '%p %m %U %G %T@ %l\n' | sort`)
}

func TestHardenTree(t *testing.T) {
	m := newRootTree(t)
	s := spec(t)
	before := m.snapshot(t)
	result, err := Harden(t.Context(), m, s, func([]byte) error { return nil })
	if err != nil {
		t.Fatal(err)
	}
	t.Logf("%d changes: %q", len(result.Changed), result.Changed)
	if len(result.Report) == 0 || len(result.Changed) < 100 {
		t.Errorf("report of %d bytes, %d changes", len(result.Report), len(result.Changed))
	}
	os.WriteFile("/tmp/s2-report.json", result.Report, 0o644)
	after := m.snapshot(t)
	if before == after {
		t.Error("nothing has changed")
	}
	// The rehearsal has touched nothing: the way in is there.
	m.sh(t, "test -x /usr/sbin/sshd && test -d /etc/ssh && id build && test -d /home/build && command -v sudo && test ! -e /etc/systemd/system/ssh.service")
	if left := m.sh(t, "ls -A /var/tmp /usr/sbin/policy-rc.d /run/strongroom-rehearsal 2>/dev/null || :"); left != "/var/tmp:" {
		t.Errorf("left: %q", left)
	}

	again, err := Harden(t.Context(), m, s, func([]byte) error { return nil })
	if err != nil {
		t.Fatal(err)
	}
	if len(again.Changed) > 0 || again.Digest != result.Digest {
		t.Errorf("a second run changes %q, digest %s then %s", again.Changed, result.Digest, again.Digest)
	}
	if now := m.snapshot(t); now != after {
		t.Errorf("a second run leaves other files: %s", differ(after, now))
	}
}

func differ(a, b string) string {
	x, y := strings.Split(a, "\n"), strings.Split(b, "\n")
	var out []string
	for _, l := range y {
		if !slices.Contains(x, l) {
			out = append(out, "+"+l)
		}
	}
	for _, l := range x {
		if !slices.Contains(y, l) {
			out = append(out, "-"+l)
		}
	}
	return strings.Join(out, "\n")
}
