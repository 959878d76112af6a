//go:build bake && slow

package main

import (
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/strongroom/strongroom/internal/image"
	"github.com/strongroom/strongroom/internal/inspect"
)

// inspected runs imagebuild inspect, which has one thing to say: these small images are hardened for nothing.
func inspected(t *testing.T, args ...string) (i inspect.Inspection) {
	t.Helper()
	code, out, errs := cli(append([]string{"inspect", "--format", "json"}, args...)...)
	if err := json.Unmarshal([]byte(out), &i); err != nil {
		t.Fatalf("%q: exit status %d, %v: %s%s", args, code, err, out, errs)
	}
	if got := complaints(i); code != 1 || got != "fail: baseline\n" {
		t.Errorf("%q: exit status %d: %s", args, code, got)
	}
	return i
}

// complaints are the checks that are neither passed nor absent.
func complaints(i inspect.Inspection) string {
	var b strings.Builder
	for _, c := range i.Checks {
		if c.Verdict != inspect.Pass && c.Verdict != inspect.Absent {
			fmt.Fprintf(&b, "%s: %s\n", c.Verdict, c.ID)
		}
	}
	return b.String()
}

// requireSound inspects what a bake has left: the directory, each of the disks in it, and the netboot bundle.
func requireSound(t *testing.T, dir, certificate string) {
	passed := func(i inspect.Inspection, ids ...string) {
		t.Helper()
		for _, id := range ids {
			if !slices.ContainsFunc(i.Checks, func(c inspect.Check) bool { return c.ID == id && c.Verdict == inspect.Pass }) {
				t.Errorf("%s: %s has not passed: %+v", i.Image.Path, id, i.Checks)
			}
		}
	}
	disk := []string{"partition-table-copies", "esp-files", "kernel-signature", "kernel-root", "verity-tree", "verity-data", "verity-root-hash", "sbom", "leaks", "root"}
	passed(inspected(t, "--certificate", certificate, dir), append(disk, "manifest", "formats", "netboot", "kernel-measurements")...)
	for _, name := range []string{"disk.raw", "disk.qcow2"} {
		passed(inspected(t, "--certificate", certificate, filepath.Join(dir, name)), disk...)
	}
	passed(inspected(t, "--certificate", certificate, filepath.Join(dir, "netboot")), "netboot", "kernel-signature", "verity-data", "root")
}

func outputOf(t *testing.T, argv ...string) []byte {
	t.Helper()
	cmd := exec.Command(argv[0], argv[1:]...)
	out, err := cmd.Output()
	if err != nil {
		text := ""
		if exit, ok := err.(*exec.ExitError); ok {
			text = string(exit.Stderr)
		}
		t.Fatalf("%q: %v: %s%s", argv, err, out, text)
	}
	return out
}

