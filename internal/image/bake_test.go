//go:build bake

package image

import (
	"bytes"
	"context"
	"crypto/sha256"
	"debug/elf"
	"debug/pe"
	"encoding/hex"
	"encoding/json"
	"errors"
	"io"
	"io/fs"
	"log/slog"
	"os"
	"os/exec"
	"path"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/cavaliergopher/cpio"
	"github.com/google/go-cmp/cmp"
	"github.com/klauspost/compress/zstd"

	"github.com/strongroom/strongroom/internal/lock"
	"github.com/strongroom/strongroom/internal/netboot"
	"github.com/strongroom/strongroom/internal/overlay"
)

// smallOverlay is the least that boots.
func smallOverlay(t *testing.T) *overlay.Tree {
	t.Helper()
	tree := new(overlay.Tree)
	for _, f := range []overlay.Fragment{
		overlay.File("/usr/lib/strongroom/cmdline.d/20-machine-id.conf", "systemd.machine_id=firmware\n"),
		overlay.File("/usr/lib/strongroom/cmdline.d/10-console.conf", "# both\nconsole=tty0\nconsole=ttyS0\n"),
		overlay.File("/etc/fstab", "tmpfs /var tmpfs mode=0755 0 0\n"),
		overlay.Symlink("/etc/resolv.conf", "/run/systemd/resolve/resolv.conf"),
		overlay.File("/usr/lib/sysusers.d/vault.conf", "u vault - \"Vault\" /var/lib/vault\n"),
		overlay.File("/usr/lib/strongroom/apparmor/trial.profile", "profile trial /usr/bin/trial {\n  network inet stream,\n  /etc/** r,\n}\n"),
		overlay.File("/lib/strongroom/through-a-link", "lib stays a link\n"),
	} {
		if err := tree.Add("test", f); err != nil {
			t.Fatal(err)
		}
	}
	return tree
}

// sharedCache is the cache that bakes outside of tests use too: what is in it depends on its key alone.
func sharedCache(t *testing.T) string {
	t.Helper()
	dir, err := UserCache()
	if err != nil {
		t.Skip(err)
	}
	return filepath.Join(dir, "image")
}

func smallSpec(t *testing.T) Spec {
	t.Helper()
	return signed(t, Spec{
		Name: "trial", Version: "1", Distribution: "debian/trixie", Overlay: smallOverlay(t),
		Formats: Formats(), Netboot: Netboot{DataDisk: "id:virtio-data"}, DataSize: 64 * mebibyte, Epoch: time.Unix(1_700_000_000, 0).UTC(),
		OutputDir: filepath.Join(t.TempDir(), "out"), CacheDir: sharedCache(t),
	})
}

func open(t *testing.T, spec Spec) *Assembly {
	t.Helper()
	var level slog.Level
	if os.Getenv(childVariable) != "" {
		level = slog.LevelDebug // what tools say is all that another test sees of them
	}
	a, err := New(spec, slog.New(slog.NewTextHandler(t.Output(), &slog.HandlerOptions{Level: level})))
	if err != nil {
		t.Fatal(err, Hint(err))
	}
	t.Cleanup(func() {
		if err := a.Close(); err != nil {
			t.Error(err)
		}
	})
	return a
}

func run(t *testing.T, a *Assembly) error {
	t.Helper()
	for _, step := range []func(context.Context) error{
		a.BaseTree, a.ApplyOverlay, a.Seal, a.LeakGate, a.RootFilesystem, a.Verity, a.Initrd, a.UnifiedKernel, a.Disk, a.Convert, a.Manifest, a.Publish,
	} {
		if err := step(t.Context()); err != nil {
			return err
		}
	}
	return nil
}

func bake(t *testing.T, spec Spec) Result {
	t.Helper()
	a := open(t, spec)
	if err := run(t, a); err != nil {
		t.Fatal(err, Hint(err))
	}
	return a.Result()
}

