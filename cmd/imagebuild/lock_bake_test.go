//go:build bake

package main

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/strongroom/strongroom/internal/lock"
)

// TestLock writes a lock from the real archive, lets it fall behind, and brings it up to date.
func TestLock(t *testing.T) {
	t.Setenv("SOURCE_DATE_EPOCH", "")
	path := filepath.Join(t.TempDir(), lock.Name)
	args := func(more ...string) []string { return append(append([]string{"lock"}, more...), path) }
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	if code, out, errs := cli(args("--update", "--packages", "tcpdump", "--program", "/usr/bin/vault="+self)...); code != 0 {
		t.Fatalf("%d: %s%s", code, out, errs)
	}
	written, err := lock.Read(path)
	if err != nil {
		t.Fatal(err)
	}
	if _, has := written.Find("libpcap0.8t64"); !has || len(written.Programs) != 1 || written.Programs[0].Path != "/usr/bin/vault" {
		t.Errorf("the lock lacks what tcpdump depends on, or the program: %v", written.Programs)
	}

	old := written
	old.Packages = slices.Clone(written.Packages)
	i := slices.IndexFunc(old.Packages, func(p lock.Package) bool { return p.Name == "acpid" })
	old.Packages[i].Version = "1:2.0.1-1"
	old.Epoch--
	if err := old.Write(path); err != nil {
		t.Fatal(err)
	}
	want := "upgraded   acpid 1:2.0.1-1 -> " + written.Packages[i].Version + "\n" + path + ": 1 upgraded\n"
	if code, out, errs := cli(args("--check")...); code != 1 || out != want || !strings.Contains(errs, "hint: imagebuild lock --update "+path) {
		t.Errorf("--check: %d\n%s%s", code, out, errs)
	}
	if code, out, errs := cli(args("--update")...); code != 0 || out != want {
		t.Errorf("--update: %d\n%s%s", code, out, errs)
	}
	updated, err := lock.Read(path)
	if err != nil {
		t.Fatal(err)
	}
	if updated.Epoch != old.Epoch || len(lock.Diff(written, updated)) != 1 { // the moment, and nothing else
		t.Errorf("the update changed more: %v", lock.Diff(written, updated))
	}
	if code, out, errs := cli(args("--check")...); code != 0 || out != path+": no changes\n" {
		t.Errorf("--check of an updated lock: %d\n%s%s", code, out, errs)
	}
}
