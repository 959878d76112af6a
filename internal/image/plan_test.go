package image

import (
	"archive/tar"
	"bytes"
	"crypto/sha256"
	"debug/elf"
	"encoding/binary"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/strongroom/strongroom/internal/lock"
	"github.com/strongroom/strongroom/internal/overlay"
)

const someHash = "00112233445566778899aabbccddeefff0e1d2c3b4a5968778695a4b3c2d1e0f"

func TestPlanDisk(t *testing.T) {
	p := planDisk(someHash, 60*mebibyte+1, 4096, 1<<30)
	want := []Partition{
		{Label: "strongroom-esp", Type: typeESP, UUID: p.partitions[0].UUID, Start: 1 << 20, Size: 256 << 20},
		{Label: "strongroom-root", Type: typeRoot, UUID: "00112233-4455-6677-8899-aabbccddeeff", Start: 257 << 20, Size: 61 << 20},
		{Label: "strongroom-root-verity", Type: typeRootVerity, UUID: "f0e1d2c3-b4a5-9687-7869-5a4b3c2d1e0f", Start: 318 << 20, Size: 1 << 20},
	}
	if d := cmp.Diff(want, p.partitions); d != "" {
		t.Error(d)
	}
	for data, want := range map[int64]int64{0: 1 << 30, 1024<<20 - 320<<20: 1 << 30, 1024<<20 - 319<<20: 2 << 30, 1 << 30: 2 << 30} {
		if got := planDisk(someHash, 60*mebibyte+1, 4096, data).size; got != want {
			t.Errorf("with %d bytes of room the disk has %d bytes, want whole GiB: %d", data, got, want)
		}
	}
	if again := planDisk(someHash, 60*mebibyte+1, 4096, 1<<30); again.script() != p.script() {
		t.Error("the same sizes and root hash give two scripts")
	}
	if other := planDisk(strings.Repeat("ab", 32), 60*mebibyte+1, 4096, 1<<30); other.id == p.id {
		t.Error("two root hashes give one disk id")
	}
}

func TestDiskScript(t *testing.T) {
	p := diskPlan{id: "aaaaaaaa-0000-0000-0000-000000000000", partitions: []Partition{
		{Label: "e", Type: typeESP, UUID: "bbbbbbbb-0000-0000-0000-000000000000", Start: 1 << 20, Size: 1 << 20},
		{Label: "r", Type: typeRoot, UUID: "cccccccc-0000-0000-0000-000000000000", Start: 2 << 20, Size: 1 << 20},
	}}
	want := `label: gpt
label-id: AAAAAAAA-0000-0000-0000-000000000000
unit: sectors
sector-size: 512

start=2048, size=2048, type=C12A7328-F81F-11D2-BA4B-00A0C93EC93B, uuid=BBBBBBBB-0000-0000-0000-000000000000, name="e"
start=4096, size=2048, type=4F68BCE3-E8CD-4DB1-96E7-FBCAF984B709, uuid=CCCCCCCC-0000-0000-0000-000000000000, name="r", attrs="GUID:60"
`
	if d := cmp.Diff(want, p.script()); d != "" {
		t.Error(d)
	}
}

func TestSectionsDoNotOverlap(t *testing.T) {
	l := stubLayout{imageBase: 0x140000000, end: 0x1f234, alignment: 4096}
	placed := l.place([]section{{name: ".osrel", size: 300}, {name: ".cmdline", size: 4096}, {name: ".initrd", size: 13_571_093}, {name: ".linux", size: 9 << 20}})
	next := l.imageBase + l.end
	for _, s := range placed {
		if s.vma < next || s.vma%4096 != 0 {
			t.Errorf("%s lies at %#x, the first free page is behind %#x", s.name, s.vma, next)
		}
		next = s.vma + s.size
	}
	if placed[0].vma != 0x140020000 {
		t.Errorf(".osrel lies at %#x", placed[0].vma)
	}
	args := objcopyArgs(placed[:1], "stub", "out")
	if want := []string{"objcopy", "--preserve-dates", "--add-section", ".osrel=", "--change-section-vma", ".osrel=0x140020000", "stub", "out"}; !slices.Equal(args, want) {
		t.Errorf("got %q, want %q", args, want)
	}
}

func TestReadStubRefusesAnythingElse(t *testing.T) {
	if _, err := readStub(strings.NewReader(strings.Repeat("MZ nonsense ", 100))); err == nil {
		t.Error("nonsense was taken for a boot stub")
	}
}

