package systemd_test

import (
	"io/fs"
	"maps"
	"os"
	"os/exec"
	"path"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/strongroom/strongroom/internal/check/checktest"
	"github.com/strongroom/strongroom/internal/control"
	"github.com/strongroom/strongroom/internal/overlay"
)

// distributionUnits are those of the machine that runs the test: the units that ours order
// themselves by, and whose drop-ins we bring.
const distributionUnits = "/usr/lib/systemd/system"

// root is a tree with the real catalogue's overlay, Debian's accounts and stubs for the programs.
type root struct {
	dir       string
	fragments []overlay.Fragment
}

func newRoot(t *testing.T, memoryLock string) root {
	p := checktest.Profile()
	p.Parameters = map[string]string{"memory_lock": memoryLock}
	return newRootOf(t, p)
}

func newRootOf(t *testing.T, p control.Profile) root {
	t.Helper()
	tree, err := checktest.Compile(t, p).Overlay()
	if err != nil {
		t.Fatal(err)
	}
	r := root{dir: t.TempDir(), fragments: tree.Fragments()}
	for _, link := range []string{"bin", "sbin", "lib"} {
		r.symlink(t, "/"+link, "usr/"+link)
	}
	for _, program := range []string{checktest.Product(t, p).Binary, "/usr/bin/hostcheck", "/usr/lib/systemd/systemd-networkd-wait-online", "/usr/lib/systemd/systemd-sysctl",
		"/usr/lib/systemd/systemd-journald", "/usr/lib/systemd/systemd-udevd", "/usr/bin/udevadm", "/usr/bin/systemd-repart", "/usr/sbin/wipefs",
		"/usr/bin/systemd-cryptsetup", "/usr/bin/systemd-tmpfiles", "/usr/sbin/logrotate", "/usr/lib/systemd/systemd-journal-upload"} {
		r.write(t, program, "#!/bin/sh\n", 0o755)
	}
	// base-passwd's own, before anything was installed.
	r.write(t, "/etc/passwd", "root:x:0:0:root:/root:/bin/bash\nwww-data:*:33:33:www-data:/var/www:/usr/sbin/nologin\nnobody:*:65534:65534:nobody:/nonexistent:/usr/sbin/nologin\n", 0o644)
	r.write(t, "/etc/group", "root:x:0:\nshadow:*:42:\nwww-data:*:33:\nnogroup:*:65534:\n", 0o644)
	for _, f := range r.fragments {
		switch {
		case f.Mode.IsDir():
			r.mkdir(t, f.Path)
		case f.Mode&fs.ModeSymlink != 0:
			r.symlink(t, f.Path, f.Target)
		default:
			r.write(t, f.Path, string(f.Content), f.Mode)
		}
	}
	return r
}

// addDistribution puts the distribution's units beside ours, and a stub where this machine lacks one
// that we bring a drop-in for.
func (r root) addDistribution(t *testing.T) {
	t.Helper()
	err := filepath.WalkDir(distributionUnits, func(p string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		if _, err := os.Lstat(r.at(p)); err == nil {
			return nil // ours wins
		}
		if d.Type()&fs.ModeSymlink != 0 {
			target, err := os.Readlink(p)
			r.symlink(t, p, target)
			return err
		}
		content, err := os.ReadFile(p)
		r.write(t, p, string(content), 0o644)
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range r.units() {
		p := path.Join(distributionUnits, name)
		if _, err := os.Lstat(r.at(p)); err != nil {
			r.write(t, p, "[Service]\nExecStart=/usr/bin/hostcheck\n", 0o644)
		}
	}
}

func (r root) at(p string) string { return filepath.Join(r.dir, p) }

func (r root) mkdir(t *testing.T, p string) {
	t.Helper()
	if err := os.MkdirAll(r.at(p), 0o755); err != nil {
		t.Fatal(err)
	}
}

func (r root) write(t *testing.T, p, content string, mode fs.FileMode) {
	t.Helper()
	r.mkdir(t, path.Dir(p))
	if err := os.WriteFile(r.at(p), []byte(content), mode); err != nil {
		t.Fatal(err)
	}
}

func (r root) symlink(t *testing.T, p, target string) {
	t.Helper()
	r.mkdir(t, path.Dir(p))
	if err := os.Symlink(target, r.at(p)); err != nil {
		t.Fatal(err)
	}
}

// units are the units of the overlay that are files, and those that have drop-ins of ours.
func (r root) units() []string {
	found := map[string]bool{}
	for _, f := range r.fragments {
		rest, ok := strings.CutPrefix(f.Path, distributionUnits+"/")
		if !ok || !f.Mode.IsRegular() {
			continue
		}
		name, _, _ := strings.Cut(rest, "/")
		if strings.Contains(name, "-.") {
			continue // drop-ins for all units whose names begin so: none of them has to be there
		}
		found[strings.TrimSuffix(name, ".d")] = true
	}
	return slices.Sorted(maps.Keys(found))
}

// run calls one of systemd's own tools and gives everything it said.
func run(t *testing.T, name string, args ...string) (stdout, stderr string, err error) {
	t.Helper()
	if _, err := exec.LookPath(name); err != nil {
		t.Fatalf("%s is not installed; run `make deps`", name)
	}
	var out, problems strings.Builder
	cmd := exec.Command(name, args...)
	cmd.Stdout, cmd.Stderr = &out, &problems
	err = cmd.Run()
	return out.String(), problems.String(), err
}
