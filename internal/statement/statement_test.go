package statement_test

import (
	"bytes"
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/strongroom/strongroom/internal/check"
	"github.com/strongroom/strongroom/internal/measure"
	"github.com/strongroom/strongroom/internal/report"
	"github.com/strongroom/strongroom/internal/sbom"
	"github.com/strongroom/strongroom/internal/statement"
)

var (
	now      = time.Date(2026, 6, 1, 0, 0, 0, 0, time.UTC)
	baseline = strings.Repeat("b", 64)
)

// lockDigest is that of the lock in output.
var lockDigest = fmt.Sprintf("%x", sha256.Sum256([]byte("lock")))

func edwards(t testing.TB) crypto.Signer {
	t.Helper()
	_, key, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	return key
}

func p256(t testing.TB) crypto.Signer {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	return key
}

func put(t testing.TB, dir, name string, content []byte) {
	t.Helper()
	path := filepath.Join(dir, name)
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, content, 0o644); err != nil {
		t.Fatal(err)
	}
}

// output is the directory of a bake: small disks, and true documents beside them.
func output(t testing.TB, version string) string {
	t.Helper()
	dir := t.TempDir()
	rootHash := hex.EncodeToString(bytes.Repeat([]byte{byte(len(version))}, 32))
	files := map[string][]byte{
		"disk.raw": []byte("disk of " + version), "disk.qcow2": []byte("qcow2 of " + version), "netboot/root.cpio": []byte("root of " + version),
		"netboot/manifest.json": []byte("{}"), "strongroom.lock": []byte("lock"),
	}
	bills, err := sbom.Bill{Name: "trial", Version: version, Distribution: "debian/trixie", Created: now,
		Packages: []sbom.Package{{Name: "systemd", Version: "257", Architecture: "amd64", Source: "systemd", SourceVersion: "257"}}}.Documents()
	if err != nil {
		t.Fatal(err)
	}
	for name, text := range bills {
		files[name] = text
	}
	files[measure.FileName], err = measure.Statement{Image: "trial", Version: version, RootHash: rootHash,
		Kernels: []measure.Kernel{{Name: "disk", PCR11: []measure.PhaseValue{{Phase: ""}}}}}.Marshal()
	if err != nil {
		t.Fatal(err)
	}
	var text bytes.Buffer
	if err := report.WriteJSON(&text, &report.Document{Schema: report.Schema, Baseline: baseline, Verdict: check.Pass}); err != nil {
		t.Fatal(err)
	}
	files[statement.ReportName] = text.Bytes()
	list := func(names ...string) (out []map[string]any) {
		for _, name := range names {
			sum := sha256.Sum256(files[name])
			out = append(out, map[string]any{"name": strings.TrimPrefix(name, "netboot/"), "path": name, "sha256": hex.EncodeToString(sum[:]), "size": len(files[name])})
		}
		return out
	}
	manifest, err := json.Marshal(map[string]any{
		"name": "trial", "version": version, "distribution": "debian/trixie", "root_hash": rootHash, "overlay_sha256": "o",
		"files": list("disk.raw", "disk.qcow2"), "beside": list(measure.FileName, sbom.SPDXName, sbom.CycloneDXName),
		"netboot": map[string]any{"root_hash": rootHash, "files": list("netboot/root.cpio")},
		"lock":    list("strongroom.lock")[0],
	})
	if err != nil {
		t.Fatal(err)
	}
	files[statement.ManifestName] = manifest
	for name, content := range files {
		put(t, dir, name, content)
	}
	return dir
}

func facts() statement.Facts {
	return statement.Facts{Baseline: baseline, Builder: "1.2.3", Time: now}
}

// signed puts a statement into the directory of a bake.
func signed(t testing.TB, dir string, f statement.Facts, key crypto.Signer, edit ...func(*statement.Statement)) {
	t.Helper()
	s, err := statement.Describe(t.Context(), dir, f)
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range edit {
		e(&s)
	}
	text, err := statement.Sign(t.Context(), s, key)
	if err != nil {
		t.Fatal(err)
	}
	put(t, dir, statement.FileName, text)
}

