package inspect_test

import (
	"bytes"
	"crypto/x509"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/strongroom/strongroom/hardening"
	"github.com/strongroom/strongroom/internal/baseline"
	"github.com/strongroom/strongroom/internal/control"
	"github.com/strongroom/strongroom/internal/inspect"
	"github.com/strongroom/strongroom/internal/measure/measuretest"
	"github.com/strongroom/strongroom/internal/secureboot"
	"github.com/strongroom/strongroom/internal/secureboot/secureboottest"
)

// synthetic is an image as a bake makes it, with next to nothing in it: the same tools, the same layout, a root of a few files
// and a kernel that nothing can start.
type synthetic struct {
	dir         string
	disk        string
	rootHash    string
	baseline    *baseline.Baseline
	kernel      []byte
	certificate *x509.Certificate
	at, size    map[string]int64 // of the partitions "esp", "root", "verity", in bytes
}

const mebibyte = 1 << 20

// recipe is what two synthetic images differ in.
type recipe struct {
	version  string
	unsigned bool
	edit     func(t testing.TB, tree string) // changes the tree before it is packed
	kernel   func(program []byte) []byte     // changes the kernel before it is signed
	identity *secureboot.Identity
}

func run(t testing.TB, stdin string, argv ...string) string {
	t.Helper()
	cmd := exec.Command(argv[0], argv[1:]...)
	cmd.Stdin = strings.NewReader(stdin)
	cmd.Env = append(os.Environ(), "PATH=/usr/sbin:/sbin:"+os.Getenv("PATH"), "MTOOLS_SKIP_CHECK=1", "TZ=UTC", "SOURCE_DATE_EPOCH=1767225600", "LC_ALL=C")
	out, err := cmd.CombinedOutput()
	if err != nil {
		t.Fatalf("%s: %v: %s", strings.Join(argv, " "), err, out)
	}
	return string(out)
}

func identity(t testing.TB) *secureboot.Identity {
	t.Helper()
	key := secureboottest.Key(t, 2048)
	id, err := secureboot.New(key, secureboottest.Certificate(t, key), secureboottest.Epoch)
	if err != nil {
		t.Fatal(err)
	}
	return &id
}

// statement is a small baseline whose files are in the tree: those controls of the catalogue that are about sysctls alone.
func statement(t testing.TB) *baseline.Baseline {
	t.Helper()
	catalogue, err := hardening.Load()
	if err != nil {
		t.Fatal(err)
	}
	b, err := catalogue.Compile(control.Profile{Server: "vault", Platform: "vm", Layout: "sealed", Distribution: "debian/trixie"})
	if err != nil {
		t.Fatal(err)
	}
	b.Controls = slices.DeleteFunc(b.Controls, func(c control.Control) bool {
		return slices.ContainsFunc(c.Resources, func(r control.Resource) bool { return r.Key().Kind != "sysctl" })
	})
	if len(b.Controls) == 0 {
		t.Fatal("no control is about sysctls alone")
	}
	b.Guide.Items = nil
	for i := range b.Controls {
		b.Controls[i].Guide = nil
	}
	return b
}