func TestBake(t *testing.T) {
	for _, distribution := range Distributions() {
		t.Run(distribution, func(t *testing.T) {
			spec := smallSpec(t)
			spec.Distribution = distribution
			first := bake(t, spec)
			for _, s := range first.Steps {
				t.Logf("%-22s %6.2f s", s.Step, s.Duration.Seconds())
			}
			t.Run("artifacts", func(t *testing.T) { checkArtifacts(t, first) })
			t.Run("disk", func(t *testing.T) { checkDisk(t, first) })
			t.Run("root", func(t *testing.T) { checkRoot(t, first, spec.CacheDir) })
			t.Run("netboot", func(t *testing.T) { checkNetboot(t, first) })
			t.Run("lock", func(t *testing.T) { checkLocked(t, first) })
			t.Run("same bytes again", func(t *testing.T) {
				again := smallSpec(t)
				again.Distribution = distribution
				second := bake(t, again)
				if !second.BaseCached {
					t.Error("the second bake did not start from the cached base tree")
				}
				if d := cmp.Diff(first.Files, second.Files) + cmp.Diff(first.Beside, second.Beside); d != "" {
					t.Errorf("two bakes from one base differ: %s", d)
				}
				if d := cmp.Diff(first.Netboot, second.Netboot); d != "" {
					t.Errorf("two netboot bundles from one base differ: %s", d)
				}
			})
			if left, _ := os.ReadDir(filepath.Dir(spec.OutputDir)); len(left) != 1 {
				t.Errorf("beside the output directory there is more: %v", left)
			}
		})
	}
}

func checkArtifacts(t *testing.T, r Result) {
	for _, f := range r.Files {
		in, err := os.Open(filepath.Join(r.Dir, f.Name))
		if err != nil {
			t.Fatal(err)
		}
		defer in.Close()
		h := sha256.New()
		n, err := io.Copy(h, in)
		if err != nil {
			t.Fatal(err)
		}
		if f.Format == "" || f.Name != "disk."+f.Format || f.VirtualSize != r.Files[0].Size {
			t.Errorf("the manifest's entry %+v does not describe the disk of %d bytes", f, r.Files[0].Size)
		}
		if got := hex.EncodeToString(h.Sum(nil)); got != f.SHA256 || n != f.Size {
			t.Errorf("%s is %d bytes with SHA-256 %s, the result says %d and %s", f.Name, n, got, f.Size, f.SHA256)
		}
	}
	text, err := os.ReadFile(filepath.Join(r.Dir, ManifestName))
	if err != nil {
		t.Fatal(err)
	}
	var m struct {
		Schema   string
		RootHash string `json:"root_hash"`
		Packages []Package
	}
	if err := json.Unmarshal(text, &m); err != nil {
		t.Fatal(err)
	}
	if m.Schema != ManifestSchema || m.RootHash != r.RootHash || len(m.Packages) < 50 {
		t.Errorf("manifest has schema %q, root hash %q and %d packages", m.Schema, m.RootHash, len(m.Packages))
	}
	for _, p := range m.Packages {
		if p.Name == "dpkg" && !p.Sealed || p.Name == "systemd" && (p.Sealed || p.Version == "" || p.Source != "systemd") {
			t.Errorf("wrong entry %+v", p)
		}
	}
	if want := "console=tty0 console=ttyS0 systemd.machine_id=firmware"; !strings.HasSuffix(r.CommandLine, want) {
		t.Errorf("command line %q does not end in the overlay's pieces %q", r.CommandLine, want)
	}
}

