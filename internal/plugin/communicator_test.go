package plugin

import (
	"archive/tar"
	"bytes"
	"context"
	"errors"
	"io"
	"io/fs"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	packersdk "github.com/hashicorp/packer-plugin-sdk/packer"
)

// dirTree is a directory that plays the image tree: the real one needs a bake.
type dirTree struct {
	dir  string
	fail error // answer of the methods that move files
}

func (d dirTree) path(p string) string { return filepath.Join(d.dir, p) }

func (d dirTree) Command(ctx context.Context, argv ...string) *exec.Cmd {
	cmd := exec.CommandContext(ctx, argv[0], argv[1:]...)
	cmd.Dir = d.dir
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	cmd.Cancel = func() error { return syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL) }
	return cmd
}

func (d dirTree) Upload(_ context.Context, dst string, mode fs.FileMode, r io.Reader) error {
	content, err := io.ReadAll(r)
	return errors.Join(d.fail, err, os.WriteFile(d.path(dst), content, 0o600), os.Chmod(d.path(dst), mode))
}

func (d dirTree) Download(_ context.Context, src string, w io.Writer) error {
	content, err := os.ReadFile(d.path(src))
	if err == nil {
		_, err = w.Write(content)
	}
	return errors.Join(d.fail, err)
}

func (d dirTree) UploadTar(ctx context.Context, dir string, r io.Reader) error {
	if d.fail != nil {
		return d.fail
	}
	cmd := exec.CommandContext(ctx, "tar", "-x", "-p", "-C", d.path(dir), "-f", "-")
	cmd.Stdin = r
	return errors.Join(os.MkdirAll(d.path(dir), 0o755), cmd.Run())
}

func (d dirTree) DownloadTar(ctx context.Context, dir string, w io.Writer) error {
	if d.fail != nil {
		return d.fail
	}
	cmd := exec.CommandContext(ctx, "tar", "-c", "-C", d.path(dir), "-f", "-", ".")
	cmd.Stdout = w
	return cmd.Run()
}

func connect(t *testing.T) (*communicator, dirTree) {
	t.Helper()
	tree := dirTree{dir: t.TempDir()}
	c := newCommunicator(t.Context(), tree)
	t.Cleanup(c.close)
	return c, tree
}

func write(t *testing.T, name, content string, mode fs.FileMode) {
	t.Helper()
	if err := errors.Join(os.MkdirAll(filepath.Dir(name), 0o755), os.WriteFile(name, []byte(content), 0o600), os.Chmod(name, mode)); err != nil {
		t.Fatal(err)
	}
}

func read(t *testing.T, name string) string {
	t.Helper()
	content, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	return string(content)
}

func mode(t *testing.T, name string) fs.FileMode {
	t.Helper()
	info, err := os.Lstat(name)
	if err != nil {
		t.Fatal(err)
	}
	return info.Mode().Perm()
}

func TestStartStreamsAndTellsTheStatus(t *testing.T) {
	c, _ := connect(t)
	tests := []struct {
		command, stdin, stdout, stderr string
		status                         int
	}{
		{command: "true"},
		{command: "exit 7", status: 7},
		{command: "cat; echo to-stderr >&2", stdin: "through\n", stdout: "through\n", stderr: "to-stderr\n"},
		{command: `echo "$HOME is not '$(printf %s expanded)' twice"`, stdout: os.Getenv("HOME") + " is not 'expanded' twice\n"},
		{command: "kill -TERM $$", status: 143},
		{command: "no-such-program-anywhere 2>/dev/null", status: 127},
	}
	for _, tt := range tests {
		var stdout, stderr bytes.Buffer
		cmd := &packersdk.RemoteCmd{Command: tt.command, Stdin: strings.NewReader(tt.stdin), Stdout: &stdout, Stderr: &stderr}
		if err := c.Start(t.Context(), cmd); err != nil {
			t.Fatalf("%s: %v", tt.command, err)
		}
		if status := cmd.Wait(); status != tt.status || stdout.String() != tt.stdout || stderr.String() != tt.stderr {
			t.Errorf("%s: status %d, stdout %q, stderr %q", tt.command, status, stdout.String(), stderr.String())
		}
	}
}