// requireAgreement asks the programs that others have written about the same disk: sfdisk, veritysetup, sbverify, systemd-dissect.
func requireAgreement(t *testing.T, disk, certificate string) {
	ours := inspected(t, "--certificate", certificate, disk)

	outputOf(t, "/usr/sbin/sfdisk", "--verify", disk)
	var table struct {
		PartitionTable struct {
			ID         string
			SectorSize int64
			Partitions []struct {
				Start, Size      int64
				Type, UUID, Name string
			}
		}
	}
	if err := json.Unmarshal(outputOf(t, "/usr/sbin/sfdisk", "--json", disk), &table); err != nil {
		t.Fatal(err)
	}
	if theirs := table.PartitionTable; !strings.EqualFold(theirs.ID, ours.Table.Disk) || len(theirs.Partitions) != len(ours.Table.Partitions) {
		t.Fatalf("sfdisk sees the disk %s with %d partitions, inspect %+v", theirs.ID, len(theirs.Partitions), ours.Table)
	}
	parts := map[string]string{} // files with the content of partitions, by label
	for n, p := range table.PartitionTable.Partitions {
		o := ours.Table.Partitions[n]
		if sector := table.PartitionTable.SectorSize; p.Start*sector != o.Start || p.Size*sector != o.Size || p.Name != o.Label || !strings.EqualFold(p.UUID, o.UUID) || !strings.EqualFold(p.Type, o.Type) {
			t.Errorf("sfdisk sees %+v, inspect %+v", p, o)
		}
		parts[p.Name] = filepath.Join(t.TempDir(), p.Name)
		outputOf(t, "dd", "status=none", "if="+disk, "of="+parts[p.Name], "bs=512", fmt.Sprintf("skip=%d", p.Start), fmt.Sprintf("count=%d", p.Size))
	}

	outputOf(t, "/usr/sbin/veritysetup", "verify", parts["strongroom-root"], parts["strongroom-root-verity"], ours.Verity.RootHash)
	zero := strings.Repeat("0", len(ours.Verity.RootHash))
	if out, err := exec.Command("/usr/sbin/veritysetup", "verify", parts["strongroom-root"], parts["strongroom-root-verity"], zero).CombinedOutput(); err == nil {
		t.Errorf("veritysetup verifies any root hash: %s", out)
	}

	kernel := filepath.Join(t.TempDir(), "kernel.efi")
	outputOf(t, "mcopy", "-i", parts["strongroom-esp"], "::/"+ours.Kernels[0].Path, kernel)
	outputOf(t, "sbverify", "--cert", certificate, kernel)

	if out, err := exec.Command("losetup", "--find").CombinedOutput(); os.Geteuid() != 0 || err != nil {
		t.Logf("systemd-dissect was not asked: it attaches loop devices, which this user or this machine cannot: %s", out)
		return
	}
	var dissected struct {
		Size      int64
		OSRelease []string
		Mounts    []struct {
			Designator string
			UUID       string `json:"partition_uuid"`
		}
	}
	if err := json.Unmarshal(outputOf(t, "systemd-dissect", "--json=short", "--root-hash="+ours.Verity.RootHash, disk), &dissected); err != nil {
		t.Fatal(err)
	}
	if dissected.Size != ours.Image.Disk || !slices.Contains(dissected.OSRelease, "IMAGE_ID="+ours.Root.ImageID) || !slices.Contains(dissected.OSRelease, "IMAGE_VERSION="+ours.Root.Version) {
		t.Errorf("systemd-dissect sees %+v", dissected)
	}
	uuid := map[string]string{}
	for _, m := range dissected.Mounts {
		uuid[m.Designator] = m.UUID
	}
	for _, p := range ours.Table.Partitions {
		designator := map[string]string{"strongroom-root": "root", "strongroom-root-verity": "root-verity", "strongroom-esp": "esp"}[p.Label]
		if !strings.EqualFold(uuid[designator], p.UUID) {
			t.Errorf("systemd-dissect sees %q as %s, inspect %s", uuid[designator], designator, p.UUID)
		}
	}
	if out, err := exec.Command("systemd-dissect", "--json=short", "--root-hash="+zero, disk).CombinedOutput(); err == nil && strings.Contains(string(out), "IMAGE_ID=") {
		t.Errorf("systemd-dissect takes any root hash: %s", out)
	}
}

// requireOnlyTcpdump compares an image with one that has tcpdump as well.
func requireOnlyTcpdump(t *testing.T, one, other image.Result) {
	code, out, errs := cli("diff", "--format", "json", one.Dir, other.Dir)
	var d inspect.Diff
	if err := json.Unmarshal([]byte(out), &d); err != nil || code != 1 {
		t.Fatalf("exit status %d, %v: %s%s", code, err, out, errs)
	}
	for _, p := range d.Packages {
		if p.Kind != "added" {
			t.Errorf("package %+v", p)
		}
	}
	if !slices.ContainsFunc(d.Packages, func(c inspect.Change) bool { return c.Name == "tcpdump" }) || len(d.Packages) > 5 {
		t.Errorf("packages %+v", d.Packages)
	}
	if d.Identical || d.First == nil {
		t.Fatal("the images are identical")
	}
	// The program and its library, its account, and the bills of materials: nothing else of the root, and no control's file.
	for _, f := range d.Files {
		brought := strings.HasSuffix(f.Name, "/tcpdump") || strings.Contains(f.Name, "/libpcap.so.")
		told := slices.Contains([]string{"/etc/passwd", "/etc/shadow", "/etc/group", "/etc/gshadow", "/etc/ld.so.cache"}, f.Name) || strings.HasPrefix(f.Name, "/usr/share/strongroom/sbom.")
		if brought != (f.Kind == "added") || brought == told || f.Control != "" {
			t.Errorf("file %+v", f)
		}
	}
	if len(d.Controls) > 0 || !slices.ContainsFunc(d.Files, func(c inspect.Change) bool { return c.Name == "/usr/bin/tcpdump" }) {
		t.Errorf("controls %+v, files %+v", d.Controls, d.Files)
	}
	// The root's hash is in the table, in the command line of the kernel and in the tree.
	var regions []string
	for _, r := range d.Regions {
		regions = append(regions, r.Name)
	}
	for _, want := range []string{"primary partition table", "strongroom-esp", "strongroom-root)", "strongroom-root-verity"} {
		if !slices.ContainsFunc(regions, func(name string) bool { return strings.Contains(name, want) }) {
			t.Errorf("regions %q, without %s", regions, want)
		}
	}
}
