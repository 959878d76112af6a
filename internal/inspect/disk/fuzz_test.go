package disk

import (
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
)

func FuzzOpen(f *testing.F) {
	dir := f.TempDir()
	raw := filepath.Join(dir, "raw")
	content := make([]byte, 128<<10)
	copy(content[70000:], "something")
	if err := os.WriteFile(raw, content, 0o600); err != nil {
		f.Fatal(err)
	}
	f.Add(content[:1024])
	for name, arguments := range map[string][]string{
		"qcow2": {"-O", "qcow2", "-o", "cluster_size=512"}, "stream": {"-O", "vmdk", "-o", "subformat=streamOptimized"}, "sparse": {"-O", "vmdk"},
		"vhd": {"-O", "vpc", "-o", "subformat=fixed,force_size"},
	} {
		out := filepath.Join(dir, name)
		argv := append(append([]string{"convert", "-f", "raw"}, arguments...), raw, out)
		if text, err := exec.Command("qemu-img", argv...).CombinedOutput(); err != nil {
			f.Fatalf("%v: %s", err, text)
		}
		b, err := os.ReadFile(out)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(b)
	}
	tgz := filepath.Join(dir, "tgz")
	if text, err := exec.Command("tar", "--sparse", "--format=oldgnu", "-C", dir, "-czf", tgz, "raw").CombinedOutput(); err != nil {
		f.Fatalf("%v: %s", err, text)
	}
	b, err := os.ReadFile(tgz)
	if err != nil {
		f.Fatal(err)
	}
	f.Add(b)
	name := filepath.Join(f.TempDir(), "image")
	f.Fuzz(func(t *testing.T, b []byte) {
		if err := os.WriteFile(name, b, 0o600); err != nil {
			t.Fatal(err)
		}
		d, err := Open(name)
		if err != nil {
			return
		}
		defer d.Close()
		buf := make([]byte, 4096)
		at := int64(0)
		for range 64 {
			start, end, err := d.Data(at)
			if err != nil {
				break
			}
			if start < at || end <= start {
				t.Fatalf("from %d on, %d to %d has data", at, start, end)
			}
			d.ReadAt(buf, start) // an error is an answer
			at = end
		}
		if n, err := d.ReadAt(buf, d.Size); n != 0 || err == nil {
			t.Errorf("%d bytes behind the end, %v", n, err)
		}
		io.Copy(io.Discard, io.NewSectionReader(d, 0, min(d.Size, 1<<20)))
	})
}