func verify(t testing.TB, dir string, key crypto.PublicKey, file string) *statement.Result {
	t.Helper()
	r, err := statement.Verify(t.Context(), dir, statement.Options{Keys: []crypto.PublicKey{key}, Now: now, File: file})
	if err != nil {
		t.Fatal(err)
	}
	return r
}

func TestVerify(t *testing.T) {
	for name, key := range map[string]crypto.Signer{"ed25519": edwards(t), "ecdsa-p256": p256(t)} {
		dir := output(t, "1.0.0")
		f := facts()
		f.ValidUntil = now.Add(time.Hour)
		signed(t, dir, f, key)
		r := verify(t, dir, key.Public(), "")
		if r.Outcome != statement.Pass {
			t.Errorf("%s: %+v", name, r.Checks)
		}
		p := r.Predicate
		if p.Name != "trial" || p.Baseline != baseline || p.Builder.Version != "1.2.3" || p.Lock == nil || len(p.Bills) != 2 || p.Report == "" || len(p.Measurements.Kernels) != 1 {
			t.Errorf("%s: %+v", name, p)
		}
		if one := verify(t, dir, key.Public(), "disk.raw"); one.Outcome != statement.Pass || len(one.Checks) != 3 {
			t.Errorf("%s: one file: %+v", name, one.Checks)
		}
		put(t, dir, "copied.img", []byte("disk of 1.0.0"))
		if one := verify(t, dir, key.Public(), "copied.img"); one.Outcome != statement.Pass {
			t.Errorf("%s: a disk by another name: %+v", name, one.Checks)
		}
		put(t, dir, "copied.img", []byte("another disk"))
		if one := verify(t, dir, key.Public(), "copied.img"); one.Outcome != statement.Fail {
			t.Errorf("%s: another disk: %+v", name, one.Checks)
		}
	}
}

// The same bake has the same statement, and with Ed25519 the same signature.
func TestDeterministic(t *testing.T) {
	key := edwards(t)
	var texts [2][]byte
	for i := range texts {
		dir := output(t, "1.0.0")
		signed(t, dir, facts(), key)
		var err error
		if texts[i], err = os.ReadFile(filepath.Join(dir, statement.FileName)); err != nil {
			t.Fatal(err)
		}
	}
	if !bytes.Equal(texts[0], texts[1]) {
		t.Error("two statements of the same files differ")
	}
}

