package fat_test

import (
	"bytes"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"testing"

	"github.com/strongroom/strongroom/internal/inspect/fat"
)

func zeros(b []byte) fat.NonZero {
	return func(start, end int64) (int64, bool, error) {
		for i := start; i < min(end, int64(len(b))); i++ {
			if b[i] != 0 {
				return i, true, nil
			}
		}
		return 0, false, nil
	}
}

// small makes a FAT12 of 40 KiB, the least that mkfs makes, with a file of a long name in a directory.
func small(t testing.TB) []byte {
	t.Helper()
	dir := t.TempDir()
	image, file := filepath.Join(dir, "fat"), filepath.Join(dir, "file")
	for name, content := range map[string][]byte{image: make([]byte, 40<<10), file: bytes.Repeat([]byte("content"), 100)} {
		if err := os.WriteFile(name, content, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	for _, argv := range [][]string{
		{"/usr/sbin/mkfs.vfat", "--invariant", "-s", "1", "-f", "2", "-r", "16", image}, {"mmd", "-i", image, "::/EFI"}, {"mcopy", "-i", image, file, "::/EFI/A name that is long.efi"},
	} {
		if out, err := exec.Command(argv[0], argv[1:]...).CombinedOutput(); err != nil {
			t.Fatalf("%v: %v: %s", argv, err, out)
		}
	}
	b, err := os.ReadFile(image)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func FuzzRead(f *testing.F) {
	good := small(f)
	fs, err := fat.Read(bytes.NewReader(good), int64(len(good)))
	if err != nil {
		f.Fatal(err)
	}
	file, ok := fs.Find("efi/a name that is LONG.efi")
	if !ok {
		f.Fatalf("files: %+v", fs.Files)
	}
	if content, err := io.ReadAll(file.Reader()); err != nil || string(content) != string(bytes.Repeat([]byte("content"), 100)) {
		f.Fatalf("%q, %v", content, err)
	}
	if findings, err := fs.Verify(zeros(good)); err != nil || len(findings) > 0 {
		f.Fatalf("%+v, %v", findings, err)
	}
	f.Add(good)
	f.Add(good[:1024])
	f.Fuzz(func(t *testing.T, b []byte) {
		fs, err := fat.Read(bytes.NewReader(b), int64(len(b)))
		if err != nil {
			return
		}
		for _, file := range fs.Files {
			if _, err := io.Copy(io.Discard, file.Reader()); err != nil {
				t.Errorf("%s: %v", file.Path, err)
			}
		}
		if _, err := fs.Verify(zeros(b)); err != nil {
			t.Error(err)
		}
	})
}
