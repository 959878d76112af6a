package image

import (
	"bytes"
	"errors"
	"log/slog"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/strongroom/strongroom/internal/lock"
)

func TestParseURIs(t *testing.T) {
	from := []archive{{mainArchive, "http://deb.example/debian", nil, ""}, {securityArchive, "http://deb.example/debian-security", nil, ""}}
	got, err := parseURIs("'http://deb.example/debian-security/pool/updates/main/z/zlib/zlib1g_1.3%2breally1.3.1-1_amd64.deb' zlib1g_1%3a1.3+really1.3.1-1_amd64.deb 88720 \n"+
		"'http://deb.example/debian/pool/main/d/dpkg/dpkg_1.22_amd64.deb' dpkg_1.22_amd64.deb 1537216 MD5Sum:5f21\n", from)
	if err != nil {
		t.Fatal(err)
	}
	want := []lock.Package{
		{Name: "zlib1g", Version: "1:1.3+really1.3.1-1", Architecture: "amd64", Size: 88720, Archive: securityArchive, Path: "pool/updates/main/z/zlib/zlib1g_1.3+really1.3.1-1_amd64.deb"},
		{Name: "dpkg", Version: "1.22", Architecture: "amd64", Size: 1537216, Archive: mainArchive, Path: "pool/main/d/dpkg/dpkg_1.22_amd64.deb"},
	}
	if d := cmp.Diff(want, got); d != "" {
		t.Error(d)
	}
	for _, text := range []string{"E: broken\n", "'http://elsewhere/x.deb' x_1_all.deb 1\n", "'http://deb.example/debian/x.deb' x.deb 1\n", "'http://deb.example/debian/x.deb' x_1_all.deb many\n"} {
		if _, err := parseURIs(text, from); err == nil {
			t.Errorf("%q was read", text)
		}
	}

	stanzas := []byte("Package: zlib1g\nVersion: 1:1.3+really1.3.1-1\nFilename: " + want[0].Path + "\nSHA256: aa\nDescription: x\n SHA256: not this\n\n" +
		"Package: dpkg\nVersion: 1.22\nFilename: " + want[1].Path + "\nSHA256: bb\n\nPackage: dpkg\nVersion: 1.22\nFilename: pool/other.deb\nSHA256: cc\n")
	described, err := describe(got, stanzas)
	if err != nil || described[0].SHA256 != "aa" || described[1].SHA256 != "bb" {
		t.Errorf("%v, %v", described, err)
	}
	if _, err := describe(got, nil); err == nil || !strings.Contains(err.Error(), "no SHA-256 of zlib1g") {
		t.Errorf("an index without the package: %v", err)
	}
}

func TestReleaseDate(t *testing.T) {
	got, err := releaseDate(strings.NewReader("-----BEGIN PGP SIGNED MESSAGE-----\n\nSuite: stable\nDate: Sat, 12 Sep 2026 07:55:41 UTC\n"))
	if want := time.Date(2026, 9, 12, 7, 55, 41, 0, time.UTC); err != nil || !got.Equal(want) {
		t.Errorf("%v, %v", got, err)
	}
	if _, err := releaseDate(strings.NewReader("Suite: stable\n")); err == nil {
		t.Error("no date was read")
	}
}

// FuzzApt reads what apt and dpkg-deb write about packages that others made.
func FuzzApt(f *testing.F) {
	f.Add([]byte("'http://deb.example/debian/pool/a_1_all.deb' a_1%3a1_all.deb 1 SHA256:aa\n"))
	f.Add([]byte("Package: a\nVersion: 1:1\nFilename: pool/a_1_all.deb\nSHA256: bb\n\n"))
	f.Add([]byte("Date: Sat, 12 Sep 2026 07:55:41 UTC\n"))
	f.Fuzz(func(t *testing.T, text []byte) {
		packages, err := parseURIs(string(text), []archive{{mainArchive, "http://deb.example/debian", nil, ""}})
		if err == nil {
			for _, p := range packages {
				if p.Name == "" && p.Archive == "" {
					t.Fatalf("an empty package of %q", text)
				}
			}
		}
		if _, err := describe([]lock.Package{{Name: "a", Version: "1:1", Path: "pool/a_1_all.deb"}}, text); err == nil && !bytes.Contains(text, []byte("SHA256")) {
			t.Fatalf("a digest out of %q", text)
		}
		releaseDate(bytes.NewReader(text))
		field(text, "Package")
	})
}

