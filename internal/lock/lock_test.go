package lock

import (
	"bytes"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func digest(c string) string { return strings.Repeat(c, 64) }

func good() File {
	return File{
		Schema: Schema, Builder: "0.1.0", Distribution: "debian/trixie", Snapshot: "20260131T000000Z", Epoch: 1_700_000_000,
		Asked: Asked{Builder: []string{"openssl"}, Template: []string{"tcpdump:amd64=4.99.5-2"}},
		Programs: []Program{
			{Path: "/usr/bin/hostcheck", SHA256: digest("1"), Size: 1},
			{Path: "/usr/bin/vault", SHA256: digest("2"), Size: 2},
		},
		Packages: []Package{
			{Name: "openssl", Version: "3.5.1-1+deb13u1", Architecture: "amd64", SHA256: digest("a"), Size: 10, Archive: "debian-security", Path: "pool/updates/main/o/openssl/openssl_3.5.1-1+deb13u1_amd64.deb"},
			{Name: "tcpdump", Version: "4.99.5-2", Architecture: "amd64", SHA256: digest("b"), Size: 20, Archive: "debian", Path: "pool/main/t/tcpdump/tcpdump_4.99.5-2_amd64.deb"},
			{Name: "tzdata", Version: "2026a-0", Architecture: "all", SHA256: digest("c"), Size: 30, Archive: "debian", Path: "pool/main/t/tzdata/tzdata_2026a-0_all.deb"},
		},
	}
}

func TestBytes(t *testing.T) {
	golden, err := os.ReadFile("testdata/good.lock")
	if err != nil {
		t.Fatal(err)
	}
	f := good()
	slices.Reverse(f.Packages)
	slices.Reverse(f.Programs)
	if d := cmp.Diff(string(golden), string(f.Bytes())); d != "" {
		t.Error(d)
	}
	if f.Packages[0].Name != "tzdata" {
		t.Error("writing a lock sorts the caller's list")
	}
	parsed, err := Parse(golden)
	if err != nil {
		t.Fatal(err)
	}
	if d := cmp.Diff(good(), parsed); d != "" {
		t.Error(d)
	}
	if parsed.Digest() != f.Digest() {
		t.Error("the order of the lists changes the digest")
	}
	if empty := (File{}).Bytes(); !bytes.Contains(empty, []byte(`"packages": []`)) {
		t.Errorf("%s", empty)
	}
}

func TestParseRefuses(t *testing.T) {
	for name, c := range map[string]struct {
		change func(*File)
		want   string
	}{
		"distribution":     {func(f *File) { f.Distribution = "trixie" }, `distribution: "trixie"`},
		"snapshot":         {func(f *File) { f.Snapshot = "20260231T000000Z" }, `snapshot: "20260231T000000Z"`},
		"epoch":            {func(f *File) { f.Epoch = 0 }, "source_date_epoch: 0"},
		"package name":     {func(f *File) { f.Packages[0].Name = "-oDir=/" }, `"-oDir=/" is not the name`},
		"twice":            {func(f *File) { f.Packages[1].Name = "openssl" }, "openssl is listed twice"},
		"version":          {func(f *File) { f.Packages[0].Version = "1 2" }, `version "1 2"`},
		"architecture":     {func(f *File) { f.Packages[0].Architecture = "arm64" }, `architecture "arm64"`},
		"digest":           {func(f *File) { f.Packages[0].SHA256 = "abc" }, `sha256 "abc"`},
		"size":             {func(f *File) { f.Packages[0].Size = 0 }, "size 0"},
		"archive":          {func(f *File) { f.Packages[0].Archive = "../x" }, `archive "../x"`},
		"path":             {func(f *File) { f.Packages[0].Path = "pool/../../x.deb" }, `path "pool/../../x.deb"`},
		"absolute path":    {func(f *File) { f.Packages[0].Path = "/etc/x.deb" }, `path "/etc/x.deb"`},
		"asked, not here":  {func(f *File) { f.Asked.Template = []string{"strace"} }, "strace is not among the packages"},
		"asked, an option": {func(f *File) { f.Asked.Builder = []string{"--purge"} }, `"--purge" is not the name`},
		"program path":     {func(f *File) { f.Programs[0].Path = "vault" }, `programs: "vault"`},
		"program twice":    {func(f *File) { f.Programs[0].Path = "/usr/bin/vault" }, "/usr/bin/vault is listed twice"},
		"program digest":   {func(f *File) { f.Programs[0].SHA256 = "" }, `/usr/bin/hostcheck: sha256 ""`},
	} {
		f := good()
		c.change(&f)
		if _, err := Parse(f.Bytes()); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: %v, want %q", name, err, c.want)
		}
	}
	f := good()
	f.Epoch, f.Distribution = -1, ""
	if _, err := Parse(f.Bytes()); err == nil || len(strings.Split(err.Error(), "\n")) != 2 {
		t.Errorf("two mistakes are reported as %v", err)
	}
	text := string(good().Bytes())
	for name, broken := range map[string]string{
		"another schema": strings.Replace(text, Schema, "strongroom.lock/v9", 1),
		"unknown field":  strings.Replace(text, `"schema"`, `"scheme": 1, "schema"`, 1),
		"something else": text + text,
		"nothing":        "",
	} {
		if _, err := Parse([]byte(broken)); err == nil {
			t.Errorf("%s: no error", name)
		}
	}
}