// Every way to tamper is found, and told in words that say what was done.
func TestTamper(t *testing.T) {
	key, other := edwards(t), p256(t)
	read := func(t *testing.T, dir, name string) []byte {
		t.Helper()
		text, err := os.ReadFile(filepath.Join(dir, name))
		if err != nil {
			t.Fatal(err)
		}
		return text
	}
	replace := func(name, old, with string) func(*testing.T, string) {
		return func(t *testing.T, dir string) {
			text := read(t, dir, name)
			if !bytes.Contains(text, []byte(old)) {
				t.Fatalf("%s does not hold %q", name, old)
			}
			put(t, dir, name, bytes.Replace(text, []byte(old), []byte(with), 1))
		}
	}
	resign := func(edit func(*statement.Statement)) func(*testing.T, string) {
		return func(t *testing.T, dir string) { signed(t, dir, facts(), key, edit) }
	}
	for name, tt := range map[string]struct {
		do   func(t *testing.T, dir string)
		says string // of a check that fails: "name: words"
	}{
		"a flipped byte":  {replace("disk.raw", "disk", "dosk"), "file disk.raw: changed"},
		"truncated image": {func(t *testing.T, dir string) { put(t, dir, "disk.raw", []byte("disk")) }, "file disk.raw: truncated: 4 bytes of 13"},
		"appended image":  {replace("disk.qcow2", "qcow2", "qcow2qcow2"), "file disk.qcow2: something was added"},
		"missing artifact": {func(t *testing.T, dir string) {
			if err := os.Remove(filepath.Join(dir, "netboot/root.cpio")); err != nil {
				t.Fatal(err)
			}
		}, "file netboot/root.cpio: missing"},
		"added file": {func(t *testing.T, dir string) { put(t, dir, "netboot/boot.ipxe", []byte("x")) }, "file netboot/boot.ipxe: it is not part of this bake"},
		"extra subject": {resign(func(s *statement.Statement) {
			s.Subjects = append(s.Subjects, statement.Subject{Name: "disk.vhd", SHA256: baseline})
		}), "file disk.vhd: missing"},
		"edited report": {replace(statement.ReportName, `"verdict": "pass"`, `"verdict": "fail"`), "report: the verdict is fail, and the statement says pass; the report was edited"},
		"report about another baseline": {resign(func(s *statement.Statement) { s.Predicate.Baseline = strings.Repeat("d", 64) }),
			"report: the baseline that was judged is " + baseline + ", and the statement says dddd"},
		"edited SBOM":          {replace(sbom.SPDXName, "257", "258"), "sbom sbom.spdx.json: the bill of materials was edited"},
		"SBOM of another":      {replace(sbom.CycloneDXName, `"trial"`, `"total"`), "sbom sbom.cdx.json: the image is total 1.0.0, and the statement says trial 1.0.0"},
		"edited measurements":  {replace(measure.FileName, `"phase": ""`, `"phase": "x"`), "measurements: the expected registers are others"},
		"edited manifest":      {replace(statement.ManifestName, "debian/trixie", "debian/sidsid"), "image: the distribution is debian/sidsid"},
		"edited root hash":     {replace(statement.ManifestName, `"root_hash":"05`, `"root_hash":"06`), "image: the root hash"},
		"lock of another bake": {replace(statement.ManifestName, lockDigest, strings.Repeat("d", 64)), "lock: the lock is dddd"},
		"replayed statement": {func(t *testing.T, dir string) {
			another := output(t, "2.0.0-rc1")
			signed(t, another, facts(), key)
			put(t, dir, statement.FileName, read(t, another, statement.FileName))
		}, "image: the image is trial 1.0.0, and the statement says trial 2.0.0-rc1"},
		"expired": {func(t *testing.T, dir string) {
			f := facts()
			f.ValidUntil = now.Add(-time.Second)
			signed(t, dir, f, key)
		}, "validity: expired: the statement was valid until 2026-05-31T23:59:59Z"},
		"wrong key":        {func(t *testing.T, dir string) { signed(t, dir, facts(), other) }, "signature: wrong key: it is signed by "},
		"edited statement": {editPayload(`"1.2.3"`, `"1.2.4"`), "signature: the signature does not hold: the statement was changed"},
		"no signature": {func(t *testing.T, dir string) {
			editEnvelope(t, dir, func(e map[string]any) { e["signatures"] = []any{} })
		}, "signature: it is not signed"},
		"another predicate": {editPayload("attestation/image/v1", "attestation/image/v9"), "statement: cannot read the statement: it is a statement of another kind"},
		"an unknown field":  {editPayload(`"predicate":{`, `"predicate":{"x":1,`), "statement: cannot read the statement: its predicate cannot be read"},
		"a way out":         {editPayload(`"disk.raw"`, `"../disk.raw"`), `statement: cannot read the statement: its subject "../disk.raw" is no file`},
		"a subject twice":   {editPayload(`"disk.qcow2"`, `"disk.raw"`), "statement: cannot read the statement: its subject disk.raw is there twice"},
		"a link": {func(t *testing.T, dir string) {
			if err := os.Rename(filepath.Join(dir, "disk.raw"), filepath.Join(t.TempDir(), "disk.raw")); err != nil {
				t.Fatal(err)
			}
			if err := os.Symlink("/dev/zero", filepath.Join(dir, "disk.raw")); err != nil {
				t.Fatal(err)
			}
		}, "file disk.raw: it is no regular file"},
	} {
		t.Run(name, func(t *testing.T) {
			dir := output(t, "1.0.0")
			signed(t, dir, facts(), key)
			tt.do(t, dir)
			r := verify(t, dir, key.Public(), "")
			if r.Outcome == statement.Pass {
				t.Fatal("it was not found")
			}
			var said []string
			for _, c := range r.Checks {
				if c.Outcome != statement.Pass {
					said = append(said, c.Name+": "+c.Says)
				}
			}
			if !slices.ContainsFunc(said, func(s string) bool { return strings.HasPrefix(s, tt.says) }) {
				t.Errorf("it says\n%s\nwant %q", strings.Join(said, "\n"), tt.says)
			}
			var text bytes.Buffer
			if err := statement.WriteText(&text, r); err != nil || !strings.Contains(text.String(), "NOT VERIFIED") {
				t.Errorf("%v\n%s", err, text.String())
			}
		})
	}
	if _, err := statement.Verify(t.Context(), t.TempDir(), statement.Options{}); err == nil || !strings.Contains(err.Error(), "there is no statement.dsse.json") {
		t.Errorf("no statement: %v", err)
	}
}

