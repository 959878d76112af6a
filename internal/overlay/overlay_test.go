package overlay_test

import (
	"archive/tar"
	"bytes"
	"errors"
	"io"
	"io/fs"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	"github.com/strongroom/strongroom/internal/overlay"
)

func tree(t *testing.T, fragments ...overlay.Fragment) *overlay.Tree {
	t.Helper()
	var tree overlay.Tree
	for _, f := range fragments {
		if err := tree.Add("some-control", f); err != nil {
			t.Fatal(err)
		}
	}
	return &tree
}

func TestConflictsNameBothOwners(t *testing.T) {
	shell := overlay.File("/etc/profile", "TMOUT=600\n")
	changed := func(edit func(*overlay.Fragment)) overlay.Fragment {
		f := shell
		edit(&f)
		return f
	}
	cases := map[string]struct{ first, second overlay.Fragment }{
		"other bytes":               {shell, overlay.File("/etc/profile", "TMOUT=0\n")},
		"other mode":                {shell, changed(func(f *overlay.Fragment) { f.Mode = 0o600 })},
		"other user":                {shell, changed(func(f *overlay.Fragment) { f.UID = 800 })},
		"other group":               {shell, changed(func(f *overlay.Fragment) { f.GID = 800 })},
		"other type":                {shell, overlay.Symlink("/etc/profile", "/dev/null")},
		"other target":              {overlay.Symlink("/etc/profile", "/dev/zero"), overlay.Symlink("/etc/profile", "/dev/null")},
		"a directory's other mode":  {overlay.Directory("/etc/x", 0o755), overlay.Directory("/etc/x", 0o700)},
		"a file as a directory":     {shell, overlay.File("/etc/profile/x.sh", "")},
		"a link as a directory":     {overlay.Symlink("/etc/x", "/run/x"), overlay.File("/etc/x/deep/below", "")},
		"a directory as a file":     {overlay.File("/etc/profile/x.sh", ""), shell},
		"a directory as a symlink":  {overlay.Directory("/etc/x/y", 0o755), overlay.Symlink("/etc/x", "/run/x")},
		"a stated directory a file": {overlay.Directory("/etc/profile", 0o755), shell},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			tree := &overlay.Tree{}
			if err := tree.Add("first-control", c.first); err != nil {
				t.Fatal(err)
			}
			err := tree.Add("second-control", c.second)
			if err == nil {
				t.Fatal("no conflict")
			}
			for _, want := range []string{"first-control", "second-control", c.second.Path} {
				if !strings.Contains(err.Error(), want) {
					t.Errorf("%q does not name %s", err, want)
				}
			}
			if fragments := tree.Fragments(); len(fragments) != 1 || tree.Owner(fragments[0].Path) != "first-control" {
				t.Errorf("the refused fragment changed the tree: %+v", fragments)
			}
		})
	}
}

func TestNeighboursDoNotConflict(t *testing.T) {
	got := tree(t, overlay.File("/etc/profile", ""), overlay.File("/etc/profile.d", ""), overlay.File("/etc/profile-old", ""),
		overlay.Directory("/etc", 0o755))
	if n := len(got.Fragments()); n != 4 {
		t.Errorf("%d fragments, want 4", n)
	}
}

func TestTwoControlsMayStateTheSame(t *testing.T) {
	got := &overlay.Tree{}
	for _, owner := range []string{"first-control", "second-control"} {
		if err := got.Add(owner, overlay.File("/etc/x", "same")); err != nil {
			t.Error(err)
		}
	}
	if len(got.Fragments()) != 1 || got.Owner("/etc/x") != "first-control" || got.Owner("/etc/y") != "" {
		t.Errorf("fragments %+v, owner %q", got.Fragments(), got.Owner("/etc/x"))
	}
}

func TestOnlyAbsoluteCleanPaths(t *testing.T) {
	for _, p := range []string{"", "/", "etc/x", "/etc/../x", "/etc//x", "/etc/x/", "./x"} {
		if err := new(overlay.Tree).Add("some-control", overlay.File(p, "")); err == nil || !strings.Contains(err.Error(), "some-control") {
			t.Errorf("%q: error %v", p, err)
		}
	}
}

// various has every type, a deep path, and names whose order a sort of the wrong key gets wrong.
func various() []overlay.Fragment {
	sticky := overlay.Directory("/var/tmp", fs.ModeSticky|0o777)
	shared := overlay.Directory("/var/log/shared", fs.ModeSetgid|0o750)
	shared.GID = 800
	secret := overlay.File("/etc/secret", "s")
	secret.Mode, secret.UID, secret.GID = 0o640, 1, 42
	return []overlay.Fragment{
		overlay.File("/usr/lib/a/b/c/deep.conf", "deep\n"), overlay.File("/usr/lib/a-b", "x"), overlay.File("/usr/lib/a.conf", ""),
		overlay.Symlink("/etc/localtime", "/usr/share/zoneinfo/UTC"), overlay.Directory("/usr/lib/a", 0o700), sticky, shared, secret,
		overlay.File("/usr/share/"+strings.Repeat("long/", 60)+"name", "past the limits of ustar"),
	}
}

