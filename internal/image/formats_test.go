package image

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"context"
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"
)

// trialConversion is a conversion of a disk in a directory of the test, by the tools of this machine.
func trialConversion(t *testing.T, dir string) conversion {
	t.Helper()
	files, err := os.OpenRoot(dir)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { files.Close() })
	return conversion{
		files: files,
		path:  func(elem ...string) string { return filepath.Join(append([]string{dir}, elem...)...) },
		run: func(ctx context.Context, argv ...string) error {
			if out, err := exec.CommandContext(ctx, argv[0], argv[1:]...).CombinedOutput(); err != nil {
				return fmt.Errorf("%w: %s", err, out)
			}
			return nil
		},
		rootHash: someHash,
		epoch:    time.Unix(1_700_000_000, 0).UTC(),
	}
}

// trialDisk has what a real one has: islands of data, one that no power of two divides, and an end that is not a hole.
func trialDisk(t *testing.T, dir string, islands int, allocated bool) {
	t.Helper()
	f, err := os.Create(filepath.Join(dir, "disk.raw"))
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	const size = 64 * mebibyte
	if err := f.Truncate(size); err != nil {
		t.Fatal(err)
	}
	if allocated { // the same content without holes
		if _, err := f.Write(make([]byte, size)); err != nil {
			t.Fatal(err)
		}
	}
	random := rand.NewChaCha8([32]byte{1})
	for i := range islands {
		data := make([]byte, 5000+i)
		random.Read(data)
		if _, err := f.WriteAt(data, int64(i)*mebibyte+int64(i)*77); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := f.WriteAt([]byte("EFI PART"), size-sector); err != nil {
		t.Fatal(err)
	}
}

func requireQEMUImg(t *testing.T) {
	t.Helper()
	if _, err := exec.LookPath("qemu-img"); err != nil {
		t.Skip(err)
	}
}

// TestConvert makes every format twice, of a file with holes and of one without: each holds the same disk, and the
// same bytes come out.
func TestConvert(t *testing.T) {
	requireQEMUImg(t)
	sums := map[string]string{}
	for _, allocated := range []bool{false, true} {
		dir := t.TempDir()
		trialDisk(t, dir, 30, allocated) // more than the header of a sparse member has room for
		c := trialConversion(t, dir)
		for _, format := range disksOf(Formats()) {
			if err := c.convert(t.Context(), format); err != nil {
				t.Fatalf("%s: %v", format, err)
			}
			text, err := os.ReadFile(filepath.Join(dir, diskName(format)))
			if err != nil {
				t.Fatal(err)
			}
			sum := fmt.Sprintf("%x", sha256.Sum256(text))
			if first, ok := sums[format]; ok && sum != first {
				t.Errorf("%s: two conversions of one disk have the digests %s and %s", format, first, sum)
			}
			sums[format] = sum
		}
		checkFormats(t, dir)
		checkStamps(t, c)
	}
}

// checkFormats compares every format in a directory with the raw disk there.
func checkFormats(t *testing.T, dir string) {
	t.Helper()
	raw := filepath.Join(dir, "disk.raw")
	st, err := os.Stat(raw)
	if err != nil {
		t.Fatal(err)
	}
	for _, format := range []string{FormatQCOW2, FormatVMDK, FormatVHD} {
		file := filepath.Join(dir, diskName(format))
		if out, err := exec.Command("qemu-img", "compare", "-f", "raw", "-F", QEMUDriver(format), raw, file).CombinedOutput(); err != nil {
			t.Errorf("%s and raw differ: %v: %s", format, err, out)
		}
		out, err := exec.Command("qemu-img", "info", "--output=json", "-f", QEMUDriver(format), file).Output()
		if err != nil {
			t.Fatalf("%s: %v", format, err)
		}
		var info struct {
			VirtualSize int64 `json:"virtual-size"`
			Format      string
			Specific    struct {
				Data struct {
					CreateType string `json:"create-type"`
				}
			} `json:"format-specific"`
		}
		if err := json.Unmarshal(out, &info); err != nil {
			t.Fatal(err)
		}
		if info.VirtualSize != st.Size() || info.Format != QEMUDriver(format) {
			t.Errorf("%s: qemu-img finds %d bytes of %s, want %d", format, info.VirtualSize, info.Format, st.Size())
		}
		switch format {
		case FormatQCOW2, FormatVMDK:
			if out, err := exec.Command("qemu-img", "check", "-f", QEMUDriver(format), file).CombinedOutput(); err != nil {
				t.Errorf("%s: %v: %s", format, err, out)
			}
		}
		if format == FormatVMDK && info.Specific.Data.CreateType != "streamOptimized" {
			t.Errorf("the vmdk is of the type %q", info.Specific.Data.CreateType)
		}
	}
	checkFooter(t, filepath.Join(dir, "disk.vhd"), st.Size())
	checkTarGz(t, dir, st.Size())
}

// vhdFields is the footer as the specification has it.
type vhdFields struct {
	Cookie                 [8]byte
	Features, Version      uint32
	DataOffset             uint64
	Timestamp              uint32
	Creator                [4]byte
	CreatorVersion         uint32
	CreatorOS              [4]byte
	OriginalSize, Size     uint64
	Cylinders              uint16
	Heads, SectorsPerTrack uint8
	Type, Checksum         uint32
	UniqueID               [16]byte
	SavedState             uint8
	Reserved               [427]byte
}

func readFooter(t *testing.T, file string) (fields vhdFields, raw []byte, size int64) {
	t.Helper()
	f, err := os.Open(file)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	st, err := f.Stat()
	if err != nil {
		t.Fatal(err)
	}
	raw = make([]byte, 512)
	if _, err := f.ReadAt(raw, st.Size()-512); err != nil {
		t.Fatal(err)
	}
	if err := binary.Read(bytes.NewReader(raw), binary.BigEndian, &fields); err != nil {
		t.Fatal(err)
	}
	return fields, raw, st.Size()
}

// checkFooter holds a VHD against what Azure asks: fixed, a whole number of MiB, and a footer that is in order.
func checkFooter(t *testing.T, file string, disk int64) {
	t.Helper()
	f, raw, size := readFooter(t, file)
	if size != disk+512 || disk%mebibyte != 0 {
		t.Errorf("the vhd has %d bytes, want %d of disk, a whole number of MiB, and 512 of footer", size, disk)
	}
	if string(f.Cookie[:]) != "conectix" || f.Version != 0x10000 || f.Type != 2 || f.DataOffset != 1<<64-1 {
		t.Errorf("the footer is not that of a fixed VHD: %+v", f)
	}
	if f.Size != uint64(disk) || f.OriginalSize != uint64(disk) {
		t.Errorf("the footer says %d and %d bytes, want %d", f.Size, f.OriginalSize, disk)
	}
	sum := uint32(0)
	for i, b := range raw {
		if i < 64 || i > 67 {
			sum += uint32(b)
		}
	}
	if f.Checksum != ^sum {
		t.Errorf("the footer's checksum is %#x, want %#x", f.Checksum, ^sum)
	}
	if out, err := exec.Command("cmp", "--bytes", fmt.Sprint(disk), strings.TrimSuffix(file, ".vhd")+".raw", file).CombinedOutput(); err != nil {
		t.Errorf("the vhd does not begin with the disk: %v: %s", err, out)
	}
	if f.Reserved != [427]byte{} {
		t.Error("the reserved bytes of the footer are in use")
	}
}

// checkStamps looks for what must not come from a clock or a die.
func checkStamps(t *testing.T, c conversion) {
	t.Helper()
	f, _, _ := readFooter(t, c.path("disk.vhd"))
	if got := time.Date(2000, 1, 1, 0, 0, int(f.Timestamp), 0, time.UTC); !got.Equal(c.epoch) {
		t.Errorf("the vhd was made %s, want %s", got, c.epoch)
	}
	if got, want := hex.EncodeToString(f.UniqueID[:]), derive("vhd", []byte(c.rootHash))[:32]; got != want {
		t.Errorf("the vhd has the unique id %s, want %s", got, want)
	}
	vmdk, err := os.ReadFile(c.path("disk.vmdk"))
	if err != nil {
		t.Fatal(err)
	}
	if want := "\nCID=0" + derive("vmdk", []byte(c.rootHash))[:7] + "\nparentCID=ffffffff\n"; !bytes.Contains(vmdk[:20*512], []byte(want)) {
		t.Errorf("the vmdk's descriptor lacks %q: %s", want, vmdk[512:1024])
	}
}

// checkTarGz reads the archive with archive/tar and, where it is there, with GNU tar.
func checkTarGz(t *testing.T, dir string, size int64) {
	t.Helper()
	archive := filepath.Join(dir, "disk.raw.tar.gz")
	f, err := os.Open(archive)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	z, err := gzip.NewReader(f)
	if err != nil {
		t.Fatal(err)
	}
	if z.Name != "" || !z.ModTime.IsZero() {
		t.Errorf("the gzip header has the name %q and the time %s", z.Name, z.ModTime)
	}
	var head bytes.Buffer
	r := tar.NewReader(io.TeeReader(z, &head))
	h, err := r.Next()
	if err != nil {
		t.Fatal(err)
	}
	if h.Name != "disk.raw" || h.Size != size || h.Format != tar.FormatGNU || h.Typeflag != tar.TypeGNUSparse || h.Uid != 0 || h.Mode != 0o644 {
		t.Errorf("the member is %+v, want a sparse disk.raw of %d bytes in GNU's format", h, size)
	}
	if magic := head.Bytes()[257:265]; string(magic) != "ustar  \x00" {
		t.Errorf("the magic is %q", magic)
	}
	disk, err := os.Open(filepath.Join(dir, "disk.raw"))
	if err != nil {
		t.Fatal(err)
	}
	defer disk.Close()
	head.Reset()
	want, got := sha256.New(), sha256.New()
	if _, err := io.Copy(want, disk); err != nil {
		t.Fatal(err)
	}
	if _, err := io.Copy(got, r); err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(want.Sum(nil), got.Sum(nil)) {
		t.Error("the archive's disk.raw is not the disk")
	}
	if _, err := r.Next(); !errors.Is(err, io.EOF) {
		t.Errorf("there is more in the archive: %v", err)
	}

	out := t.TempDir()
	if text, err := exec.Command("tar", "--extract", "--gzip", "--file", archive, "--directory", out).CombinedOutput(); err != nil || len(text) > 0 {
		t.Fatalf("GNU tar: %v: %s", err, text)
	}
	if text, err := exec.Command("cmp", disk.Name(), filepath.Join(out, "disk.raw")).CombinedOutput(); err != nil {
		t.Errorf("what GNU tar extracts is not the disk: %v: %s", err, text)
	}
}

// TestSparseTar has disks that a bake does not make: empty, full, ending in a hole.
func TestSparseTar(t *testing.T) {
	for name, write := range map[string][]int64{
		"empty": nil, "at the start": {0}, "at the end": {4*mebibyte - 1}, "in the middle": {1, 2 * mebibyte}, "full": {-1},
	} {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			content := make([]byte, 4*mebibyte)
			for _, at := range write {
				if at < 0 {
					copy(content, bytes.Repeat([]byte("x"), len(content)))
				} else {
					content[at] = 'x'
				}
			}
			if err := os.WriteFile(filepath.Join(dir, "disk.raw"), content, 0o644); err != nil {
				t.Fatal(err)
			}
			if err := trialConversion(t, dir).convert(t.Context(), FormatTarGz); err != nil {
				t.Fatal(err)
			}
			checkTarGz(t, dir, int64(len(content)))
		})
	}
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, "disk.raw"), []byte("odd"), 0o644); err != nil {
		t.Fatal(err)
	}
	if err := trialConversion(t, dir).convert(t.Context(), FormatTarGz); err == nil || !strings.Contains(err.Error(), "sectors") {
		t.Errorf("a disk of 3 bytes: %v", err)
	}
}