func TestCommandLine(t *testing.T) {
	var b bytes.Buffer
	w := tar.NewWriter(&b)
	for name, text := range map[string]string{
		"./20-b.conf": "lockdown=confidentiality  slab_nomerge\n",
		"./10-a.conf": "# the console\nconsole=tty0\n\n  console=ttyS0",
		"./README":    "not=this\n",
	} {
		w.WriteHeader(&tar.Header{Name: name, Typeflag: tar.TypeReg, Size: int64(len(text)), Mode: 0o644})
		w.Write([]byte(text))
	}
	w.Close()
	pieces, err := commandLinePieces(&b)
	if err != nil {
		t.Fatal(err)
	}
	got := commandLine(someHash, pieces)
	want := "roothash=" + someHash + " root=/dev/mapper/root ro rootfstype=squashfs systemd.verity_root_options=panic-on-corruption " +
		"systemd.gpt_auto=no console=tty0 console=ttyS0 lockdown=confidentiality slab_nomerge"
	if got != want {
		t.Errorf("got  %s\nwant %s", got, want)
	}
}

// someLock is a lock that goodSpec fits.
func someLock() lock.File {
	f := lock.File{Schema: lock.Schema, Distribution: "debian/trixie", Snapshot: "20260131T000000Z", Epoch: 1_700_000_000,
		Asked: lock.Asked{Builder: builderPackages(goodSpec())}, Programs: []lock.Program{{Path: "/usr/bin/vault", SHA256: someHash, Size: 7}}}
	for i, name := range f.Asked.Builder {
		f.Packages = append(f.Packages, lock.Package{Name: name, Version: "1", Architecture: "amd64", SHA256: fmt.Sprintf("%064x", i), Size: 1,
			Archive: mainArchive, Path: "pool/main/" + name + "_1_amd64.deb"})
	}
	return f
}

func TestBaseKeyFollowsWhatDeterminesTheTree(t *testing.T) {
	for name, change := range map[string]func(*lock.File){
		"distribution": func(f *lock.File) { f.Distribution = "debian/bookworm" },
		"package":      func(f *lock.File) { f.Packages = f.Packages[1:] },
		"digest":       func(f *lock.File) { f.Packages[0].SHA256 = someHash },
		"epoch":        func(f *lock.File) { f.Epoch++ },
	} {
		f := someLock()
		change(&f)
		if baseKey(f) == baseKey(someLock()) {
			t.Errorf("another %s gives the same base tree", name)
		}
	}
	for name, change := range map[string]func(*lock.File){
		"order of packages": func(f *lock.File) { slices.Reverse(f.Packages) },
		"place of a file":   func(f *lock.File) { f.Packages[0].Path = "pool/x.deb" },
		"program":           func(f *lock.File) { f.Programs = nil },
		"builder":           func(f *lock.File) { f.Builder = "other" },
	} {
		f := someLock()
		change(&f)
		if baseKey(f) != baseKey(someLock()) {
			t.Errorf("another %s gives another base tree", name)
		}
	}
}

func TestAskKeyFollowsWhatTheArchiveIsAsked(t *testing.T) {
	base := goodSpec()
	base.Packages = []string{"tcpdump", "strace"}
	for name, change := range map[string]func(*Spec){
		"distribution": func(s *Spec) { s.Distribution = "debian/bookworm" },
		"mirror":       func(s *Spec) { s.Mirror = "http://example.org/debian" },
		"snapshot":     func(s *Spec) { s.Snapshot = "20260131T000000Z" },
		"packages":     func(s *Spec) { s.Packages = []string{"tcpdump"} },
		"kernel":       func(s *Spec) { s.Hardware = true },
	} {
		s := base
		change(&s)
		if askKey(s) == askKey(base) {
			t.Errorf("for another %s the archive is not asked again", name)
		}
	}
	s := base
	s.Name, s.Binaries, s.Packages = "other", nil, []string{"strace", "tcpdump", "strace"}
	if askKey(s) != askKey(base) {
		t.Error("the name, the programs or the order of packages make another question")
	}
}

