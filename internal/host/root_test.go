package host_test

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/strongroom/strongroom/internal/host"
	"github.com/strongroom/strongroom/internal/host/hosttest"
)

// hostileTree is one set of files, as a directory and in memory. Both must answer alike, or
// tests against the fake would prove nothing about the machine.
func hostileTree(t *testing.T) map[string]host.Host {
	t.Helper()
	dir := t.TempDir()
	outside := filepath.Join(t.TempDir(), "secret")
	must(t, os.WriteFile(outside, []byte("outside"), 0o600))
	fake := hosttest.New()
	file := func(p, content string) {
		must(t, os.MkdirAll(filepath.Join(dir, filepath.Dir(p)), 0o755))
		must(t, os.WriteFile(filepath.Join(dir, p), []byte(content), 0o644))
		fake.File(p, content)
	}
	link := func(p, target string) {
		must(t, os.MkdirAll(filepath.Join(dir, filepath.Dir(p)), 0o755))
		must(t, os.Symlink(target, filepath.Join(dir, p)))
		fake.Symlink(p, target)
	}
	file("/etc/passwd", "inside")
	file("/usr/lib/os-release", "ID=inside")
	link("/etc/os-release", "../usr/lib/os-release")
	link("/etc/absolute", "/etc/passwd")
	link("/etc/above", "../../../../../../etc/passwd")
	link("/lib", "usr/lib")
	link("/escape", outside)
	link("/loop", "/loop2")
	link("/loop2", "loop")
	link("/etc/self", "/etc/self/x")
	link("/dangling", "/nowhere")
	link("/dir", "/etc")
	link("/chain1", "/chain2/os-release")
	link("/chain2", "/lib")
	tree, err := host.Tree(dir)
	must(t, err)
	t.Cleanup(func() { must(t, tree.Close()) })
	return map[string]host.Host{"tree": tree, "fake": fake}
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func TestReadFileStaysInsideTheRoot(t *testing.T) {
	cases := []struct {
		path    string
		content string
		err     error
	}{
		{path: "/etc/passwd", content: "inside"},
		{path: "/etc/os-release", content: "ID=inside"},
		{path: "/etc/absolute", content: "inside"},
		{path: "/etc/above", content: "inside"},
		{path: "/../../etc/passwd", content: "inside"},
		{path: "/lib/os-release", content: "ID=inside"},
		{path: "/lib/../lib/os-release", content: "ID=inside"}, // usr/lib/.. is usr, which has lib
		{path: "/dir/absolute", content: "inside"},
		{path: "/chain1", content: "ID=inside"},
		{path: "/escape", err: fs.ErrNotExist},
		{path: "/dangling", err: fs.ErrNotExist},
		{path: "/no/such", err: fs.ErrNotExist},
		{path: "/loop", err: syscall.ELOOP},
		{path: "/etc/self", err: syscall.ELOOP},
		{path: "/etc/passwd/below", err: syscall.ENOTDIR},
		{path: "/etc", err: syscall.EISDIR},
		{path: "etc/passwd", err: fs.ErrInvalid},
		{path: "", err: fs.ErrInvalid},
	}
	for kind, h := range hostileTree(t) {
		for _, c := range cases {
			t.Run(kind+c.path, func(t *testing.T) {
				b, err := h.ReadFile(c.path)
				if !errors.Is(err, c.err) || string(b) != c.content {
					t.Fatalf("got %q, %v; want %q, %v", b, err, c.content, c.err)
				}
				if err != nil && !strings.Contains(err.Error(), c.path) {
					t.Errorf("error does not name the path: %v", err)
				}
			})
		}
	}
}

func TestLstatAndStat(t *testing.T) {
	for kind, h := range hostileTree(t) {
		t.Run(kind, func(t *testing.T) {
			info, err := h.Lstat("/etc/absolute")
			must(t, err)
			if info.Mode.Type() != fs.ModeSymlink || info.Target != "/etc/passwd" {
				t.Errorf("Lstat of a link: %+v", info)
			}
			info, err = h.Lstat("/dir/absolute")
			must(t, err)
			if info.Mode.Type() != fs.ModeSymlink {
				t.Errorf("Lstat through a linked directory: %+v", info)
			}
			info, err = h.Stat("/etc/absolute")
			must(t, err)
			if !info.Mode.IsRegular() || info.Mode.Perm() != 0o644 || info.Size != 6 || info.Target != "" {
				t.Errorf("Stat of a link: %+v", info)
			}
			if _, err := h.Lstat("/dangling"); err != nil {
				t.Errorf("Lstat of a dangling link: %v", err)
			}
			if _, err := h.Stat("/dangling"); !errors.Is(err, fs.ErrNotExist) {
				t.Errorf("Stat of a dangling link: %v", err)
			}
		})
	}
}

func TestReadDir(t *testing.T) {
	for kind, h := range hostileTree(t) {
		t.Run(kind, func(t *testing.T) {
			names, err := h.ReadDir("/dir")
			must(t, err)
			if got := strings.Join(names, " "); got != "above absolute os-release passwd self" {
				t.Errorf("got %q", got)
			}
			if _, err := h.ReadDir("/escape"); !errors.Is(err, fs.ErrNotExist) {
				t.Errorf("ReadDir outside: %v", err)
			}
			if _, err := h.ReadDir("/etc/passwd"); !errors.Is(err, syscall.ENOTDIR) {
				t.Errorf("ReadDir of a file: %v", err)
			}
		})
	}
}

func TestModesAndOwners(t *testing.T) {
	dir := t.TempDir()
	p := filepath.Join(dir, "f")
	must(t, os.WriteFile(p, nil, 0o600))
	must(t, os.Chmod(p, 0o711|fs.ModeSetuid|fs.ModeSetgid|fs.ModeSticky))
	must(t, syscall.Mkfifo(filepath.Join(dir, "pipe"), 0o600))
	tree, err := host.Tree(dir)
	must(t, err)
	defer tree.Close()
	info, err := tree.Lstat("/f")
	must(t, err)
	if want := 0o711 | fs.ModeSetuid | fs.ModeSetgid | fs.ModeSticky; info.Mode != want {
		t.Errorf("mode %v, want %v", info.Mode, want)
	}
	if int(info.UID) != os.Getuid() || int(info.GID) != os.Getgid() {
		t.Errorf("owner %d:%d", info.UID, info.GID)
	}
	if _, err := tree.ReadFile("/pipe"); err == nil || !strings.Contains(err.Error(), "not a regular file") {
		t.Errorf("reading a FIFO: %v", err)
	}
}

func TestReadFileHasACap(t *testing.T) {
	dir := t.TempDir()
	must(t, os.WriteFile(filepath.Join(dir, "max"), make([]byte, host.MaxFile), 0o600))
	must(t, os.WriteFile(filepath.Join(dir, "over"), make([]byte, host.MaxFile+1), 0o600))
	tree, err := host.Tree(dir)
	must(t, err)
	defer tree.Close()
	if b, err := tree.ReadFile("/max"); err != nil || len(b) != host.MaxFile {
		t.Errorf("at the cap: %d bytes, %v", len(b), err)
	}
	if _, err := tree.ReadFile("/over"); !errors.Is(err, host.ErrTooLarge) {
		t.Errorf("over the cap: %v", err)
	}
}

func TestTreeDoesNotRun(t *testing.T) {
	tree, err := host.Tree(t.TempDir())
	must(t, err)
	defer tree.Close()
	ctx := t.Context()
	for name, ask := range map[string]func() error{
		"Swaps":           func() error { _, err := tree.Swaps(); return err },
		"Mounts":          func() error { _, err := tree.Mounts(); return err },
		"KernelArguments": func() error { _, err := tree.KernelArguments(); return err },
		"Modules":         func() error { _, err := tree.Modules(); return err },
		"Listeners":       func() error { _, err := tree.Listeners(); return err },
		"Process":         func() error { _, err := tree.Process(1); return err },
		"Unit":            func() error { _, err := tree.Unit(ctx, "x.service"); return err },
		"Units":           func() error { _, err := tree.Units(ctx); return err },
		"Ruleset":         func() error { _, err := tree.Ruleset(ctx); return err },
	} {
		if err := ask(); !errors.Is(err, host.ErrNotRunning) {
			t.Errorf("%s: %v", name, err)
		}
	}
}