func TestTarIsTheSameInAnyOrder(t *testing.T) {
	want, err := tree(t, various()...).Tar()
	if err != nil {
		t.Fatal(err)
	}
	wantDigest, err := tree(t, various()...).Digest()
	if err != nil {
		t.Fatal(err)
	}
	random := rand.New(rand.NewPCG(1, 2))
	for range 20 {
		shuffled := various()
		random.Shuffle(len(shuffled), func(i, j int) { shuffled[i], shuffled[j] = shuffled[j], shuffled[i] })
		got, err := tree(t, shuffled...).Tar()
		if err != nil {
			t.Fatal(err)
		}
		if !bytes.Equal(got, want) {
			t.Fatalf("the order of insertion shows in the tar: %v", shuffled)
		}
		if digest, _ := tree(t, shuffled...).Digest(); digest != wantDigest {
			t.Fatalf("digest %s, want %s", digest, wantDigest)
		}
	}
}

func TestDigestSeesEveryField(t *testing.T) {
	seen := map[string]string{}
	for name, edit := range map[string]func(*overlay.Fragment){
		"nothing": func(*overlay.Fragment) {},
		"content": func(f *overlay.Fragment) { f.Content = []byte("y") },
		"mode":    func(f *overlay.Fragment) { f.Mode = 0o600 },
		"user":    func(f *overlay.Fragment) { f.UID = 1 },
		"group":   func(f *overlay.Fragment) { f.GID = 1 },
		"path":    func(f *overlay.Fragment) { f.Path = "/etc/y" },
		"link":    func(f *overlay.Fragment) { *f = overlay.Symlink(f.Path, "x") },
		"target":  func(f *overlay.Fragment) { *f = overlay.Symlink(f.Path, "y") },
	} {
		f := overlay.File("/etc/x", "x")
		edit(&f)
		digest, err := tree(t, f).Digest()
		if err != nil {
			t.Fatal(err)
		}
		if other, ok := seen[digest]; ok {
			t.Errorf("%s and %s have one digest", name, other)
		}
		seen[digest] = name
	}
}

func TestTarEntries(t *testing.T) {
	raw, err := tree(t, various()...).Tar()
	if err != nil {
		t.Fatal(err)
	}
	type entry struct {
		tar.Header
		content string
	}
	entries := map[string]entry{}
	var names []string
	for r := tar.NewReader(bytes.NewReader(raw)); ; {
		h, err := r.Next()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			t.Fatal(err)
		}
		content, err := io.ReadAll(r)
		if err != nil {
			t.Fatal(err)
		}
		name := strings.TrimSuffix(h.Name, "/")
		if _, twice := entries[name]; twice {
			t.Errorf("%s is there twice", name)
		}
		if h.ModTime.Unix() != 1 || h.Uname != "" || h.Gname != "" || strings.HasPrefix(h.Name, "/") {
			t.Errorf("%s: time %v, owner %q:%q", h.Name, h.ModTime, h.Uname, h.Gname)
		}
		for i := range name {
			if parent := name[:i]; name[i] == '/' && entries[parent].Typeflag != tar.TypeDir {
				t.Errorf("%s comes before its directory %s", name, parent)
			}
		}
		names = append(names, name)
		entries[name] = entry{*h, string(content)}
	}
	if !slices.IsSorted(names) {
		t.Errorf("not sorted: %q", names)
	}

	for name, want := range map[string]struct {
		kind     byte
		mode     int64
		uid, gid int
		content  string
		target   string
	}{
		"usr":                     {kind: tar.TypeDir, mode: 0o755},
		"usr/lib/a":               {kind: tar.TypeDir, mode: 0o700}, // as stated, not as made up for a.conf
		"usr/lib/a/b":             {kind: tar.TypeDir, mode: 0o755},
		"var/tmp":                 {kind: tar.TypeDir, mode: 0o1777},
		"var/log/shared":          {kind: tar.TypeDir, mode: 0o2750, gid: 800},
		"etc/secret":              {kind: tar.TypeReg, mode: 0o640, uid: 1, gid: 42, content: "s"},
		"etc/localtime":           {kind: tar.TypeSymlink, mode: 0o777, target: "/usr/share/zoneinfo/UTC"},
		"usr/lib/a/b/c/deep.conf": {kind: tar.TypeReg, mode: 0o644, content: "deep\n"},
		"usr/share/" + strings.Repeat("long/", 60) + "name": {kind: tar.TypeReg, mode: 0o644, content: "past the limits of ustar"},
	} {
		e, ok := entries[name]
		if !ok {
			t.Errorf("no entry %s", name)
			continue
		}
		if e.Typeflag != want.kind || e.Mode != want.mode || e.Uid != want.uid || e.Gid != want.gid || e.content != want.content || e.Linkname != want.target {
			t.Errorf("%s: type %c mode %o owner %d:%d content %q target %q, want %+v", name, e.Typeflag, e.Mode, e.Uid, e.Gid, e.content, e.Linkname, want)
		}
	}
}

// full is a disk that has no room after some bytes.
type full struct{ room int }

func (f *full) Write(b []byte) (int, error) {
	if f.room -= len(b); f.room < 0 {
		return 0, errors.New("no space left on device")
	}
	return len(b), nil
}

func TestTarReportsAFullDisk(t *testing.T) {
	raw, err := tree(t, various()...).Tar()
	if err != nil {
		t.Fatal(err)
	}
	for _, room := range []int{0, 512, len(raw) / 2, len(raw) - 1} {
		if err := tree(t, various()...).WriteTar(&full{room}); err == nil {
			t.Errorf("no error with room for %d of %d bytes", room, len(raw))
		}
	}
}