func TestCheckLock(t *testing.T) {
	spec := goodSpec()
	spec.LockFile = "strongroom.lock"
	programs := []InstalledBinary{{Path: "/usr/bin/vault", SHA256: someHash, Size: 7}}
	if err := checkLock(someLock(), spec, programs); err != nil {
		t.Fatal(err)
	}
	for name, c := range map[string]struct {
		change     func(*Spec, *lock.File)
		want, hint string
	}{
		"distribution": {func(s *Spec, _ *lock.File) { s.Distribution = "debian/bookworm" }, "the lock is of debian/trixie, and the image stands on debian/bookworm", "--distribution debian/bookworm"},
		"more packages": {func(s *Spec, _ *lock.File) { s.Packages = []string{"tcpdump", "strace"} },
			"strongroom.lock: the template asks for the package strace, which the lock does not have", "imagebuild lock --update --packages=tcpdump,strace strongroom.lock"},
		"fewer packages": {func(_ *Spec, f *lock.File) { f.Asked.Template = []string{"acpid"} }, "the lock has the package acpid, for which the template does not ask any more", "--packages= "},
		"kernel":         {func(s *Spec, _ *lock.File) { s.Hardware = true }, "this version of the builder asks for the package linux-image-amd64", "--hardware=true"},
		"program":        {func(_ *Spec, f *lock.File) { f.Programs[0].SHA256 = strings.Repeat("0", 64) }, "program /usr/bin/vault: the lock says SHA-256 000", "--program /usr/bin/vault=vault"},
		"new program":    {func(_ *Spec, f *lock.File) { f.Programs = nil }, "the lock does not have the program /usr/bin/vault (vault)", "--program /usr/bin/vault=vault"},
		"old program": {func(_ *Spec, f *lock.File) { f.Programs = append(f.Programs, lock.Program{Path: "/usr/bin/bao"}) },
			"the lock has the program /usr/bin/bao, which the image does not have", "imagebuild lock --update"},
		"mirror": {func(s *Spec, f *lock.File) { s.Mirror, f.Programs = "http://me:secret@mirror.example/debian", nil }, "does not have the program", "--mirror http://me:xxxxx@mirror.example/debian"},
	} {
		s, f := spec, someLock()
		c.change(&s, &f)
		err := checkLock(f, s, programs)
		if err == nil || !strings.Contains(err.Error(), c.want) || !strings.Contains(Hint(err), c.hint) {
			t.Errorf("%s: %v\nhint: %s", name, err, Hint(err))
		}
	}
}

func TestReadLock(t *testing.T) {
	spec := goodSpec()
	programs := []InstalledBinary{{Path: "/usr/bin/vault", SHA256: someHash, Size: 7}}
	spec.LockFile = filepath.Join(t.TempDir(), lock.Name)
	if f, err := readLock(spec, programs); f != nil || err != nil {
		t.Errorf("no lock yet: %v, %v", f, err)
	}
	if err := someLock().Write(spec.LockFile); err != nil {
		t.Fatal(err)
	}
	f, err := readLock(spec, programs)
	if err != nil || f.Digest() != someLock().Digest() {
		t.Errorf("%v, %v", f, err)
	}
	if _, err := readLock(spec, nil); err == nil || Hint(err) == "" {
		t.Errorf("a lock of another image: %v", err)
	}
	broken := someLock()
	broken.Epoch = 0
	if err := broken.Write(spec.LockFile); err != nil {
		t.Fatal(err)
	}
	if _, err := readLock(spec, programs); err == nil || !strings.Contains(err.Error(), "source_date_epoch") || Hint(err) == "" {
		t.Errorf("a broken lock: %v", err)
	}
}

// The second of two builds in one template finds the first one's lock, and not its own place empty.
func TestWriteLock(t *testing.T) {
	f := someLock()
	a := &Assembly{spec: goodSpec(), lock: &f, newLock: true, log: slog.New(slog.DiscardHandler)}
	if err := a.writeLock(); err != nil {
		t.Errorf("without a lock file: %v", err)
	}
	a.spec.LockFile = filepath.Join(t.TempDir(), lock.Name)
	if err := errors.Join(a.writeLock(), a.writeLock()); err != nil {
		t.Fatal(err)
	}
	other := someLock()
	other.Epoch++
	a.lock = &other
	if err := a.writeLock(); err == nil || !strings.Contains(Hint(err), "lock_file") {
		t.Errorf("another bake's lock: %v", err)
	}
	a.newLock = false
	if err := a.writeLock(); err != nil {
		t.Errorf("a lock that was read is written again: %v", err)
	}
}
