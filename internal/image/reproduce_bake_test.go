//go:build bake

package image

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"io"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/strongroom/strongroom/internal/lock"
)

// TestSameBytesAnywhere bakes from one lock twice. The second bake starts with nothing but the packages, and everything
// around it is another: user, directories, umask, locale, time zone, home, number of processors, and for the tools of the
// host a clock that is years ahead. For programs of the tree, which that does not reach, checkNoDay looks for the day.
func TestSameBytesAnywhere(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Skip("this test starts as root and bakes as another user")
	}
	lockFile := filepath.Join(t.TempDir(), lock.Name)
	spec := unsigned(smallSpec(t))
	spec.LockFile = lockFile
	want := bake(t, spec)
	if written, err := lock.Read(lockFile); err != nil || written.Digest() != want.Lock.SHA256 {
		t.Fatalf("the first bake wrote the lock %s (%v), baked was %s", written.Digest(), err, want.Lock.SHA256)
	}

	dir, err := os.MkdirTemp("", "ordinary user-") // with a space, for sources.list and the like
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	program := filepath.Join(dir, "image.test")
	self, err := os.ReadFile("/proc/self/exe")
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(program, self, 0o755); err != nil {
		t.Fatal(err)
	}
	cacheDir := filepath.Join(dir, "cache", "image")
	if err := os.MkdirAll(cacheDir, 0o700); err != nil {
		t.Fatal(err)
	}
	packages, err := filepath.Glob(filepath.Join(spec.CacheDir, "package-*.deb"))
	if err != nil || len(packages) == 0 {
		t.Fatal("the cache has no packages", err)
	}
	for _, p := range packages {
		if err := os.Link(p, filepath.Join(cacheDir, filepath.Base(p))); err != nil {
			tool(t, "cp", p, cacheDir)
		}
	}
	locked, err := os.ReadFile(lockFile)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(dir, lock.Name), locked, 0o644); err != nil {
		t.Fatal(err)
	}
	tool(t, "chown", "-h", ordinaryID+":"+ordinaryID, dir, filepath.Dir(cacheDir), cacheDir)
	out := filepath.Join(dir, "elsewhere", "out")
	cmd := asOrdinaryUser(t, "taskset", "1", "sh", "-c", `umask 077 && exec "$@"`, "sh", program, "-test.run=^TestChildBake$", "-test.v")
	cmd.Dir = dir
	cmd.Env = []string{
		"PATH=/usr/bin:/bin", "TMPDIR=" + dir, "STRONGROOM_CACHE=" + filepath.Dir(cacheDir), childVariable + "=bake",
		"OUTPUT_DIR=" + out, "LOCK_FILE=" + filepath.Join(dir, lock.Name),
		"HOME=/nonexistent", "TZ=Pacific/Kiritimati", "LC_ALL=tr_TR.UTF-8", "LANG=tr_TR.UTF-8", "USER=nobody", "SOURCE_DATE_EPOCH=1",
	}
	said, err := cmd.CombinedOutput()
	if err != nil {
		t.Fatalf("%v\n%s", err, said)
	}
	if year := time.Now().AddDate(0, 0, fakedDays).UTC().Format("2006"); !strings.Contains(string(said), "the clock says "+year) {
		t.Errorf("the second bake was not under another clock:\n%s", said)
	}
	if d := cmp.Diff(digests(t, spec.OutputDir), digests(t, out)); d != "" {
		t.Errorf("the same lock gives other bytes elsewhere: %s", d)
	}
}