// A disk of a TiB needs numbers that octal digits have no room for.
func TestSparseHeaderOfALargeDisk(t *testing.T) {
	const size = 1 << 40
	h := sparseHeader("disk.raw", 1_700_000_000, size, []extent{{0, 512}, {size - 512, 512}})
	text := slices.Concat(h, bytes.Repeat([]byte("x"), 1024), make([]byte, 1024))
	r := tar.NewReader(bytes.NewReader(text))
	got, err := r.Next()
	if err != nil || got.Size != size {
		t.Fatalf("the member is %+v (%v), want %d bytes", got, err, int64(size))
	}
	list := exec.Command("tar", "--list", "--verbose", "--numeric-owner")
	list.Stdin = bytes.NewReader(text)
	if out, err := list.CombinedOutput(); err != nil || !strings.Contains(string(out), "1099511627776") {
		t.Errorf("GNU tar: %v: %s", err, out)
	}
}

// What is no VHD or VMDK is not written to.
func TestSettleRefusesAnythingElse(t *testing.T) {
	dir := t.TempDir()
	c := trialConversion(t, dir)
	nonsense := bytes.Repeat([]byte("KDMV conectix "), 1000)
	for format, settle := range map[string]func(*os.File) error{FormatVHD: c.settleVHD, FormatVMDK: c.settleVMDK} {
		if err := os.WriteFile(filepath.Join(dir, diskName(format)), nonsense, 0o644); err != nil {
			t.Fatal(err)
		}
		if err := c.edit(format, settle); err == nil || !strings.Contains(err.Error(), "qemu-img wrote no") {
			t.Errorf("%s: %v", format, err)
		}
		if left, _ := os.ReadFile(filepath.Join(dir, diskName(format))); !bytes.Equal(left, nonsense) {
			t.Errorf("%s: nonsense was changed", format)
		}
	}
	for _, bad := range []string{"version=1\nCID=12", "version=1\nCID=\nparentCID=ffffffff\n", "a\nCID=1\n"} {
		if got, err := c.settleDescriptor([]byte(bad)); err == nil {
			t.Errorf("%q was taken, and gave %q", bad, got)
		}
	}
}