func TestStartDoesNotWait(t *testing.T) {
	c, _ := connect(t)
	reader, writer := io.Pipe()
	var group sync.WaitGroup
	first := &packersdk.RemoteCmd{Command: "read line; echo got $line", Stdin: reader, Stdout: &bytes.Buffer{}}
	if err := c.Start(t.Context(), first); err != nil {
		t.Fatal(err)
	}
	group.Go(func() { first.Wait() })
	second := &packersdk.RemoteCmd{Command: "true"} // runs while the first one waits
	if err := c.Start(t.Context(), second); err != nil {
		t.Fatal(err)
	}
	if status := second.Wait(); status != 0 {
		t.Errorf("second command: status %d", status)
	}
	io.WriteString(writer, "it\n")
	writer.Close()
	group.Wait()
	if got := first.Stdout.(*bytes.Buffer).String(); got != "got it\n" {
		t.Errorf("first command said %q", got)
	}
}

func TestCancelledCommandIsKilled(t *testing.T) {
	c, tree := connect(t)
	ctx, cancel := context.WithCancel(t.Context())
	cmd := &packersdk.RemoteCmd{Command: "sleep 60 & echo $! >pid; wait"}
	if err := c.Start(ctx, cmd); err != nil {
		t.Fatal(err)
	}
	for tries := 0; ; tries++ {
		if text, err := os.ReadFile(tree.path("pid")); err == nil && len(text) > 1 {
			break
		}
		if tries == 500 {
			t.Fatal("the command does not start")
		}
		time.Sleep(10 * time.Millisecond)
	}
	cancel()
	if status := cmd.Wait(); status != 137 {
		t.Errorf("status %d, want that of a killed command", status)
	}
	pid := strings.TrimSpace(read(t, tree.path("pid")))
	// The signal has been sent to the whole group; a busy machine may take a moment to deliver it to each.
	for tries := 0; ; tries++ {
		state, err := os.ReadFile("/proc/" + pid + "/stat")
		if err != nil || strings.Contains(string(state), ") Z ") {
			break
		}
		if tries == 500 {
			t.Fatalf("the child still runs: %s", state)
		}
		time.Sleep(10 * time.Millisecond)
	}
}

func TestCloseEndsCommandsAndRefusesMore(t *testing.T) {
	c, _ := connect(t)
	cmd := &packersdk.RemoteCmd{Command: "sleep 60"}
	if err := c.Start(t.Context(), cmd); err != nil {
		t.Fatal(err)
	}
	started := time.Now()
	c.close()
	if took := time.Since(started); took > 10*time.Second {
		t.Errorf("close took %s", took)
	}
	if status := cmd.Wait(); status != 137 {
		t.Errorf("status %d, want that of a killed command", status)
	}
	if err := c.Start(t.Context(), &packersdk.RemoteCmd{Command: "true"}); !errors.Is(err, errProvisioned) {
		t.Errorf("Start after close: %v", err)
	}
	if err := c.Upload("/f", strings.NewReader(""), nil); !errors.Is(err, errProvisioned) {
		t.Errorf("Upload after close: %v", err)
	}
	c.close() // a second time is harmless
}

func TestUploadKeepsTheMode(t *testing.T) {
	c, tree := connect(t)
	source := filepath.Join(t.TempDir(), "secret")
	write(t, source, "content", 0o640)
	info, err := os.Stat(source)
	if err != nil {
		t.Fatal(err)
	}
	if err := c.Upload("/with-info", strings.NewReader("a"), &info); err != nil {
		t.Fatal(err)
	}
	if err := c.Upload("/without-info", strings.NewReader("b"), nil); err != nil {
		t.Fatal(err)
	}
	if got := mode(t, tree.path("with-info")); got != 0o640 {
		t.Errorf("mode %o, want 640", got)
	}
	if got := mode(t, tree.path("without-info")); got != 0o644 {
		t.Errorf("mode %o, want 644", got)
	}
}