func build(t testing.TB, r recipe) *synthetic {
	t.Helper()
	s := &synthetic{dir: t.TempDir(), at: map[string]int64{}, size: map[string]int64{}, baseline: statement(t)}
	tree := filepath.Join(s.dir, "tree")
	release := fmt.Sprintf("PRETTY_NAME=\"Synthetic\"\nIMAGE_ID=synthetic\nIMAGE_VERSION=%s\n", r.version)
	put(t, tree, "usr/lib/os-release", release)
	put(t, tree, "usr/lib/modules/6.12.0/modules.dep", "")
	put(t, tree, "usr/bin/vault", strings.Repeat("a program that is longer than a block\n", 10000))
	put(t, tree, "usr/lib/systemd/system/api.socket", "[Socket]\nListenStream=8200\n")
	put(t, tree, "var/lib/dpkg/status", "Package: libc6\nStatus: install ok installed\nVersion: 2.41-1\n\nPackage: gone\nStatus: deinstall ok config-files\nVersion: 1\n")
	if err := os.MkdirAll(filepath.Join(tree, "etc/systemd/system/sockets.target.wants"), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink("/usr/lib/systemd/system/api.socket", filepath.Join(tree, "etc/systemd/system/sockets.target.wants/api.socket")); err != nil {
		t.Fatal(err)
	}
	for _, c := range s.baseline.Controls {
		for _, res := range c.Resources {
			fragments, err := res.Render(s.baseline.Profile)
			if err != nil {
				t.Fatal(err)
			}
			for _, f := range fragments {
				put(t, tree, f.Path, string(f.Content))
			}
		}
	}
	text, err := s.baseline.JSON()
	if err != nil {
		t.Fatal(err)
	}
	put(t, tree, baseline.Path, string(text))
	if r.edit != nil {
		r.edit(t, tree)
	}
	squash, verity, uki := filepath.Join(s.dir, "root.squashfs"), filepath.Join(s.dir, "root.verity"), filepath.Join(s.dir, "linux.efi")
	run(t, "", "mksquashfs", tree, squash, "-noappend", "-no-progress", "-quiet", "-no-xattrs", "-all-root", "-comp", "zstd", "-b", "128K")
	info, err := os.Stat(squash)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.Truncate(squash, (info.Size()+4095)/4096*4096); err != nil {
		t.Fatal(err)
	}
	out := run(t, "", "veritysetup", "format", "--salt="+strings.Repeat("5a", 32), "--uuid=11111111-2222-3333-4444-555555555555", squash, verity)
	s.rootHash = regexp.MustCompile(`Root hash:\s*([0-9a-f]{64})`).FindStringSubmatch(out)[1]

	s.kernel = measuretest.Program(measuretest.Stub("257.13-1~deb13u1"), measuretest.Section{Name: ".text", Data: []byte("code")},
		measuretest.Section{Name: ".osrel", Data: []byte(release)},
		measuretest.Section{Name: ".cmdline", Data: []byte("roothash=" + s.rootHash + " ro")},
		measuretest.Section{Name: ".uname", Data: []byte("6.12.0")},
		measuretest.Section{Name: ".initrd", Data: bytes.Repeat([]byte("initrd"), 5000)},
		measuretest.Section{Name: ".linux", Data: bytes.Repeat([]byte("kernel"), 50000)})
	if r.kernel != nil {
		s.kernel = r.kernel(s.kernel)
	}
	if !r.unsigned {
		if r.identity == nil {
			r.identity = identity(t)
		}
		s.certificate = r.identity.Certificate()
		var signed bytes.Buffer
		if err := r.identity.SignProgram(&signed, bytes.NewReader(s.kernel)); err != nil {
			t.Fatal(err)
		}
		s.kernel = signed.Bytes()
	}
	if err := os.WriteFile(uki, s.kernel, 0o644); err != nil {
		t.Fatal(err)
	}
	s.makeDisk(t, squash, verity, uki)
	return s
}

func put(t testing.TB, tree, name, content string) {
	t.Helper()
	name = filepath.Join(tree, name)
	if err := os.MkdirAll(filepath.Dir(name), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(name, []byte(content), 0o644); err != nil {
		t.Fatal(err)
	}
}

func (s *synthetic) makeDisk(t testing.TB, squash, verity, uki string) {
	t.Helper()
	s.disk = filepath.Join(s.dir, "disk.raw")
	uuid := func(h string) string {
		return h[:8] + "-" + h[8:12] + "-" + h[12:16] + "-" + h[16:20] + "-" + h[20:32]
	}
	next := int64(mebibyte)
	script := "label: gpt\nlabel-id: AAAAAAAA-0000-4000-8000-000000000000\nunit: sectors\n\n"
	for _, p := range []struct{ name, label, kind, uuid, file string }{
		{"esp", "strongroom-esp", "C12A7328-F81F-11D2-BA4B-00A0C93EC93B", "BBBBBBBB-0000-4000-8000-000000000000", ""},
		{"root", "strongroom-root", "4F68BCE3-E8CD-4DB1-96E7-FBCAF984B709", uuid(s.rootHash[:32]), squash},
		{"verity", "strongroom-root-verity", "2C7357ED-EBD2-46D9-AEC1-23D437EC2BF5", uuid(s.rootHash[32:]), verity},
	} {
		size := int64(36 * mebibyte)
		if p.file != "" {
			info, err := os.Stat(p.file)
			if err != nil {
				t.Fatal(err)
			}
			size = (info.Size() + mebibyte - 1) / mebibyte * mebibyte
		}
		s.at[p.name], s.size[p.name] = next, size
		script += fmt.Sprintf("start=%d, size=%d, type=%s, uuid=%s, name=\"%s\"\n", next/512, size/512, p.kind, strings.ToUpper(p.uuid), p.label)
		next += size
	}
	if err := os.WriteFile(s.disk, nil, 0o644); err != nil {
		t.Fatal(err)
	}
	if err := os.Truncate(s.disk, next+2*mebibyte); err != nil {
		t.Fatal(err)
	}
	run(t, script, "sfdisk", "--quiet", "--no-reread", "--no-tell-kernel", s.disk)
	run(t, "", "mkfs.vfat", "--invariant", "-F", "32", "-s", "1", "-S", "512", "-n", "STRONGROOM", "--offset", fmt.Sprint(s.at["esp"]/512), s.disk, fmt.Sprint(s.size["esp"]/1024))
	image := fmt.Sprintf("%s@@%d", s.disk, s.at["esp"])
	run(t, "", "mmd", "-i", image, "::/EFI", "::/EFI/BOOT")
	run(t, "", "mcopy", "-i", image, uki, "::/EFI/BOOT/BOOTX64.EFI")
	for name, file := range map[string]string{"root": squash, "verity": verity} {
		content, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		s.write(t, s.at[name], content)
	}
}

// write changes bytes of the disk and gives those that were there.
func (s *synthetic) write(t testing.TB, at int64, b []byte) []byte {
	t.Helper()
	f, err := os.OpenFile(s.disk, os.O_RDWR, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	old := make([]byte, len(b))
	if _, err := f.ReadAt(old, at); err != nil {
		t.Fatal(err)
	}
	if _, err := f.WriteAt(b, at); err != nil {
		t.Fatal(err)
	}
	return old
}

// find is the byte of the disk at which something is, from a partition on.
func (s *synthetic) find(t testing.TB, partition, what string) int64 {
	t.Helper()
	b := make([]byte, s.size[partition])
	f, err := os.Open(s.disk)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	if _, err := f.ReadAt(b, s.at[partition]); err != nil {
		t.Fatal(err)
	}
	i := bytes.Index(b, []byte(what))
	if i < 0 {
		t.Fatalf("%q is not in %s", what, partition)
	}
	return s.at[partition] + int64(i)
}

func (s *synthetic) options() inspect.Options {
	var o inspect.Options
	if s.certificate != nil {
		o.Certificates = []*x509.Certificate{s.certificate}
	}
	return o
}

func look(t testing.TB, path string, o inspect.Options) *inspect.Inspection {
	t.Helper()
	i, err := inspect.Inspect(t.Context(), path, o)
	if err != nil {
		t.Fatal(err)
	}
	return i
}

// bad lists the checks with a verdict, as "id: where: says".
func bad(i *inspect.Inspection, v inspect.Verdict) []string {
	var out []string
	for _, c := range i.Checks {
		if c.Verdict == v {
			out = append(out, c.ID+": "+c.Where+": "+c.Says)
		}
	}
	return out
}

func pemOf(c *x509.Certificate) []byte { return secureboottest.CertificatePEM(c) }
