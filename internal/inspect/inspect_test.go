package inspect_test

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/strongroom/strongroom/internal/inspect"
)

func TestAGoodImageHolds(t *testing.T) {
	s := build(t, recipe{version: "1.0.0"})
	i := look(t, s.disk, s.options())
	if i.Verdict != inspect.Pass {
		t.Errorf("verdict %s: fail %q, unknown %q", i.Verdict, bad(i, inspect.Fail), bad(i, inspect.Unknown))
	}
	if i.Verity == nil || i.Verity.RootHash != s.rootHash {
		t.Errorf("verity: %+v, want the root hash %s", i.Verity, s.rootHash)
	}
	if len(i.Table.Partitions) != 3 || i.Table.Partitions[0].Content != "fat" || i.Table.Partitions[1].Content != "squashfs" || i.Table.Partitions[2].Content != "verity" {
		t.Errorf("partitions: %+v", i.Table.Partitions)
	}
	r := i.Root
	if r.ImageID != "synthetic" || r.Version != "1.0.0" {
		t.Errorf("the image is %s %s", r.ImageID, r.Version)
	}
	if want := []inspect.Listening{{Unit: "api.socket", Address: "Stream 8200", Network: true, Enabled: true}}; !slices.Equal(r.Listening, want) {
		t.Errorf("listening: %+v", r.Listening)
	}
	if want := []inspect.Package{{Name: "libc6", Version: "2.41-1"}}; !slices.Equal(r.Packages, want) {
		t.Errorf("packages: %+v", r.Packages)
	}
	if i.Hardening == nil || i.Hardening.Verdict != "pass" {
		t.Errorf("hardening: %+v", i.Hardening)
	}
	if k := i.Kernels[0]; k.Release != "6.12.0" || len(k.Signers) != 1 || !k.Signers[0].Trusted {
		t.Errorf("kernel: %+v", k)
	}
}

// One disk in every format is the same image.
func TestFormats(t *testing.T) {
	s := build(t, recipe{version: "1.0.0"})
	for format, arguments := range map[string][]string{
		"qcow2":       {"-O", "qcow2"},
		"qcow2.zlib":  {"-c", "-O", "qcow2"},
		"vmdk":        {"-O", "vmdk", "-o", "subformat=streamOptimized"},
		"vmdk.sparse": {"-O", "vmdk", "-o", "subformat=monolithicSparse"},
		"vhd":         {"-O", "vpc", "-o", "subformat=fixed,force_size"},
	} {
		t.Run(format, func(t *testing.T) {
			out := filepath.Join(t.TempDir(), "disk")
			run(t, "", slices.Concat([]string{"qemu-img", "convert", "-f", "raw"}, arguments, []string{s.disk, out})...)
			i := look(t, out, s.options())
			if i.Verdict != inspect.Pass {
				t.Errorf("%s: verdict %s: fail %q, unknown %q", i.Image.Format, i.Verdict, bad(i, inspect.Fail), bad(i, inspect.Unknown))
			}
			if want, _, _ := strings.Cut(format, "."); i.Image.Format != want {
				t.Errorf("it was taken for %s", i.Image.Format)
			}
			info, err := os.Stat(out)
			if err != nil {
				t.Fatal(err)
			}
			if err := os.Truncate(out, info.Size()/2/512*512); err != nil {
				t.Fatal(err)
			}
			if i := look(t, out, s.options()); i.Verdict == inspect.Pass {
				t.Error("half of it passes")
			}
		})
	}
	t.Run("raw.tar.gz", func(t *testing.T) {
		out := filepath.Join(t.TempDir(), "disk.raw.tar.gz")
		run(t, "", "tar", "--sparse", "--format=oldgnu", "-C", s.dir, "-czf", out, "disk.raw")
		if i := look(t, out, s.options()); i.Verdict != inspect.Pass || i.Image.Format != "raw.tar.gz" {
			t.Errorf("%s: verdict %s: fail %q", i.Image.Format, i.Verdict, bad(i, inspect.Fail))
		}
		info, err := os.Stat(out)
		if err != nil {
			t.Fatal(err)
		}
		if err := os.Truncate(out, info.Size()-100); err != nil {
			t.Fatal(err)
		}
		i := look(t, out, s.options())
		if got := bad(i, inspect.Fail); len(got) != 1 || !strings.Contains(got[0], "cut off") {
			t.Errorf("without its end: %q", got)
		}
	})
}