func TestReadAndWrite(t *testing.T) {
	path := filepath.Join(t.TempDir(), Name)
	if _, err := Read(path); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("a lock that is not there: %v", err)
	}
	if err := good().Write(path); err != nil {
		t.Fatal(err)
	}
	f, err := Read(path)
	if err != nil {
		t.Fatal(err)
	}
	if d := cmp.Diff(good(), f); d != "" {
		t.Error(d)
	}
	if err := os.WriteFile(path, []byte("{}"), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := Read(path); err == nil || !strings.HasPrefix(err.Error(), path+": ") {
		t.Errorf("the error does not name the file: %v", err)
	}
}

func TestDiff(t *testing.T) {
	if changes := Diff(good(), good()); len(changes) != 0 || Summary(changes) != "no changes" {
		t.Errorf("a lock differs from itself: %v", changes)
	}
	now := good()
	now.Builder, now.Snapshot = "0.2.0", "20260201T000000Z" // do not count
	now.Packages[0].Version = "3.5.10-1"
	now.Packages[1] = Package{Name: "strace", Version: "6.13+ds-1", Architecture: "amd64", SHA256: digest("d"), Size: 1, Archive: "debian", Path: "pool/main/s/strace.deb"}
	now.Packages[2].SHA256 = digest("e")
	now.Asked.Template = []string{"strace"}
	now.Programs[1].SHA256 = digest("3")
	now.Programs[0].Path = "/usr/bin/agent"
	now.Epoch++
	changes := Diff(good(), now)
	var got []string
	for _, c := range changes {
		got = append(got, strings.ReplaceAll(c.String(), digest("c")[:60], "…"))
	}
	want := []string{
		"added      strace 6.13+ds-1",
		"removed    tcpdump 4.99.5-2",
		"upgraded   openssl 3.5.1-1+deb13u1 -> 3.5.10-1",
		"rebuilt    tzdata sha256 …cccc -> " + digest("e"),
		"removed    /usr/bin/hostcheck sha256 " + digest("1"),
		"changed    /usr/bin/vault sha256 " + digest("2") + " -> " + digest("3"),
		"added      /usr/bin/agent sha256 " + digest("1"),
		"changed    source_date_epoch 1700000000 (2023-11-14) -> 1700000001 (2023-11-14)",
		"removed    asked by the template: tcpdump:amd64=4.99.5-2",
		"added      asked by the template: strace",
	}
	if d := cmp.Diff(want, got); d != "" {
		t.Error(d)
	}
	if got, want := Summary(changes), "3 added, 3 removed, 1 upgraded, 1 rebuilt, 2 changed"; got != want {
		t.Errorf("summary %q, want %q", got, want)
	}
	if back := Diff(now, good()); !slices.ContainsFunc(back, func(c Change) bool { return c.Kind == Downgraded && c.Name == "openssl" }) {
		t.Errorf("the way back is no downgrade: %v", back)
	}
}

func FuzzParse(f *testing.F) {
	f.Add(good().Bytes())
	f.Add([]byte(`{"schema":"strongroom.lock/v1","packages":null}`))
	f.Add(File{Schema: Schema, Distribution: "a/b", Snapshot: "20260131T000000Z", Epoch: 1}.Bytes())
	f.Fuzz(func(t *testing.T, text []byte) {
		parsed, err := Parse(text)
		if err != nil {
			return
		}
		again, err := Parse(parsed.Bytes())
		if err != nil {
			t.Fatalf("what was written cannot be read: %v", err)
		}
		if changes := Diff(parsed, again); len(changes) > 0 || !bytes.Equal(parsed.Bytes(), again.Bytes()) {
			t.Fatalf("another lock was read back: %v", changes)
		}
	})
}
