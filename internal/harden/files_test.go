package harden

import (
	"bytes"
	"log/slog"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/strongroom/strongroom/internal/overlay"
)

func tree(t *testing.T, fragments ...overlay.Fragment) *overlay.Tree {
	t.Helper()
	out := &overlay.Tree{}
	for _, f := range fragments {
		if err := out.Add("test", f); err != nil {
			t.Fatal(err)
		}
	}
	return out
}

// What would cut the session, or the way back after a failure, waits for the shutdown; what closes the gate does not.
func TestSplit(t *testing.T) {
	late := []string{
		"/etc/fstab", "/etc/hosts", "/etc/resolv.conf", "/etc/systemd/system/ssh.service", "/etc/systemd/system/sysinit.target.wants/nftables.service",
		"/usr/lib/systemd/system/local-fs.target.requires/tmp.mount",
	}
	now := []string{
		"/etc/nftables.conf", "/usr/lib/strongroom/baseline.json", "/usr/lib/systemd/system/boot-complete.target.requires/hostcheck-gate.service",
		"/usr/lib/systemd/system/multi-user.target.wants/vault.service", "/usr/lib/systemd/system/ssh.service.d/50-x.conf", "/usr/lib/systemd/system/vault.service",
	}
	var all []overlay.Fragment
	for _, p := range slices.Concat(late, now) {
		all = append(all, overlay.File(p, "x"))
	}
	gotNow, gotLate := split(tree(t, all...), []string{"vault"})
	for _, part := range []struct {
		name string
		want []string
		got  []overlay.Fragment
	}{{"now", now, gotNow}, {"late", late, gotLate}} {
		var paths []string
		for _, f := range part.got {
			paths = append(paths, f.Path)
		}
		if !slices.Equal(paths, part.want) {
			t.Errorf("%s: %q, want %q", part.name, paths, part.want)
		}
	}
}

// The scripts place files and tell of them, and the plugin understands what they tell: on this machine, below a directory.
func TestPlaceAndState(t *testing.T) {
	dir := t.TempDir()
	at := func(p string) string { return dir + "/" + p }
	uid, gid := os.Getuid(), os.Getgid()
	fragments := []overlay.Fragment{
		{Path: at(`usr/a\x2db file.conf`), Mode: 0o640, UID: uid, GID: gid, Content: []byte("one\n")},
		{Path: at("etc/link"), Mode: os.ModeSymlink | 0o777, Target: "../usr/nothing here"},
		{Path: at("var/closed"), Mode: os.ModeDir | 0o700, UID: uid, GID: gid},
		{Path: at("usr/empty"), Mode: 0o644, UID: uid, GID: gid},
	}
	set, err := newFileSet(fragments)
	if err != nil {
		t.Fatal(err)
	}
	want := map[string]entry{}
	for _, f := range fragments {
		e := entryOf(f)
		if e.kind == "l" {
			e.uid, e.gid = entryOf(fragments[0]).uid, entryOf(fragments[0]).gid
		}
		want[f.Path] = e
	}
	work := t.TempDir()
	write := func(name string, content []byte) {
		if err := os.WriteFile(filepath.Join(work, name), content, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	write("now.tar", set.archive)
	write("now.list", set.list)
	var managed, hashed string
	for p, e := range want {
		managed += p + "\x00"
		if e.kind == "f" {
			hashed += p + "\x00"
		}
	}
	write("managed.list", []byte(managed))
	write("hashed.list", []byte(hashed))
	run := func(name string, text []byte) *output {
		t.Helper()
		write(name, text)
		out := &output{log: slog.New(slog.DiscardHandler)}
		cmd := exec.Command("dash", filepath.Join(work, name))
		cmd.Stdout, cmd.Stderr = out, out
		if err := cmd.Run(); err != nil {
			t.Fatalf("%s: %v %q", name, err, out.last)
		}
		out.close()
		return out
	}
	lib := script("probe", maps.Clone(values))
	lib = lib[:bytes.Index(lib, []byte("# Looks whether"))]
	place := append(slices.Clone(lib), []byte(`place "$here/now.tar" "$here/now.list"`+"\n")...)

	none := maps.Clone(values)
	none["NEEDED"], none["PROFILES"], none["ACCOUNTS"], none["ARGUMENTS"] = "", "", "", ""
	state := func() map[string]entry {
		t.Helper()
		entries, err := readEntries(run("state.sh", script("state", none)).facts)
		if err != nil {
			t.Fatal(err)
		}
		return entries
	}
	if got := differing(want, state()); len(got) != len(want) {
		t.Errorf("before: only %q differ", got)
	}
	if got := run("place.sh", place).all("changed"); len(got) != len(fragments) {
		t.Errorf("changed %q", got)
	}
	got := state()
	if d := differing(want, got); len(d) > 0 {
		t.Errorf("after: %q differ: %v, want %v", d, got, want)
	}
	if digest(got) != digest(want) {
		t.Error("the digests differ")
	}
	// A second time over what is there, a file in use among it.
	before, err := os.Open(at("usr/empty"))
	if err != nil {
		t.Fatal(err)
	}
	defer before.Close()
	run("place.sh", place)
	if d := differing(want, state()); len(d) > 0 {
		t.Errorf("again: %q differ", d)
	}
	for what, break_ := range map[string]func() error{
		at("usr/empty"):  func() error { return os.WriteFile(at("usr/empty"), []byte("x"), 0o644) },
		at("var/closed"): func() error { return os.Chmod(at("var/closed"), 0o755) },
	} {
		if err := break_(); err != nil {
			t.Fatal(err)
		}
		if d := differing(want, state()); !slices.Contains(d, what) {
			t.Errorf("%s is broken, and only %q differ", what, d)
		}
	}
}

func FuzzReadEntries(f *testing.F) {
	f.Add("strongroom: entry=f 644 0 0 /a b\t\nstrongroom: sum=" + strings.Repeat("0", 64) + "  /a b\nstrongroom: state=complete\n")
	f.Add("strongroom: entry=l 777 0 0 /a\t../b\nstrongroom: state=complete\n")
	f.Add("strongroom: entry=\nstrongroom: sum=x\r\nnoise\nstrongroom: ")
	f.Fuzz(func(t *testing.T, text string) {
		out := &output{log: slog.New(slog.DiscardHandler)}
		if _, err := out.Write([]byte(text)); err == nil {
			out.close()
		}
		entries, err := readEntries(out.facts)
		if err != nil {
			return
		}
		digest(entries)
		for p, e := range entries {
			if !strings.HasPrefix(p, "/") || e.kind == "" && e.mode == "" && !strings.Contains(text, p) {
				t.Errorf("%q: %v", p, e)
			}
		}
	})
}
