package hardening_test

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/strongroom/strongroom/internal/baseline"
	"github.com/strongroom/strongroom/internal/check/checktest"
	"github.com/strongroom/strongroom/internal/distribution"
)

// update-grub sources the drop-in as a part of a shell script that ends at the first failure. What it makes of the arguments
// that a machine came with is what the gate of the next start sees.
func TestBootArgumentsAreJoined(t *testing.T) {
	p := checktest.Profile()
	p.Layout = distribution.Installed
	tree, err := checktest.Compile(t, p).Overlay()
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	dropIn, stated := "", map[string]bool{}
	for _, f := range tree.Fragments() {
		switch {
		case filepath.Dir(f.Path) == "/usr/lib/strongroom/cmdline.d":
			if err := os.WriteFile(filepath.Join(dir, filepath.Base(f.Path)), f.Content, 0o600); err != nil {
				t.Fatal(err)
			}
			stated[strings.TrimSpace(string(f.Content))] = true
		case strings.HasPrefix(f.Path, "/etc/default/grub.d/"):
			dropIn = strings.ReplaceAll(string(f.Content), "/usr/lib/strongroom/cmdline.d", dir)
		}
	}
	if dropIn == "" || len(stated) < 10 {
		t.Fatalf("drop-in %q, arguments %v", dropIn, stated)
	}
	script := `set -e
GRUB_CMDLINE_LINUX="net.ifnames=0 slab_nomergex lockdown=none"
GRUB_CMDLINE_LINUX_DEFAULT="quiet console=tty0 slab_nomerge apparmor=0 panic=-1 root_delay=3"
GRUB_TIMEOUT=5
` + dropIn + `
echo "$GRUB_CMDLINE_LINUX $GRUB_CMDLINE_LINUX_DEFAULT timeout=$GRUB_TIMEOUT"`
	for _, shell := range []string{"sh", "bash"} {
		out, err := exec.Command(shell, "-c", script).CombinedOutput()
		if err != nil {
			t.Fatalf("%s: %v\n%s", shell, err, out)
		}
		got := map[string]bool{}
		for _, w := range strings.Fields(string(out)) {
			got[w] = true
		}
		for w := range stated {
			if !got[w] {
				t.Errorf("%s: %s is not passed: %s", shell, w, out)
			}
			delete(got, w)
		}
		want := "net.ifnames=0 slab_nomergex quiet root_delay=3 timeout=0"
		for _, w := range strings.Fields(want) {
			if !got[w] {
				t.Errorf("%s: %s is lost: %s", shell, w, out)
			}
			delete(got, w)
		}
		if len(got) > 0 {
			t.Errorf("%s: passes %v too", shell, got)
		}
	}
}

// A distribution whose boot loader reads a drop-in has it in its overlay, and no other has one.
func TestBootFilesAreRendered(t *testing.T) {
	for _, id := range baseline.Distributions(distribution.Installed) {
		d, err := distribution.Find(distribution.Installed, id)
		if err != nil {
			t.Fatal(err)
		}
		p := checktest.Profile()
		p.Layout, p.Distribution = distribution.Installed, id
		tree, err := checktest.Compile(t, p).Overlay()
		if err != nil {
			t.Fatal(err)
		}
		found := ""
		for _, f := range tree.Fragments() {
			if strings.HasPrefix(f.Path, "/etc/default/") || strings.HasPrefix(f.Path, "/etc/kernel/") {
				found += f.Path
			}
			if strings.HasPrefix(f.Path, "/usr/lib/repart.d/") {
				t.Errorf("%s: %s would divide a disk that is not ours", id, f.Path)
			}
		}
		if found != d.Boot.DropIn {
			t.Errorf("%s: overlay has %q, want %q", id, found, d.Boot.DropIn)
		}
	}
}