// Each byte that was changed is found, and called by its place.
func TestTampering(t *testing.T) {
	s := build(t, recipe{version: "1.0.0"})
	last := s.at["verity"] + s.size["verity"] + 2*mebibyte
	for name, tt := range map[string]struct {
		at   int64
		says []string // in one of the failures
	}{
		"protective mbr":            {450, []string{"protective-mbr", "ee"}},
		"code in the mbr":           {100, []string{"unallocated", "byte 100"}},
		"primary header":            {512 + 40, []string{"partition-table-primary", "checksum of the header at byte 512"}},
		"primary entries":           {1024 + 60, []string{"partition-table-primary", "checksum of the entries at byte 1024"}},
		"backup header":             {last - 512 + 72, []string{"partition-table-backup", "checksum of the header"}},
		"backup entries":            {last - 33*512 + 60, []string{"partition-table-backup", "checksum of the entries"}},
		"between the partitions":    {512 * 100, []string{"unallocated", "byte 51200"}},
		"esp: boot sector":          {s.at["esp"] + 3, []string{"esp", "differ at byte 3"}},
		"esp: first table":          {s.at["esp"] + 32*512 + 4000, []string{"esp", "two tables differ"}},
		"esp: free room":            {s.at["esp"] + s.size["esp"] - 5000, []string{"esp", "free room"}},
		"esp: kernel":               {s.find(t, "esp", "kernelkernel"), []string{"kernel-signature", "over a program with the digest"}},
		"esp: arguments":            {s.find(t, "esp", "roothash=") + 9, []string{"verity-root-hash", "the command line of /EFI/BOOT/BOOTX64.EFI says"}},
		"esp: initrd":               {s.find(t, "esp", "initrdinitrd"), []string{"kernel-signature", "over a program with the digest"}},
		"root: superblock":          {s.at["root"] + 8, []string{"verity-data", "partition 2 (strongroom-root), byte 0", "the block is not what the hash tree has"}},
		"root: a file":              {s.at["root"] + 200, []string{"verity-data", "partition 2 (strongroom-root), byte 0", "/usr/bin/vault"}},
		"root: behind the data":     {s.at["root"] + s.size["root"] - 1, []string{"verity-data-rest", "behind what the hash tree is about"}},
		"tree: superblock":          {s.at["verity"] + 90, []string{"verity-root-hash", "partition 3 (strongroom-root-verity)"}},
		"tree: data size":           {s.at["verity"] + 72, []string{"verity-"}},
		"tree: a hash":              {s.at["verity"] + 4096 + 5, []string{"verity-root-hash"}},
		"tree: behind the tree":     {s.at["verity"] + s.size["verity"] - 1, []string{"verity-tree-rest"}},
		"behind the last partition": {last - mebibyte, []string{"unallocated"}},
	} {
		t.Run(name, func(t *testing.T) {
			old := s.write(t, tt.at, []byte{0})
			flipped := []byte{old[0] ^ 1}
			s.write(t, tt.at, flipped)
			defer s.write(t, tt.at, old)
			i := look(t, s.disk, s.options())
			if i.Verdict != inspect.Fail {
				t.Errorf("verdict %s", i.Verdict)
			}
			failures := bad(i, inspect.Fail)
			if !slices.ContainsFunc(failures, func(f string) bool {
				return !slices.ContainsFunc(tt.says, func(word string) bool { return !strings.Contains(f, word) })
			}) {
				t.Errorf("want one failure with all of %q, got\n%s", tt.says, strings.Join(failures, "\n"))
			}
		})
	}
}