// digests is the SHA-256 of every file of an output directory, but the times that a bake took.
func digests(t *testing.T, dir string) map[string]string {
	t.Helper()
	sums := map[string]string{}
	err := filepath.WalkDir(dir, func(p string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() || d.Name() == TimingsName {
			return err
		}
		f, err := os.Open(p)
		if err != nil {
			return err
		}
		defer f.Close()
		h := sha256.New()
		if _, err := io.Copy(h, f); err != nil {
			return err
		}
		name, err := filepath.Rel(dir, p)
		sums[name] = hex.EncodeToString(h.Sum(nil))
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	if len(sums) < len(Formats()) {
		t.Fatalf("%s has only %d files", dir, len(sums))
	}
	return sums
}

// checkNoDay looks for the day of the bake in the root: as a date, and as the number that shadow(5) has for it.
func checkNoDay(t *testing.T, tree string) {
	t.Helper()
	now := time.Now()
	days := []string{fmt.Sprintf(":%d:", now.Unix()/(24*60*60))}
	for _, layout := range []string{time.DateOnly, "20060102", "02 Jan 2006", "Jan _2 2006", "2 Jan 2006"} {
		days = append(days, now.UTC().Format(layout))
	}
	err := filepath.WalkDir(tree, func(p string, d fs.DirEntry, err error) error {
		if err != nil || !d.Type().IsRegular() {
			return err
		}
		content, err := os.ReadFile(p)
		for _, day := range days {
			if bytes.Contains(content, []byte(day)) {
				t.Errorf("%s knows the day of the bake: %q", strings.TrimPrefix(p, tree), day)
			}
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	if shadow, _ := os.ReadFile(filepath.Join(tree, "etc/shadow")); !bytes.Contains(shadow, []byte("root:")) {
		t.Error("/etc/shadow, where days are, was not looked at")
	}
}

// TestLockOfAnotherImage refuses a bake whose lock is of another image, before anything is fetched.
func TestLockOfAnotherImage(t *testing.T) {
	spec := smallSpec(t)
	spec.LockFile = filepath.Join(t.TempDir(), lock.Name)
	f := someLock()
	if err := f.Write(spec.LockFile); err != nil {
		t.Fatal(err)
	}
	if _, err := New(spec, nil); err == nil || !strings.Contains(err.Error(), "the lock has the program /usr/bin/vault") || !strings.Contains(Hint(err), "imagebuild lock --update") {
		t.Errorf("%v, hint %s", err, Hint(err))
	}
}

// TestSupersededPackages bakes from a lock whose packages the archive does not have, and one whose digest is not the archive's.
func TestSupersededPackages(t *testing.T) {
	spec := smallSpec(t)
	a := open(t, spec)
	f, err := a.resolved(t.Context()) // of the cache, as a rule
	if err != nil {
		t.Fatal(err, Hint(err))
	}
	change := func(name string, edit func(*lock.Package)) {
		i := slices.IndexFunc(f.Packages, func(p lock.Package) bool { return p.Name == name })
		edit(&f.Packages[i])
	}
	change("acpid", func(p *lock.Package) {
		p.Path = strings.Replace(p.Path, p.Version[strings.IndexByte(p.Version, ':')+1:], "2.0.1-1", 1)
		p.Version, p.SHA256 = "1:2.0.1-1", someHash
	})
	change("zstd", func(p *lock.Package) { p.SHA256 = strings.Repeat("ab", 32) })
	again := smallSpec(t)
	again.LockFile = filepath.Join(t.TempDir(), lock.Name)
	if err := f.Write(again.LockFile); err != nil {
		t.Fatal(err)
	}
	b := open(t, again)
	err = b.BaseTree(t.Context())
	if err == nil {
		t.Fatal("packages that the archive does not have were baked")
	}
	for _, want := range []string{
		"package acpid: the lock says 1:2.0.1-1 with SHA-256 " + someHash + ", the archive offers ",
		"the dated archive has it: http://snapshot.debian.org/archive/debian/" + f.Snapshot + "/pool/main/a/acpid/acpid_2.0.1-1_amd64.deb",
		"package zstd: the lock says ", "the archive offers the same version with ",
	} {
		if !strings.Contains(err.Error(), want) {
			t.Errorf("the error does not say %q: %v", want, err)
		}
	}
	if hint := Hint(err); !strings.Contains(hint, "imagebuild lock --update "+again.LockFile) || !strings.Contains(hint, "snapshot = \""+f.Snapshot) {
		t.Errorf("hint %q", hint)
	}
}

// ordinaryID is the user and group id of an account that exists for one command only.
const ordinaryID = "64321"

// fakedDays is how far ahead the ordinary user's clock is.
const fakedDays = 2000

// asOrdinaryUser is a command run by an ordinary user with subordinate ids, for which it is another day. The account
// and the clock are in /etc as the command alone sees it, in a mount namespace of its own, so that the test leaves
// the machine's alone.
func asOrdinaryUser(t *testing.T, argv ...string) *exec.Cmd {
	t.Helper()
	dir := t.TempDir()
	etc, programs := filepath.Join(dir, "etc"), filepath.Join(dir, "sbin")
	tool(t, "cp", "--archive", "/etc", etc)
	if err := os.Mkdir(programs, 0o755); err != nil {
		t.Fatal(err)
	}
	for path, text := range map[string]string{
		"etc/passwd":        "strongroom-bake:x:" + ordinaryID + ":" + ordinaryID + "::/nonexistent:/usr/sbin/nologin\n",
		"etc/group":         "strongroom-bake:x:" + ordinaryID + ":\n",
		"etc/subuid":        "strongroom-bake:1000000:65536\n",
		"etc/subgid":        "strongroom-bake:1000000:65536\n",
		"etc/faketimerc":    fmt.Sprintf("+%dd\n", fakedDays),
		"etc/ld.so.preload": "", // the user's, who begins with it: the library shares memory among processes of one user
		"sbin/mmdebstrap":   mmdebstrapWithDate,
	} {
		f, err := os.OpenFile(filepath.Join(dir, path), os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o644)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := f.WriteString(text); err != nil {
			t.Fatal(err)
		}
		if err := f.Close(); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := os.Stat(fakeClock); err != nil {
		t.Fatalf("%v (the package libfaketime brings it; run make deps)", err)
	}
	tool(t, "chmod", "-R", "a+rX", dir)
	tool(t, "chown", ordinaryID, filepath.Join(etc, "ld.so.preload"))
	tool(t, "chmod", "755", filepath.Join(programs, "mmdebstrap"))
	script := `mount --bind "$0/sbin" /usr/local/sbin; mount --bind "$0/etc" /etc; mount -t tmpfs -o mode=1777 shm /dev/shm
exec setpriv --reuid ` + ordinaryID + ` --regid ` + ordinaryID + ` --clear-groups sh -euc 'echo ` + fakeClock + ` >/etc/ld.so.preload; exec "$@"' sh "$@"`
	return exec.Command("unshare", append([]string{"--mount", "--propagation", "private", "sh", "-euc", script, dir}, argv...)...)
}

const fakeClock = "/usr/lib/x86_64-linux-gnu/faketime/libfaketime.so.1"

// mmdebstrapWithDate says which day it is for the tools of the host.
const mmdebstrapWithDate = `#!/bin/sh
echo "the clock says $(date -u +%Y-%m-%d)" >&2
exec /usr/bin/mmdebstrap "$@"
`