// checkDisk reads the disk with tools that did not write it: veritysetup verifies, mtools reads back.
func checkDisk(t *testing.T, r Result) {
	raw := filepath.Join(r.Dir, "disk.raw")
	tool(t, "sfdisk", "--verify", raw)
	root, hashes := extract(t, r, 1), extract(t, r, 2)
	tool(t, "veritysetup", "verify", root, hashes, r.RootHash)
	uki := filepath.Join(t.TempDir(), "uki")
	tool(t, "mcopy", "-i", raw+"@@"+strconv.FormatInt(r.Partitions[0].Start, 10), "::/EFI/BOOT/BOOTX64.EFI", uki)
	program, err := pe.Open(uki)
	if err != nil {
		t.Fatal(err)
	}
	defer program.Close()
	line, err := program.Section(".cmdline").Data()
	if err != nil {
		t.Fatal(err)
	}
	if got := strings.TrimRight(string(line), "\x00"); got != r.CommandLine {
		t.Errorf("the unified kernel image has the command line %q, want %q", got, r.CommandLine)
	}
	if !strings.Contains(r.CommandLine, "roothash="+r.RootHash) {
		t.Errorf("command line %q lacks the root hash", r.CommandLine)
	}
	esp := extract(t, r, 0)
	tool(t, "fsck.vfat", "-n", esp)
	checkFormats(t, r.Dir)
}

// checkLocked reads the lock beside the image, and finds every package of the image in it.
func checkLocked(t *testing.T, r Result) {
	f, err := lock.Read(filepath.Join(r.Dir, r.Lock.Path))
	if err != nil {
		t.Fatal(err)
	}
	if f.Digest() != r.Lock.SHA256 {
		t.Errorf("the manifest says the lock is %s, it is %s", r.Lock.SHA256, f.Digest())
	}
	for _, p := range r.Packages {
		if locked, ok := f.Find(p.Name); !ok || locked.Version != p.Version {
			t.Errorf("package %s %s of the image: the lock has %q", p.Name, p.Version, locked.Version)
		}
	}
	if len(f.Packages) != len(r.Packages) {
		t.Errorf("%d packages are locked, %d are in the image", len(f.Packages), len(r.Packages))
	}
}

// checkNetboot reads the bundle as a server does, and its unified kernel image as firmware does.
func checkNetboot(t *testing.T, r Result) {
	dir := filepath.Join(r.Dir, FormatNetboot)
	m, err := netboot.Verify(t.Context(), os.DirFS(dir))
	if err != nil {
		t.Fatal(err)
	}
	if m.RootHash != r.RootHash || !strings.HasPrefix(m.CommandLine, r.CommandLine+" ") || !strings.HasSuffix(m.CommandLine, " strongroom.data_disk=id:virtio-data") {
		t.Errorf("root hash %s and command line %q, the disk has %s and %q", m.RootHash, m.CommandLine, r.RootHash, r.CommandLine)
	}
	files := map[netboot.Role][]byte{}
	for _, f := range m.Files {
		if files[f.Role], err = os.ReadFile(filepath.Join(dir, f.Name)); err != nil {
			t.Fatal(err)
		}
	}
	program, err := pe.NewFile(bytes.NewReader(files[netboot.UnifiedKernel]))
	if err != nil {
		t.Fatal(err)
	}
	section := func(name string) []byte {
		content, err := program.Section(name).Data()
		if err != nil {
			t.Fatal(err)
		}
		return content[:program.Section(name).VirtualSize]
	}
	if got := string(section(".cmdline")); got != m.CommandLine {
		t.Errorf("the unified kernel image has the command line %q, want %q", got, m.CommandLine)
	}
	if initrd := section(".initrd"); !bytes.HasPrefix(initrd, files[netboot.Initrd]) || !bytes.Contains(initrd[len(initrd)-len(files[netboot.Root])-4:], files[netboot.Root]) {
		t.Error("the initrd of the unified kernel image is not the two archives beside it")
	}
	if !bytes.Equal(section(".linux"), files[netboot.Kernel]) {
		t.Error("the kernel of the unified kernel image is not the one beside it")
	}
	checkInitrd(t, files[netboot.Initrd])
}