// The tools that others verify with say the same of the good image and of one that was tampered with.
func TestOthersAgree(t *testing.T) {
	id := identity(t)
	s := build(t, recipe{version: "1.0.0", identity: id})
	certificate := filepath.Join(s.dir, "certificate.pem")
	if err := os.WriteFile(certificate, pemOf(s.certificate), 0o644); err != nil {
		t.Fatal(err)
	}
	// carve copies a partition to a file of its own, which is what the tools take.
	carve := func(name string) string {
		out := filepath.Join(t.TempDir(), name)
		run(t, "", "dd", "if="+s.disk, "of="+out, "bs=1M", "status=none", fmt.Sprintf("skip=%d", s.at[name]/mebibyte), fmt.Sprintf("count=%d", s.size[name]/mebibyte))
		return out
	}
	tools := map[string]func() error{
		"veritysetup": func() error {
			return exec.Command("/usr/sbin/veritysetup", "verify", carve("root"), carve("verity"), s.rootHash).Run()
		},
		"sbverify": func() error {
			program := filepath.Join(t.TempDir(), "linux.efi")
			run(t, "", "mcopy", "-i", fmt.Sprintf("%s@@%d", s.disk, s.at["esp"]), "::/EFI/BOOT/BOOTX64.EFI", program)
			return exec.Command("sbverify", "--cert", certificate, program).Run()
		},
		"sfdisk": func() error {
			out, err := exec.Command("/usr/sbin/sfdisk", "--verify", s.disk).CombinedOutput()
			if err == nil && strings.Contains(string(out), "corrupt") { // it repairs in memory, and finds no errors then
				err = fmt.Errorf("%s", out)
			}
			return err
		},
		"fsck.fat": func() error { return exec.Command("/usr/sbin/fsck.fat", "-n", carve("esp")).Run() },
	}
	for tool, verify := range tools {
		if err := verify(); err != nil {
			t.Errorf("%s does not take the good image: %v", tool, err)
		}
	}
	for tool, at := range map[string]int64{
		"veritysetup": s.at["root"] + 5000, "sbverify": s.find(t, "esp", "kernelkernel"), "sfdisk": 512 + 40, "fsck.fat": s.at["esp"] + 32*512 + 4000,
	} {
		old := s.write(t, at, []byte{0x55})
		if err := tools[tool](); err == nil {
			t.Errorf("%s takes byte %d", tool, at)
		}
		if i := look(t, s.disk, s.options()); i.Verdict != inspect.Fail {
			t.Errorf("inspect takes byte %d, and %s does not", at, tool)
		}
		s.write(t, at, old)
	}
}

// A kernel of another image, signed by the same key, starts another root.
func TestSwappedKernel(t *testing.T) {
	id := identity(t)
	s := build(t, recipe{version: "1.0.0", identity: id})
	other := build(t, recipe{version: "1.0.1", identity: id, edit: func(t testing.TB, tree string) { put(t, tree, "usr/bin/more", "more") }})
	program := filepath.Join(s.dir, "other.efi")
	if err := os.WriteFile(program, other.kernel, 0o644); err != nil {
		t.Fatal(err)
	}
	run(t, "", "mcopy", "-o", "-i", fmt.Sprintf("%s@@%d", s.disk, s.at["esp"]), program, "::/EFI/BOOT/BOOTX64.EFI")
	i := look(t, s.disk, s.options())
	failures := strings.Join(bad(i, inspect.Fail), "\n")
	for _, want := range []string{
		"verity-root-hash: partition 3 (strongroom-root-verity): the hash tree has the root hash " + s.rootHash + ", and the command line of /EFI/BOOT/BOOTX64.EFI says " + other.rootHash,
		"kernel-root: /EFI/BOOT/BOOTX64.EFI: it is of synthetic 1.0.1, and the root is synthetic 1.0.0",
	} {
		if !strings.Contains(failures, want) {
			t.Errorf("want %q in\n%s", want, failures)
		}
	}
}

// Whoever packs the root anew with another baseline, makes a new hash tree and a new kernel for it, still has to sign that kernel.
func TestEditedBaseline(t *testing.T) {
	s := build(t, recipe{version: "1.0.0"})
	forged := build(t, recipe{version: "1.0.0", edit: func(t testing.TB, tree string) {
		name := filepath.Join(tree, "usr/lib/strongroom/baseline.json")
		text, err := os.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		put(t, tree, "usr/lib/strongroom/baseline.json", strings.Replace(string(text), `"must"`, `"should"`, 1))
	}})
	i := look(t, forged.disk, s.options())
	if failures := strings.Join(bad(i, inspect.Fail), "\n"); i.Verdict != inspect.Fail || !strings.Contains(failures, "by nobody whose certificate was named") {
		t.Errorf("verdict %s: %s", i.Verdict, failures)
	}
	o := forged.options()
	o.RootHash = s.rootHash
	if failures := strings.Join(bad(look(t, forged.disk, o), inspect.Fail), "\n"); !strings.Contains(failures, "and --root-hash says "+s.rootHash) {
		t.Errorf("with a root hash that is known: %s", failures)
	}
}

