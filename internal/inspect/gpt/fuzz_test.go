package gpt_test

import (
	"bytes"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/strongroom/strongroom/internal/inspect/gpt"
)

func FuzzRead(f *testing.F) {
	name := filepath.Join(f.TempDir(), "disk")
	if err := os.WriteFile(name, make([]byte, 12<<10), 0o600); err != nil {
		f.Fatal(err)
	}
	cmd := exec.Command("/usr/sbin/sfdisk", "--quiet", name)
	cmd.Stdin = strings.NewReader("label: gpt\ntable-length: 4\nfirst-lba: 8\nstart=8, size=4, name=\"one\"\nstart=12, size=4\n")
	if out, err := cmd.CombinedOutput(); err != nil {
		f.Fatalf("%v: %s", err, out)
	}
	good, err := os.ReadFile(name)
	if err != nil {
		f.Fatal(err)
	}
	if t, err := gpt.Read(bytes.NewReader(good), int64(len(good))); err != nil || t.PrimaryErr != nil || t.BackupErr != nil || t.Protection != nil || t.Protective != nil || len(t.Primary.Partitions) != 2 {
		f.Fatalf("%+v, %v", t, err)
	}
	f.Add(good)
	f.Add(good[:2048])
	f.Add([]byte("EFI PART"))
	f.Fuzz(func(t *testing.T, disk []byte) {
		table, err := gpt.Read(bytes.NewReader(disk), int64(len(disk)))
		if err != nil {
			return
		}
		if best := table.Best(); best != nil {
			for _, p := range best.Partitions {
				if p.Start < 0 || p.Size <= 0 || p.Start+p.Size > int64(len(disk)) {
					t.Errorf("partition %+v of a disk of %d bytes", p, len(disk))
				}
			}
		}
	})
}