func TestSources(t *testing.T) {
	lines := func(s Spec) []string {
		var out []string
		for _, line := range sources(s) {
			out = append(out, strings.Replace(line, "[signed-by="+archiveKeyring+"] ", "", 1)) // where the host has the keyring
		}
		return out
	}
	s := goodSpec()
	if d := cmp.Diff([]string{
		"deb http://deb.debian.org/debian trixie main",
		"deb http://deb.debian.org/debian trixie-updates main",
		"deb http://security.debian.org/debian-security trixie-security main",
	}, lines(s)); d != "" {
		t.Error(d)
	}
	s.Mirror = "http://mirror.example.org/debian/"
	if d := cmp.Diff([]string{"deb http://mirror.example.org/debian trixie main"}, sources(s)); d != "" {
		t.Error(d)
	}
	s.Mirror, s.Snapshot = "", "20260131T000000Z"
	if d := cmp.Diff([]string{
		"deb http://snapshot.debian.org/archive/debian/20260131T000000Z trixie main",
		"deb http://snapshot.debian.org/archive/debian/20260131T000000Z trixie-updates main",
		"deb http://snapshot.debian.org/archive/debian-security/20260131T000000Z trixie-security main",
	}, lines(s)); d != "" {
		t.Error(d)
	}
}

func TestBootstrapArgs(t *testing.T) {
	args := bootstrapArgs("debian/trixie", someLock().Packages, "/a cache/pool", "/somewhere/tree")
	if d := cmp.Diff([]string{"trixie", "/somewhere/tree", "deb [trusted=yes] copy:///a%20cache/pool trixie main"}, args[len(args)-3:]); d != "" {
		t.Error(d)
	}
	if !slices.Contains(args, "--include="+strings.Join(builderPackages(goodSpec()), ",")) {
		t.Errorf("not every package of the lock is named: %q", args)
	}
}

func TestExplainArchive(t *testing.T) {
	for said, want := range map[string]string{
		"E: Unable to locate package frobnicate":                                            "package frobnicate is not in the archive",
		"E: Package 'frobnicate' has no installation candidate":                             "package frobnicate is not in the archive",
		"E: Version '2:3' for 'frobnicate' was not found":                                   "package frobnicate is not in the archive",
		"Err:1 http://nowhere.invalid/debian trixie InRelease; Could not resolve 'nowhere'": "cannot reach the package archive",
		"E: something else": "apt-get: exit status 1: E: something else",
	} {
		err := explainArchive(&toolError{Tool: "apt-get", Output: said, Err: errors.New("exit status 1")}, goodSpec())
		if !strings.HasPrefix(err.Error(), want) {
			t.Errorf("apt said %q, the error is %q", said, err)
		}
	}
}

func TestPackages(t *testing.T) {
	got, err := parsePackages("zlib1g:amd64\t1:1.3\tamd64\tzlib\t1:1.3\nacpid\t1\tamd64\tacpid\t1\n")
	if err != nil {
		t.Fatal(err)
	}
	want := []Package{
		{Name: "acpid", Version: "1", Architecture: "amd64", Source: "acpid", SourceVersion: "1"},
		{Name: "zlib1g", Version: "1:1.3", Architecture: "amd64", Source: "zlib", SourceVersion: "1:1.3"},
	}
	if d := cmp.Diff(want, got); d != "" {
		t.Error(d)
	}
	if _, err := parsePackages("acpid 1 amd64\n"); err == nil {
		t.Error("a table without columns was read")
	}
	if !sealedAway("dpkg", nil) || sealedAway("systemd", nil) || sealedAway("cpio", []string{"cpio=1"}) {
		t.Error("the wrong packages are sealed away")
	}
}

func TestPathsOnlyIn(t *testing.T) {
	sealed := "/.\n/usr\n/usr/bin\n/usr/bin/dpkg\n/usr/share/dpkg\n/usr/share/dpkg/table\n\n/.\n/usr\n/usr/bin/apt\ndiverted by x to: /usr/bin/y\n"
	kept := "/.\n/usr\n/usr/bin\n/usr/bin/cat\n"
	want := []string{"/usr/share/dpkg/table", "/usr/share/dpkg", "/usr/bin/dpkg", "/usr/bin/apt"}
	if got := pathsOnlyIn(sealed, kept); !slices.Equal(got, want) {
		t.Errorf("got %q, want %q", got, want)
	}
}

func TestOSRelease(t *testing.T) {
	got := osRelease("ID=debian\nIMAGE_VERSION=0\nVERSION_ID=13", "node", "7")
	if want := "ID=debian\nVERSION_ID=13\nIMAGE_ID=node\nIMAGE_VERSION=7\n"; got != want {
		t.Errorf("got %q, want %q", got, want)
	}
}

func TestOneKernel(t *testing.T) {
	if got, err := oneKernel("6.12.1-cloud-amd64\n"); err != nil || got != "6.12.1-cloud-amd64" {
		t.Error(got, err)
	}
	for _, listing := range []string{"", "6.1\n6.12\n"} {
		if got, err := oneKernel(listing); err == nil {
			t.Errorf("%q gave the kernel %q", listing, got)
		}
	}
}