// qemu-img writes a small content id with fewer digits, over the descriptor with the id that it drew first: where that
// had two digits more, the last newline of the longer text stays behind the end of the shorter.
func TestSettleDescriptor(t *testing.T) {
	c := conversion{rootHash: someHash}
	want := "version=1\nCID=0" + derive("vmdk", []byte(someHash))[:7] + "\nparentCID=ffffffff\n"
	for _, id := range []string{"7771516a", "1516a", "0"} {
		descriptor := make([]byte, 512)
		copy(descriptor, "version=1\nCID=7771516a\nparentCID=ffffffff\n")
		copy(descriptor, "version=1\nCID="+id+"\nparentCID=ffffffff\n\x00")
		got, err := c.settleDescriptor(descriptor)
		if err != nil || len(got) != 512 || strings.TrimRight(string(got), "\x00") != want {
			t.Errorf("%s: got %q (%d bytes, %v), want %q", id, bytes.TrimRight(got, "\x00"), len(got), err, want)
		}
	}
}

func TestCancelledConversionEnds(t *testing.T) {
	dir := t.TempDir()
	trialDisk(t, dir, 1, false)
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := trialConversion(t, dir).convert(ctx, FormatTarGz); !errors.Is(err, context.Canceled) {
		t.Errorf("got %v", err)
	}
}