func editEnvelope(t *testing.T, dir string, edit func(map[string]any)) {
	t.Helper()
	text, err := os.ReadFile(filepath.Join(dir, statement.FileName))
	if err != nil {
		t.Fatal(err)
	}
	var e map[string]any
	if err := json.Unmarshal(text, &e); err != nil {
		t.Fatal(err)
	}
	edit(e)
	if text, err = json.Marshal(e); err != nil {
		t.Fatal(err)
	}
	put(t, dir, statement.FileName, text)
}

// editPayload changes what was signed, and leaves the signature.
func editPayload(old, with string) func(*testing.T, string) {
	return func(t *testing.T, dir string) {
		editEnvelope(t, dir, func(e map[string]any) {
			payload, err := base64.StdEncoding.DecodeString(fmt.Sprint(e["payload"]))
			if err != nil || !bytes.Contains(payload, []byte(old)) {
				t.Fatalf("the payload does not hold %s (%v): %s", old, err, payload)
			}
			e["payload"] = base64.StdEncoding.EncodeToString(bytes.Replace(payload, []byte(old), []byte(with), 1))
		})
	}
}

func FuzzParse(f *testing.F) {
	dir := output(f, "1.0.0")
	signed(f, dir, facts(), edwards(f))
	text, err := os.ReadFile(filepath.Join(dir, statement.FileName))
	if err != nil {
		f.Fatal(err)
	}
	f.Add(text)
	f.Add([]byte(`{"payloadType":"application/vnd.in-toto+json","payload":"e30=","signatures":[]}`))
	stranger := edwards(f)
	f.Fuzz(func(t *testing.T, text []byte) {
		e, err := statement.Parse(text)
		if err != nil {
			return
		}
		if _, err := e.Verify(t.Context(), stranger.Public()); err == nil {
			t.Error("a key that has signed nothing verifies")
		}
	})
}

// How long a bake took is nothing that a statement is about: two bakes of one image have the same bytes of it, with either kind of key.
func TestTheTimesOfABakeAreNotStated(t *testing.T) {
	for name, key := range map[string]crypto.Signer{"ed25519": edwards(t), "ecdsa-p256": p256(t)} {
		var made [2][]byte
		for i := range made {
			dir := output(t, "1.0.0")
			put(t, dir, statement.TimesName, []byte{byte(i)})
			signed(t, dir, facts(), key)
			if r := verify(t, dir, key.Public(), ""); r.Outcome != statement.Pass {
				t.Errorf("%s: %+v", name, r.Checks)
			}
			text, err := os.ReadFile(filepath.Join(dir, statement.FileName))
			if err != nil {
				t.Fatal(err)
			}
			made[i] = text
		}
		if !bytes.Equal(made[0], made[1]) {
			t.Errorf("%s: the statement of a second bake is another: %s, %s", name, made[0], made[1])
		}
	}
}