// checkInitrd asks that there is no shell to fall into, and nothing that makes units of words of the command line or of credentials.
func checkInitrd(t *testing.T, initrd []byte) {
	unpacked, err := zstd.NewReader(bytes.NewReader(initrd))
	if err != nil {
		t.Fatal(err)
	}
	defer unpacked.Close()
	found := map[string]bool{}
	for archive := cpio.NewReader(unpacked); ; {
		h, err := archive.Next()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			t.Fatal(err)
		}
		switch name := path.Base(h.Name); name {
		case "sh", "dash", "bash", "busybox", "sulogin", "debug-shell.service", "systemd-debug-generator", "systemd-run-generator":
			t.Errorf("the initrd has %s", h.Name)
		default:
			found[name] = true
		}
	}
	for _, name := range []string{"systemd", "systemd-veritysetup", "mount", "losetup", "modprobe"} {
		if !found[name] {
			t.Errorf("the initrd has no %s", name)
		}
	}
}

// extract copies a partition out of the disk.
func extract(t *testing.T, r Result, i int) string {
	t.Helper()
	disk, err := os.Open(filepath.Join(r.Dir, "disk.raw"))
	if err != nil {
		t.Fatal(err)
	}
	defer disk.Close()
	out, err := os.Create(filepath.Join(t.TempDir(), "partition"))
	if err != nil {
		t.Fatal(err)
	}
	defer out.Close()
	if _, err := io.Copy(out, io.NewSectionReader(disk, r.Partitions[i].Start, r.Partitions[i].Size)); err != nil {
		t.Fatal(err)
	}
	return out.Name()
}

func tool(t *testing.T, argv ...string) string {
	t.Helper()
	cmd := exec.Command(argv[0], argv[1:]...)
	cmd.Env = append(os.Environ(), "PATH="+toolPath)
	out, err := cmd.CombinedOutput()
	if err != nil {
		t.Fatalf("%s: %v: %s", argv[0], err, out)
	}
	return string(out)
}

