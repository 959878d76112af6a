package lab

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// What a machine does to its disk must not reach the image, nor another disk of the image.
func TestDisk(t *testing.T) {
	for _, tool := range []string{"qemu-img", "qemu-io"} {
		if _, err := exec.LookPath(tool); err != nil {
			t.Skip(err)
		}
	}
	dir := t.TempDir()
	image := filepath.Join(dir, "disk.raw")
	content := strings.Repeat("strongroom", 1<<10)
	if err := os.WriteFile(image, []byte(content), 0o444); err != nil {
		t.Fatal(err)
	}
	disk, err := NewDisk(t.Context(), dir, image)
	if err != nil {
		t.Fatal(err)
	}
	other, err := NewDisk(t.Context(), dir, image)
	if err != nil {
		t.Fatal(err)
	}
	const offset = 4097
	if err := disk.FlipByte(t.Context(), offset); err != nil {
		t.Fatal(err)
	}
	for d, want := range map[*Disk]byte{disk: ^content[offset], other: content[offset]} {
		if got, err := d.readByte(t.Context(), offset); err != nil || got != want {
			t.Errorf("byte %#x, want %#x, error %v", got, want, err)
		}
	}
	if got, err := os.ReadFile(image); err != nil || string(got) != content {
		t.Errorf("the image has changed (error %v)", err)
	}
	archive := filepath.Join(dir, "disk.raw.tar.gz")
	if err := os.WriteFile(archive, []byte(content), 0o444); err != nil {
		t.Fatal(err)
	}
	if _, err := NewDisk(t.Context(), dir, archive); err == nil || !strings.Contains(err.Error(), "raw, qcow2, vmdk and vhd") {
		t.Errorf("an archive: %v, want what a disk is", err)
	}
	if _, err := NewDisk(t.Context(), dir, filepath.Join(dir, "missing.raw")); err == nil || !strings.Contains(err.Error(), "make image") {
		t.Errorf("missing image: %v, want the way out", err)
	}
}
