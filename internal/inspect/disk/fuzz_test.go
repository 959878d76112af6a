package disk

import (
	"bytes"
	"compress/zlib"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"testing"

	"golang.org/x/sys/unix"
)

func FuzzOpen(f *testing.F) {
	dir := f.TempDir()
	raw := filepath.Join(dir, "raw")
	content := make([]byte, 4<<10)
	copy(content[2000:], "something")
	if err := os.WriteFile(raw, content, 0o600); err != nil {
		f.Fatal(err)
	}
	f.Add(content[:1024])
	seed := func(b []byte) {
		if len(b) > 8<<10 {
			f.Fatalf("a seed of %d bytes: the smaller it is, the more of them are tried", len(b))
		}
		f.Add(b)
	}
	for name, arguments := range map[string][]string{"qcow2": {"-O", "qcow2", "-o", "cluster_size=512"}, "vhd": {"-O", "vpc", "-o", "subformat=fixed,force_size"}} {
		out := filepath.Join(dir, name)
		argv := append(append([]string{"convert", "-f", "raw"}, arguments...), raw, out)
		if text, err := exec.Command("qemu-img", argv...).CombinedOutput(); err != nil {
			f.Fatalf("%v: %s", err, text)
		}
		b, err := os.ReadFile(out)
		if err != nil {
			f.Fatal(err)
		}
		seed(b)
	}
	for _, compressed := range []bool{false, true} {
		b := smallVMDK(content, compressed)
		name := filepath.Join(dir, "vmdk")
		if err := os.WriteFile(name, b, 0o600); err != nil {
			f.Fatal(err)
		}
		d, err := Open(name)
		if err != nil {
			f.Fatal(err)
		}
		got := make([]byte, len(content))
		if _, err := d.ReadAt(got, 0); err != nil || !bytes.Equal(got, content) {
			f.Fatalf("compressed %t: it is read as something else: %v", compressed, err)
		}
		if err := d.Close(); err != nil {
			f.Fatal(err)
		}
		seed(b)
	}
	tgz := filepath.Join(dir, "tgz")
	if text, err := exec.Command("tar", "--sparse", "--format=oldgnu", "-C", dir, "-czf", tgz, "raw").CombinedOutput(); err != nil {
		f.Fatalf("%v: %s", err, text)
	}
	b, err := os.ReadFile(tgz)
	if err != nil {
		f.Fatal(err)
	}
	seed(b)
	// In memory: a file of a disk that is cut off and written again is flushed each time.
	fd, err := unix.MemfdCreate("image", unix.MFD_CLOEXEC)
	if err != nil {
		f.Fatal(err)
	}
	memory := os.NewFile(uintptr(fd), "image")
	name := fmt.Sprintf("/proc/self/fd/%d", fd)
	f.Fuzz(func(t *testing.T, b []byte) {
		if err := memory.Truncate(0); err != nil {
			t.Fatal(err)
		}
		if _, err := memory.WriteAt(b, 0); err != nil {
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
		io.Copy(io.Discard, io.NewSectionReader(d, 0, min(d.Size, 64<<10)))
	})
}

// smallVMDK is a sparse extent with grains of one sector, of which qemu-img writes none below 64 KiB. What is all zero has no grain.
func smallVMDK(disk []byte, compressed bool) []byte {
	const perTable = 8
	h := make([]byte, 3*sector) // header, directory, table
	copy(h, vmdkMagic)
	le.PutUint32(h[vmdkVersion:], 1)
	le.PutUint64(h[vmdkCapacity:], uint64(len(disk)/sector))
	le.PutUint64(h[vmdkGrain:], 1)
	le.PutUint32(h[vmdkPerTable:], perTable)
	le.PutUint64(h[vmdkDirectory:], 1)
	le.PutUint32(h[sector:], 2)
	if compressed {
		le.PutUint32(h[vmdkVersion:], 3)
		le.PutUint32(h[vmdkFlags:], vmdkCompressed)
		le.PutUint16(h[vmdkAlgorithm:], vmdkDeflate)
	}
	out := h
	for n := range len(disk) / sector {
		grain := disk[n*sector : (n+1)*sector]
		if bytes.Equal(grain, make([]byte, sector)) {
			continue
		}
		le.PutUint32(out[2*sector+4*n:], uint32(len(out)/sector))
		if compressed {
			var packed bytes.Buffer
			z := zlib.NewWriter(&packed)
			z.Write(grain) // to memory
			z.Close()
			grain = le.AppendUint32(le.AppendUint64(nil, uint64(n)), uint32(packed.Len()))
			grain = append(grain, packed.Bytes()...)
		}
		out = append(out, grain...)
		out = append(out, make([]byte, (sector-len(out)%sector)%sector)...)
	}
	return out
}