// checkRoot looks at the sealed tree as it is in the image.
func checkRoot(t *testing.T, r Result, cacheDir string) {
	tree := filepath.Join(t.TempDir(), "tree")
	tool(t, "unsquashfs", "-quiet", "-no-progress", "-dest", tree, extract(t, r, 1))
	for _, gone := range []string{"usr/bin/dpkg", "usr/bin/apt", "usr/bin/perl", "usr/sbin/sshd", "usr/bin/dbus-daemon",
		"usr/bin/passwd", "usr/bin/dracut", "usr/sbin/apparmor_parser", "etc/apparmor.d", "boot", "usr/share/doc", "usr/share/man", "etc/apt", "etc/init.d"} {
		if _, err := os.Lstat(filepath.Join(tree, gone)); !errors.Is(err, fs.ErrNotExist) {
			t.Errorf("/%s is in the image (%v)", gone, err)
		}
	}
	for _, empty := range []string{"dev", "efi", "proc", "run", "sys", "tmp", "var"} {
		left, err := os.ReadDir(filepath.Join(tree, empty))
		if err != nil || len(left) > 0 {
			t.Errorf("/%s is no empty mount point: %v, %v", empty, left, err)
		}
	}
	if id, err := os.ReadFile(filepath.Join(tree, "etc/machine-id")); err != nil || len(id) > 0 {
		t.Errorf("/etc/machine-id is %q, %v, want an empty file", id, err)
	}
	if policy, err := os.ReadFile(filepath.Join(tree, "usr/lib/strongroom/apparmor/trial.policy")); err != nil || len(policy) < 1000 || !bytes.Contains(policy, []byte("trial")) {
		t.Errorf("the AppArmor profile is not compiled: %d bytes, %v", len(policy), err)
	}
	if lib, err := os.Readlink(filepath.Join(tree, "lib")); err != nil || lib != "usr/lib" {
		t.Errorf("the overlay replaced the link /lib: %q, %v", lib, err)
	}
	release, _ := os.ReadFile(filepath.Join(tree, "usr/lib/os-release"))
	if !strings.Contains(string(release), "\nIMAGE_ID=trial\nIMAGE_VERSION=1\n") {
		t.Errorf("os-release does not name the image: %s", release)
	}
	if passwd, _ := os.ReadFile(filepath.Join(tree, "etc/passwd")); !strings.Contains(string(passwd), "\nvault:") {
		t.Error("sysusers.d of the overlay made no account")
	}
	checkTrust(t, r, tree)
	checkNoDay(t, tree)
	checkBill(t, r, tree)

	have := map[string]bool{}
	need := map[string][]string{}
	err := filepath.WalkDir(tree, func(p string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		have[d.Name()] = true
		if !d.Type().IsRegular() {
			return nil
		}
		st, err := d.Info()
		if err != nil {
			return err
		}
		if st.Mode()&(fs.ModeSetuid|fs.ModeSetgid) != 0 {
			t.Errorf("%s has the mode %s", p, st.Mode())
		}
		e, err := elf.Open(p)
		if err != nil {
			return nil // not a program
		}
		defer e.Close()
		libraries, _ := e.ImportedLibraries()
		for _, l := range libraries {
			need[l] = append(need[l], strings.TrimPrefix(p, tree))
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	had := map[string]bool{} // before the seal; an optional plug-in may lack its library from the start
	for name := range strings.Lines(tool(t, "tar", "--list", "--file", filepath.Join(cacheDir, "base-"+r.BaseKey+".tar"))) {
		had[filepath.Base(strings.TrimSpace(name))] = true
	}
	for l, by := range need {
		if had[l] && !have[l] {
			t.Errorf("sealing took the library %s that %s needs", l, strings.Join(by, ", "))
		}
	}
}

const childVariable = "STRONGROOM_IMAGE_TEST_CHILD"

// unsigned leaves out the keys: every process of the tests makes its own.
func unsigned(spec Spec) Spec {
	spec.SecureBoot, spec.PolicyKey = nil, nil
	return spec
}

// TestChildBake is what other tests start as a process of its own.
func TestChildBake(t *testing.T) {
	if os.Getenv(childVariable) == "" {
		t.Skip("started by other tests")
	}
	spec := unsigned(smallSpec(t))
	if out := os.Getenv("OUTPUT_DIR"); out != "" {
		spec.OutputDir = out
	}
	spec.LockFile = os.Getenv("LOCK_FILE")
	for _, f := range bake(t, spec).Files {
		t.Log(f.Name, f.SHA256)
	}
}

func TestKilledBakeLeavesNothing(t *testing.T) {
	dir := t.TempDir()
	cmd := exec.Command(os.Args[0], "-test.run=^TestChildBake$", "-test.v")
	cmd.Env = append(os.Environ(), childVariable+"=bake", "STRONGROOM_CACHE="+dir, "OUTPUT_DIR="+filepath.Join(dir, "out"), "TMPDIR="+dir)
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	deadline := time.Now().Add(time.Minute)
	for !slices.ContainsFunc(commandLines(t), func(c string) bool { return strings.Contains(c, "mmdebstrap") && strings.Contains(c, dir) }) {
		if time.Now().After(deadline) {
			cmd.Process.Kill()
			t.Fatal("the bake did not start within a minute")
		}
		time.Sleep(20 * time.Millisecond)
	}
	time.Sleep(time.Second) // into the middle of it
	if err := cmd.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	cmd.Wait()
	var alive []string
	for range 100 {
		alive = slices.DeleteFunc(commandLines(t), func(c string) bool { return !strings.Contains(c, dir) })
		if len(alive) == 0 {
			break
		}
		time.Sleep(20 * time.Millisecond)
	}
	if len(alive) > 0 {
		t.Errorf("processes of the killed bake live on: %q", alive)
	}
	if mounts, _ := os.ReadFile("/proc/self/mountinfo"); bytes.Contains(mounts, []byte(dir)) {
		t.Error("a mount of the killed bake is visible on the host")
	}
	filepath.WalkDir(dir, func(p string, d fs.DirEntry, err error) error {
		// Packages and what the archive answered stay for the next bake: each came whole, or not at all.
		kept := strings.HasPrefix(d.Name(), "package-") || strings.HasPrefix(d.Name(), "resolved-")
		if err == nil && !d.IsDir() && !kept {
			t.Errorf("the killed bake left %s", p)
		}
		return nil
	})
}

func commandLines(t *testing.T) []string {
	t.Helper()
	files, err := filepath.Glob("/proc/[0-9]*/cmdline")
	if err != nil {
		t.Fatal(err)
	}
	var out []string
	for _, f := range files {
		if f == "/proc/"+strconv.Itoa(os.Getpid())+"/cmdline" {
			continue
		}
		text, _ := os.ReadFile(f)
		out = append(out, strings.ReplaceAll(string(text), "\x00", " "))
	}
	return out
}

func TestBootstrapErrors(t *testing.T) {
	for _, c := range []struct {
		name   string
		change func(*Spec)
		want   string
	}{
		{"unknown package", func(s *Spec) { s.Packages = []string{"no-such-package-anywhere"} }, "package no-such-package-anywhere is not in the archive"},
		{"unreachable mirror", func(s *Spec) { s.Mirror = "http://127.0.0.1:9/debian" }, "cannot reach the package archive (http://127.0.0.1:9/debian)"},
	} {
		t.Run(c.name, func(t *testing.T) {
			spec := smallSpec(t)
			c.change(&spec)
			spec.CacheDir = t.TempDir()
			a := open(t, spec)
			err := a.BaseTree(t.Context())
			if err == nil || !strings.Contains(err.Error(), c.want) || Hint(err) == "" {
				t.Errorf("got %v (hint %q), want %q with a hint", err, Hint(err), c.want)
			}
			if left, _ := filepath.Glob(filepath.Join(spec.CacheDir, "*-*")); len(left) > 0 {
				t.Errorf("a failed bake left %v in the cache", left)
			}
		})
	}
}

func TestFullDisk(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Skip("a small file system to fill takes root")
	}
	dir := t.TempDir()
	bake(t, smallSpec(t)) // so that the cache is not what fills up
	cmd := exec.Command("unshare", "--mount", "--", "sh", "-c", `mount -t tmpfs -o size=20m full "$1" && shift && "$@"; r=$?; ls -A "$0"; exit $r`,
		dir, dir, os.Args[0], "-test.run=^TestChildBake$", "-test.v")
	cmd.Env = append(os.Environ(), childVariable+"=bake", "OUTPUT_DIR="+filepath.Join(dir, "out"))
	out, err := cmd.CombinedOutput()
	if err == nil {
		t.Fatalf("a bake onto a full disk succeeded:\n%s", out)
	}
	for _, want := range []string{"no space left on device", "a bake needs about", dir + " has "} {
		if !bytes.Contains(out, []byte(want)) {
			t.Errorf("the failure does not say %q:\n%s", want, out)
		}
	}
	if bytes.HasSuffix(out, []byte("out\n")) || bytes.HasSuffix(out, []byte(".partial\n")) {
		t.Errorf("something half-written was left:\n%s", out)
	}
}

// TestTreeIsClosed tries to leave the tree through what a communicator offers.
func TestTreeIsClosed(t *testing.T) {
	a := open(t, smallSpec(t))
	ctx := t.Context()
	if err := errors.Join(a.BaseTree(ctx), a.ApplyOverlay(ctx)); err != nil {
		t.Fatal(err, Hint(err))
	}
	outside := filepath.Join(t.TempDir(), "outside")
	if err := os.WriteFile(outside, []byte("host"), 0o600); err != nil {
		t.Fatal(err)
	}
	if out, err := a.Command(ctx, "ln", "-s", filepath.Dir(outside), "/srv/link").CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	if err := a.Upload(ctx, "/srv/link/outside", 0o640, strings.NewReader("tree")); err == nil {
		t.Error("an upload through a link to nowhere succeeded")
	}
	if err := a.Download(ctx, "/srv/link/outside", io.Discard); err == nil {
		t.Error("a download through a link reached a file of the host")
	}
	if text, _ := os.ReadFile(outside); string(text) != "host" {
		t.Errorf("the host's file is now %q", text)
	}

	const odd = "$(touch /tmp/evaluated) `id` \"quoted\" 'too' ; * \\ \n end"
	out, err := a.Command(ctx, "printf", "%s", odd).Output()
	if err != nil || string(out) != odd {
		t.Errorf("an argument arrived as %q, %v", out, err)
	}
	var exit *exec.ExitError
	if err := a.Command(ctx, "sh", "-c", "exit 7").Run(); !errors.As(err, &exit) || exit.ExitCode() != 7 {
		t.Errorf("the exit code 7 arrived as %v", err)
	}

	if err := a.Upload(ctx, "/usr/share/trial/a b", 0o640, strings.NewReader("text")); err != nil {
		t.Fatal(err)
	}
	var back bytes.Buffer
	if err := a.Download(ctx, "/usr/share/trial/a b", &back); err != nil || back.String() != "text" {
		t.Errorf("read back %q, %v", back.String(), err)
	}
	var archive bytes.Buffer
	if err := a.DownloadTar(ctx, "/usr/share/trial", &archive); err != nil {
		t.Fatal(err)
	}
	if err := a.UploadTar(ctx, "/usr/share/copy", &archive); err != nil {
		t.Fatal(err)
	}
	mode, err := a.Command(ctx, "stat", "-c", "%a", "/usr/share/copy/a b").Output()
	if err != nil || string(mode) != "640\n" {
		t.Errorf("the copy has mode %q, %v", mode, err)
	}
	inspect := a.Inspect(ctx, func(tree string) []string { return []string{"cat", tree + "/usr/share/copy/a b"} })
	if out, err := inspect.Output(); err != nil || string(out) != "text" {
		t.Errorf("a program of the host reads %q in the tree, %v", out, err)
	}
}

// TestLittleMemory bakes on disk, beside what a killed bake left there.
func TestLittleMemory(t *testing.T) {
	spec := smallSpec(t)
	want := bake(t, spec)
	again := smallSpec(t)
	dead := filepath.Join(t.TempDir(), "cache", workPrefix+"dead")
	if err := os.MkdirAll(filepath.Join(dead, "tree"), 0o755); err != nil {
		t.Fatal(err)
	}
	a := open(t, again)
	if err := a.box.close(); err != nil {
		t.Fatal(err)
	}
	var err error
	if a.box, err = openSandbox(filepath.Dir(dead), 1<<60, a.log); err != nil {
		t.Fatal(err, Hint(err))
	}
	if _, err := os.Stat(dead); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("the killed bake's directory is still there: %v", err)
	}
	if _, err := os.Stat(a.box.path("tmp")); err != nil {
		t.Errorf("the work directory is not on disk: %v", err)
	}
	if err := run(t, a); err != nil {
		t.Fatal(err, Hint(err))
	}
	if got := a.Result().Files[0]; got != want.Files[0] {
		t.Errorf("on disk the bake gives %v, in memory %v", got, want.Files[0])
	}
	if err := a.Close(); err != nil {
		t.Error(err)
	}
	if left, _ := os.ReadDir(filepath.Dir(dead)); len(left) > 0 {
		t.Errorf("the bake left %v", left)
	}
}

// TestCancelledBakeEndsSoon cancels while packages are being installed.
func TestCancelledBakeEndsSoon(t *testing.T) {
	spec := smallSpec(t)
	spec.CacheDir = t.TempDir()
	a := open(t, spec)
	ctx, cancel := context.WithTimeout(t.Context(), 2*time.Second)
	defer cancel()
	start := time.Now()
	err := a.BaseTree(ctx)
	if !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("the cancelled step says %v", err)
	}
	if err := a.Close(); err != nil {
		t.Error(err)
	}
	if took := time.Since(start); took > 10*time.Second {
		t.Errorf("a bake cancelled after 2 s ended after %s", took)
	}
}