// A file that is not what a control rendered is found, and the control named.
func TestATreeThatIsNotItsBaseline(t *testing.T) {
	s := build(t, recipe{version: "1.0.0", edit: func(t testing.TB, tree string) {
		matches, err := filepath.Glob(filepath.Join(tree, "usr/lib/sysctl.d/*"))
		if err != nil || len(matches) == 0 {
			t.Fatalf("%v, %v", matches, err)
		}
		if err := os.WriteFile(matches[0], []byte("# nothing\n"), 0o644); err != nil {
			t.Fatal(err)
		}
	}})
	i := look(t, s.disk, s.options())
	if i.Verdict != inspect.Fail || len(i.Hardening.Failed) == 0 || !slices.ContainsFunc(bad(i, inspect.Fail), func(f string) bool {
		return strings.HasPrefix(f, "hardening:") && strings.Contains(f, i.Hardening.Failed[0].Control)
	}) {
		t.Errorf("verdict %s: %q, %+v", i.Verdict, bad(i, inspect.Fail), i.Hardening)
	}
}

// What nobody signed and nothing else vouches for is no pass.
func TestUnsignedIsNotAPass(t *testing.T) {
	s := build(t, recipe{version: "1.0.0", unsigned: true})
	if i := look(t, s.disk, inspect.Options{}); i.Verdict != inspect.Unknown || len(bad(i, inspect.Unknown)) != 1 {
		t.Errorf("verdict %s: %q", i.Verdict, bad(i, inspect.Unknown))
	}
	signed := build(t, recipe{version: "1.0.0"})
	i := look(t, signed.disk, inspect.Options{})
	if i.Verdict != inspect.Unknown || !strings.Contains(strings.Join(bad(i, inspect.Unknown), ""), "nobody named a certificate to believe") {
		t.Errorf("verdict %s: %q", i.Verdict, bad(i, inspect.Unknown))
	}
}

func TestTruncatedDisk(t *testing.T) {
	s := build(t, recipe{version: "1.0.0"})
	if err := os.Truncate(s.disk, s.at["root"]+4096); err != nil {
		t.Fatal(err)
	}
	i := look(t, s.disk, s.options())
	if failures := strings.Join(bad(i, inspect.Fail), "\n"); !strings.Contains(failures, "is it cut off?") {
		t.Errorf("verdict %s: %s", i.Verdict, failures)
	}
	if err := os.Truncate(s.disk, 1000); err != nil {
		t.Fatal(err)
	}
	if failures := bad(look(t, s.disk, s.options()), inspect.Fail); len(failures) != 1 || !strings.Contains(failures[0], "whole number of sectors") {
		t.Errorf("%q", failures)
	}
}

// Somebody else's disk: what is there is said, and what cannot be told is unknown.
func TestForeignDisk(t *testing.T) {
	disk := filepath.Join(t.TempDir(), "disk.raw")
	if err := os.WriteFile(disk, nil, 0o644); err != nil {
		t.Fatal(err)
	}
	if err := os.Truncate(disk, 32*mebibyte); err != nil {
		t.Fatal(err)
	}
	i := look(t, disk, inspect.Options{})
	if got := bad(i, inspect.Unknown); i.Verdict != inspect.Unknown || !strings.Contains(strings.Join(got, ""), "there is no GUID partition table: the disk begins as empty") {
		t.Errorf("an empty disk: %s, %q", i.Verdict, got)
	}
	run(t, "label: gpt\nsize=8MiB, type=4F68BCE3-E8CD-4DB1-96E7-FBCAF984B709\nsize=8MiB, type=0657FD6D-A4AB-43C4-84E5-0933C84B4F4F\n", "sfdisk", "--quiet", disk)
	run(t, "", "mke2fs", "-q", "-t", "ext4", "-E", "offset=1048576", disk, "8m")
	i = look(t, disk, inspect.Options{})
	if i.Verdict != inspect.Unknown || i.Table.Partitions[0].Content != "ext" || i.Table.Partitions[1].Name != "swap" {
		t.Errorf("%s, %+v, fail %q", i.Verdict, i.Table, bad(i, inspect.Fail))
	}
	if got := strings.Join(bad(i, inspect.Unknown), "\n"); !strings.Contains(got, "the root is ext") || !strings.Contains(got, "no partition with a hash tree") {
		t.Errorf("%s", got)
	}
}
