package systemd_test

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// What an installation writes ends with the last partition of the image, without the copy of the partition table. systemd-repart takes it, uses the
// whole of a larger disk, and puts the copy where it ends.
func TestInstalledDiskGrows(t *testing.T) {
	definitions := t.TempDir()
	r := newRoot(t, "off")
	files, err := filepath.Glob(r.at("/usr/lib/repart.d/*.conf"))
	if err != nil || len(files) != 3 {
		t.Fatalf("%q, %v", files, err)
	}
	for _, f := range files {
		text, err := os.ReadFile(f)
		if err != nil {
			t.Fatal(err)
		}
		bare := strings.Replace(string(text), "Format=ext4\n", "", 1) // a file system takes root
		if err := os.WriteFile(filepath.Join(definitions, filepath.Base(f)), []byte(bare), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	disk := filepath.Join(t.TempDir(), "disk.raw")
	resize := func(size int64) {
		t.Helper()
		if err := os.Truncate(disk, size); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.WriteFile(disk, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	resize(3 << 30)
	table := exec.CommandContext(t.Context(), "sfdisk", "--quiet", disk)
	table.Stdin = strings.NewReader("label: gpt\nstart=2048, size=524288, type=C12A7328-F81F-11D2-BA4B-00A0C93EC93B, name=\"strongroom-esp\"\nstart=526336, size=204800, type=4F68BCE3-E8CD-4DB1-96E7-FBCAF984B709, name=\"strongroom-root\"\n")
	if out, err := table.CombinedOutput(); err != nil {
		t.Fatalf("sfdisk: %v: %s", err, out)
	}
	const end = 731136 * 512
	resize(end)
	resize(5 << 30)
	if _, stderr, err := run(t, "systemd-repart", "--dry-run=no", "--empty=refuse", "--definitions="+definitions, disk); err != nil {
		t.Fatalf("%v\n%s", err, stderr)
	}
	out, err := exec.CommandContext(t.Context(), "sfdisk", "--verify", disk).CombinedOutput()
	if err != nil || strings.Contains(string(out), "backup") || !strings.Contains(string(out), "Using 5 out of 128 partitions") {
		t.Errorf("%v: %s", err, out)
	}
	listed, err := exec.CommandContext(t.Context(), "sfdisk", "--dump", disk).Output()
	if err != nil {
		t.Fatal(err)
	}
	for _, label := range []string{"strongroom-vault", "strongroom-audit", "strongroom-var"} {
		if !strings.Contains(string(listed), `name="`+label+`"`) {
			t.Errorf("no %s in\n%s", label, listed)
		}
	}
	if free, err := exec.CommandContext(t.Context(), "sfdisk", "--list-free", disk).Output(); err != nil || strings.Contains(string(free), "GiB,") || strings.Contains(string(free), "MiB,") {
		t.Errorf("%v: room is left behind:\n%s", err, free)
	}
}
