package squashfs_test

import (
	"bytes"
	"crypto/rand"
	"io"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"testing/fstest"

	"github.com/strongroom/strongroom/internal/inspect/squashfs"
)

// pack makes a file system with all that a tree may have: large, small and empty files, holes, links, set-id bits.
func pack(t testing.TB, compression string) ([]byte, map[string][]byte) {
	t.Helper()
	dir := t.TempDir()
	random := make([]byte, 300<<10)
	rand.Read(random)
	files := map[string][]byte{
		"usr/bin/random": random, "usr/bin/text": []byte(strings.Repeat("text ", 100000)), "etc/small": []byte("small"), "etc/empty": nil,
		"usr/holes": append(make([]byte, 256<<10), 'x'), "usr/hole": make([]byte, 200<<10),
	}
	for name, content := range files {
		name = filepath.Join(dir, "tree", name)
		if err := os.MkdirAll(filepath.Dir(name), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(name, content, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.Chmod(filepath.Join(dir, "tree/usr/bin/text"), 0o755|fs.ModeSetuid); err != nil {
		t.Fatal(err)
	}
	for link, target := range map[string]string{"bin": "usr/bin", "etc/absolute": "/etc/small", "etc/out": "../../../etc/small", "loop": "loop"} {
		if err := os.Symlink(target, filepath.Join(dir, "tree", link)); err != nil {
			t.Fatal(err)
		}
	}
	out := filepath.Join(dir, "out")
	argv := []string{"mksquashfs", filepath.Join(dir, "tree"), out, "-noappend", "-no-progress", "-quiet", "-all-root", "-comp", compression, "-b", "64K"}
	if text, err := exec.Command(argv[0], argv[1:]...).CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, text)
	}
	b, err := os.ReadFile(out)
	if err != nil {
		t.Fatal(err)
	}
	return b, files
}

func TestRead(t *testing.T) {
	for _, compression := range []string{"zstd", "gzip"} {
		t.Run(compression, func(t *testing.T) {
			b, files := pack(t, compression)
			f, err := squashfs.Read(bytes.NewReader(b), int64(len(b)))
			if err != nil {
				t.Fatal(err)
			}
			defer f.Close()
			for name, want := range files {
				got, err := fs.ReadFile(f, name)
				if err != nil || !bytes.Equal(got, want) {
					t.Errorf("%s: %d bytes instead of %d, %v", name, len(got), len(want), err)
				}
			}
			for name, want := range map[string]string{"etc/absolute": "small", "etc/out": "small"} {
				if got, err := fs.ReadFile(f, name); err != nil || string(got) != want {
					t.Errorf("%s: %q, %v", name, got, err)
				}
			}
			if _, err := f.Open("loop"); err == nil || !strings.Contains(err.Error(), "too many levels") {
				t.Errorf("a loop: %v", err)
			}
			n, err := f.Follow("bin/text")
			if err != nil || n.Mode != 0o755|fs.ModeSetuid || n.UID != 0 {
				t.Errorf("%+v, %v", n, err)
			}
			if _, err := f.Follow("usr/bin/none"); !os.IsNotExist(err) {
				t.Errorf("what is not there: %v", err)
			}
			if owners := f.Owners(f.Place(n), f.Place(n)+1); len(owners) == 0 {
				t.Error("nobody owns the first byte of a file")
			}
		})
	}
}

// Go's own test of file systems, on a tree without the loop that it would follow.
func TestFS(t *testing.T) {
	b, files := pack(t, "zstd")
	f, err := squashfs.Read(bytes.NewReader(b), int64(len(b)))
	if err != nil {
		t.Fatal(err)
	}
	sub, err := fs.Sub(f, "usr")
	if err != nil {
		t.Fatal(err)
	}
	var want []string
	for name := range files {
		if name, ok := strings.CutPrefix(name, "usr/"); ok {
			want = append(want, name)
		}
	}
	if err := fstest.TestFS(sub, want...); err != nil {
		t.Error(err)
	}
}

func FuzzRead(f *testing.F) {
	b, _ := pack(f, "gzip")
	f.Add(b[:4096])
	dir := f.TempDir()
	if err := os.WriteFile(filepath.Join(dir, "a"), []byte("a"), 0o644); err != nil {
		f.Fatal(err)
	}
	for _, compression := range []string{"zstd", "gzip"} {
		out := filepath.Join(f.TempDir(), "out")
		if text, err := exec.Command("mksquashfs", dir, out, "-quiet", "-no-progress", "-nopad", "-noI", "-noId", "-comp", compression).CombinedOutput(); err != nil {
			f.Fatalf("%v: %s", err, text)
		}
		small, err := os.ReadFile(out)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(small)
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		f, err := squashfs.Read(bytes.NewReader(b), int64(len(b)))
		if err != nil {
			return
		}
		defer f.Close()
		for _, n := range f.Nodes {
			if n.Mode.IsRegular() && n.Size < 1<<20 {
				io.Copy(io.Discard, f.Reader(n)) // an error is an answer
			}
			f.Place(n)
		}
		f.Owners(0, int64(len(b)))
	})
}