func TestUploadDir(t *testing.T) {
	src := t.TempDir()
	write(t, filepath.Join(src, "bin/tool"), "#!/bin/sh", 0o755)
	write(t, filepath.Join(src, "secret"), "s", 0o600)
	write(t, filepath.Join(src, ".git/HEAD"), "ref", 0o644)
	write(t, filepath.Join(src, "bin/.tool.swp"), "x", 0o644)
	write(t, filepath.Join(src, "docs/draft/one"), "x", 0o644)
	if err := os.Symlink("/etc/target", filepath.Join(src, "link")); err != nil {
		t.Fatal(err)
	}
	exclude := []string{".git", "*.swp", "docs/draft"}
	for name, tt := range map[string]struct{ src, below string }{
		"contents":  {src + "/", "opt"},
		"directory": {src, "opt/" + filepath.Base(src)},
	} {
		t.Run(name, func(t *testing.T) {
			c, tree := connect(t)
			if err := c.UploadDir("/opt", tt.src, exclude); err != nil {
				t.Fatal(err)
			}
			at := func(p string) string { return tree.path(filepath.Join(tt.below, p)) }
			if read(t, at("bin/tool")) != "#!/bin/sh" || mode(t, at("bin/tool")) != 0o755 || mode(t, at("secret")) != 0o600 {
				t.Error("files or modes differ")
			}
			if target, err := os.Readlink(at("link")); err != nil || target != "/etc/target" {
				t.Errorf("link to %q (%v)", target, err)
			}
			for _, p := range []string{".git", "bin/.tool.swp", "docs/draft"} {
				if _, err := os.Lstat(at(p)); !errors.Is(err, fs.ErrNotExist) {
					t.Errorf("%s is there although it is excluded", p)
				}
			}
			if _, err := os.Lstat(at("docs")); err != nil {
				t.Error("docs is missing: only docs/draft is excluded")
			}
		})
	}
}

func TestFailedTransfersTellTheCause(t *testing.T) {
	refusal := errors.New("no room in the tree")
	c := newCommunicator(t.Context(), dirTree{dir: t.TempDir(), fail: refusal})
	defer c.close()
	big := t.TempDir()
	write(t, filepath.Join(big, "big"), strings.Repeat("x", 1<<20), 0o644) // more than a pipe holds
	for name, err := range map[string]error{
		"UploadDir":   c.UploadDir("/opt", big, nil),
		"DownloadDir": c.DownloadDir("/etc/", t.TempDir(), nil),
		"Upload":      c.Upload("/f", strings.NewReader(""), nil),
		"Download":    c.Download("/f", io.Discard),
	} {
		if !errors.Is(err, refusal) {
			t.Errorf("%s: got %v, want the tree's refusal", name, err)
		}
	}
	ok, _ := connect(t)
	if err := ok.UploadDir("/opt", "/no/such/directory/", nil); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("missing source: %v", err)
	}
	special := t.TempDir()
	socket, err := net.Listen("unix", filepath.Join(special, "socket"))
	if err != nil {
		t.Fatal(err)
	}
	defer socket.Close()
	if err := ok.UploadDir("/opt", special, nil); err == nil || !strings.Contains(err.Error(), socket.Addr().String()) {
		t.Errorf("a socket in the source: %v", err)
	}
	if err := ok.DownloadDir("/missing/", t.TempDir(), nil); err == nil {
		t.Error("a directory that does not exist is downloaded")
	}
}

func TestDownload(t *testing.T) {
	c, tree := connect(t)
	write(t, tree.path("etc/os-release"), "ID=debian\n", 0o644)
	var got bytes.Buffer
	if err := c.Download("/etc/os-release", &got); err != nil || got.String() != "ID=debian\n" {
		t.Errorf("got %q, %v", got.String(), err)
	}
	if err := c.Download("/etc/missing", io.Discard); err == nil || !strings.Contains(err.Error(), "/etc/missing") {
		t.Errorf("missing file: %v", err)
	}
}