func TestStatedEntries(t *testing.T) {
	var tree overlay.Tree
	for _, f := range []overlay.Fragment{overlay.File("/root/notes", "x"), overlay.Directory("/etc/vault.d", 0o750)} {
		if err := tree.Add("test", f); err != nil {
			t.Fatal(err)
		}
	}
	archive, err := statedEntries(&tree)
	if err != nil {
		t.Fatal(err)
	}
	var names []string
	for r := tar.NewReader(bytes.NewReader(archive)); ; {
		h, err := r.Next()
		if err != nil {
			break
		}
		names = append(names, h.Name)
	}
	if want := []string{"etc/vault.d/", "root/notes"}; !slices.Equal(names, want) {
		t.Errorf("got %q, want %q: /root would lose its mode", names, want)
	}
}

func TestHasSubordinateIDs(t *testing.T) {
	for text, want := range map[string]bool{
		"alice:100000:65536\n":                    true,
		"1000:100000:65536\n":                     true,
		"bob:100000:65536\nalice:165536:65536":    true,
		"alice:100000:1000\nalice:200000:65536\n": false, // unshare maps the first range
		"bob:100000:65536\n":                      false,
		"alice:100000\n":                          false,
		"":                                        false,
	} {
		if got := hasSubordinateIDs(text, "alice", "1000"); got != want {
			t.Errorf("%q: %v, want %v", text, got, want)
		}
	}
}

func TestInspectBinary(t *testing.T) {
	dir := t.TempDir()
	self, err := os.ReadFile("/proc/self/exe")
	if err != nil {
		t.Fatal(err)
	}
	write := func(name string, content []byte) string {
		p := filepath.Join(dir, name)
		if err := os.WriteFile(p, content, 0o755); err != nil {
			t.Fatal(err)
		}
		return p
	}
	program := write("amd64", self)
	foreign := slices.Clone(self)
	binary.LittleEndian.PutUint16(foreign[18:], uint16(elf.EM_AARCH64)) // e_machine
	good, err := inspectBinary(Binary{Source: program, Path: "/usr/bin/x"})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := inspectBinary(Binary{Source: program, Path: "/usr/bin/x", SHA256: strings.ToUpper(good.SHA256)}); err != nil {
		t.Errorf("its own checksum is refused: %v", err)
	}
	for want, b := range map[string]Binary{
		"has SHA-256 " + good.SHA256 + ", want " + someHash: {Source: program, SHA256: someHash},
		"for EM_AARCH64":                        {Source: write("arm64", foreign)},
		"not an ELF program":                    {Source: write("script", []byte("#!/bin/sh\n"))},
		"cannot read the binary for /usr/bin/x": {Source: filepath.Join(dir, "missing")},
	} {
		b.Path = "/usr/bin/x"
		if _, err := inspectBinary(b); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("got %v, want %q", err, want)
		}
	}
}

func TestCopySparse(t *testing.T) {
	content := append(make([]byte, 3*mebibyte), []byte("end")...)
	content[mebibyte] = 1
	out, err := os.Create(filepath.Join(t.TempDir(), "copy"))
	if err != nil {
		t.Fatal(err)
	}
	defer out.Close()
	size, sum, err := copySparse(t.Context(), out, bytes.NewReader(content))
	if err != nil {
		t.Fatal(err)
	}
	got, err := os.ReadFile(out.Name())
	if err != nil || !bytes.Equal(got, content) || size != int64(len(content)) {
		t.Errorf("copied %d bytes, %v, equal: %v", size, err, bytes.Equal(got, content))
	}
	if want := fmt.Sprintf("%x", sha256.Sum256(content)); sum != want {
		t.Errorf("digest %s, want %s", sum, want)
	}
}

func TestArchivesBeginWhereTheKernelLooks(t *testing.T) {
	files, err := os.OpenRoot(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	defer files.Close()
	var out bytes.Buffer
	for name, text := range map[string]string{"five": "12345", "four": "abcd"} {
		if err := files.WriteFile(name, []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	for _, name := range []string{"five", "four"} {
		if err := appendArchive(&out, files, name); err != nil {
			t.Fatal(err)
		}
	}
	if got, want := out.String(), "12345\x00\x00\x00abcd"; got != want {
		t.Errorf("joined %q, want %q", got, want)
	}
}