func TestDownloadDir(t *testing.T) {
	c, tree := connect(t)
	write(t, tree.path("etc/app/a.conf"), "a", 0o640)
	write(t, tree.path("etc/app/b.conf"), "b", 0o644)
	write(t, tree.path("etc/app/sub/c.conf"), "c", 0o644)
	write(t, tree.path("etc/app/notes.txt"), "n", 0o644)
	tests := map[string]struct {
		src     string
		exclude []string
		want    []string
	}{
		"contents":  {"/etc/app/", nil, []string{"a.conf", "b.conf", "notes.txt", "sub", "sub/c.conf"}},
		"directory": {"/etc/app", nil, []string{"app", "app/a.conf", "app/b.conf", "app/notes.txt", "app/sub", "app/sub/c.conf"}},
		"pattern":   {"/etc/app/*.conf", nil, []string{"a.conf", "b.conf"}},
		"excluded":  {"/etc/app/", []string{"sub", "notes.*"}, []string{"a.conf", "b.conf"}},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			dst := t.TempDir()
			if err := c.DownloadDir(tt.src, dst, tt.exclude); err != nil {
				t.Fatal(err)
			}
			var got []string
			filepath.WalkDir(dst, func(p string, _ fs.DirEntry, _ error) error {
				if rel, _ := filepath.Rel(dst, p); rel != "." {
					got = append(got, rel)
				}
				return nil
			})
			if strings.Join(got, " ") != strings.Join(tt.want, " ") {
				t.Errorf("got %q, want %q", got, tt.want)
			}
			if name == "contents" && mode(t, filepath.Join(dst, "a.conf")) != 0o640 {
				t.Error("the mode is lost")
			}
		})
	}
	if err := c.DownloadDir("/etc/app/*.yaml", t.TempDir(), nil); err == nil || !strings.Contains(err.Error(), "nothing matches") {
		t.Errorf("no match: %v", err)
	}
}

// An archive of the tree is not trusted: it may not write outside the destination.
func TestUnpackStaysInside(t *testing.T) {
	for name, entries := range map[string][]tar.Header{
		"parent":       {{Typeflag: tar.TypeReg, Name: "../escaped", Mode: 0o644}},
		"link":         {{Typeflag: tar.TypeSymlink, Name: "out", Linkname: ".."}, {Typeflag: tar.TypeReg, Name: "out/escaped", Mode: 0o644}},
		"absolute":     {{Typeflag: tar.TypeSymlink, Name: "out", Linkname: "/"}, {Typeflag: tar.TypeReg, Name: "out/escaped", Mode: 0o644}},
		"hard link":    {{Typeflag: tar.TypeLink, Name: "copy", Linkname: "../outside", Mode: 0o644}},
		"device":       {{Typeflag: tar.TypeChar, Name: "null", Mode: 0o666}},
		"through dirs": {{Typeflag: tar.TypeDir, Name: "a/../../escaped", Mode: 0o755}},
	} {
		t.Run(name, func(t *testing.T) {
			above := t.TempDir()
			write(t, filepath.Join(above, "outside"), "kept", 0o600)
			dst := filepath.Join(above, "dst")
			var archive bytes.Buffer
			w := tar.NewWriter(&archive)
			for _, h := range entries {
				if err := w.WriteHeader(&h); err != nil {
					t.Fatal(err)
				}
			}
			w.Close()
			if err := unpackDir(tar.NewReader(&archive), dst, "*", nil); err == nil {
				t.Error("no error")
			}
			if _, err := os.Lstat(filepath.Join(above, "escaped")); !errors.Is(err, fs.ErrNotExist) {
				t.Error("a file escaped")
			}
			if read(t, filepath.Join(above, "outside")) != "kept" {
				t.Error("a file outside changed")
			}
		})
	}
}
