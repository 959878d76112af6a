package release

import (
	"bytes"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

func TestResolve(t *testing.T) {
	m := newMaker(t)
	m.vault(t, "1.21.1", zipOf(t, entry{"LICENSE.txt", "text"}, entry{"vault", "the program"}))
	r := m.request(t, "1.21.1")
	got, err := Resolve(t.Context(), r)
	if err != nil {
		t.Fatal(err)
	}
	text, err := os.ReadFile(got.Path)
	if err != nil || string(text) != "the program" || got.SHA256 != sumOf(text) || got.Product != "vault" || got.Version != "1.21.1" {
		t.Errorf("got %+v with %q, %v", got, text, err)
	}
	if info, err := os.Stat(got.Path); err != nil || info.Mode() != 0o755 {
		t.Errorf("mode %v, %v", info.Mode(), err)
	}
	if left := tree(t, r.Cache); strings.Contains(left, partialPrefix) {
		t.Errorf("left: %s", left)
	}

	m.asked()
	again, err := Resolve(t.Context(), r)
	if err != nil || again != got {
		t.Errorf("from the cache: %+v, %v", again, err)
	}
	if asked := m.asked(); asked != nil {
		t.Errorf("a cached exact version asked for %q", asked)
	}
	m.Close()
	for _, version := range []string{"1.21.1", "~> 1.21.0"} {
		r.Version, r.Offline = version, true
		if offline, err := Resolve(t.Context(), r); err != nil || offline != got {
			t.Errorf("offline, %s: %+v, %v", version, offline, err)
		}
	}
	r.Version = "1.21.2"
	if _, err := Resolve(t.Context(), r); err == nil || !strings.Contains(err.Error(), "vault 1.21.2 is not in the cache") {
		t.Errorf("offline, not there: %v", err)
	}
	r.Version = "< 1.21.0"
	if _, err := Resolve(t.Context(), r); err == nil || !strings.Contains(err.Error(), "fits") {
		t.Errorf("offline, nothing fits: %v", err)
	}
}

func TestOpenBao(t *testing.T) {
	for version, names := range map[string][2]string{
		"2.6.2": {"checksums.txt", "openbao_2.6.2_linux_amd64.tar.gz"},
		"2.4.4": {"checksums-linux.txt", "bao_2.4.4_Linux_x86_64.tar.gz"},
	} {
		m := newMaker(t)
		archive := tarOf(t, entry{"LICENSE", "text"}, entry{"bao", "the program"})
		sums := fmt.Appendf(nil, "%s  %s\n", sumOf(archive), names[1])
		m.serve("/v"+version+"/"+names[0], sums)
		m.serve("/v"+version+"/"+names[0]+".gpgsig", sign(t, m.key, sums))
		m.serve("/v"+version+"/"+names[1], archive)
		m.serve("/index.json", []byte(`[{"tag_name":"v9.0.0","draft":true},{"tag_name":"v8.0.0","prerelease":true},{"tag_name":"api/v7.0.0"},{"tag_name":"v`+version+`"}]`))
		r := m.request(t, ">= 2.0.0")
		r.Product = "openbao"
		got, err := Resolve(t.Context(), r)
		if err != nil || got.Version != version || got.SHA256 != sumOf([]byte("the program")) || filepath.Base(got.Path) != "bao" {
			t.Errorf("%s: %+v, %v", version, got, err)
		}
	}
}

// Everything that can be wrong with a release is told in one line, and leaves no file.
func TestRefusals(t *testing.T) {
	good := zipOf(t, entry{"vault", strings.Repeat("the program", 1000)})
	plain := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { w.Write(good) }))
	defer plain.Close()
	const archive, sums = "/1.21.1/vault_1.21.1_linux_amd64.zip", "/1.21.1/vault_1.21.1_SHA256SUMS"
	signature := func(m *maker) string { f := fingerprint(m.key); return sums + "." + f[len(f)-8:] + ".sig" }
	listed := func(m *maker) []byte {
		w := httptest.NewRecorder()
		m.files[sums](w, nil)
		return w.Body.Bytes()
	}
	tests := map[string]struct {
		change func(t *testing.T, m *maker, r *Request)
		says   string
	}{
		"wrong sum": {func(t *testing.T, m *maker, _ *Request) {
			m.serve(archive, append(bytes.Clone(good), 0))
		}, "and the signed checksums say " + sumOf(good)},
		"wrong signature": {func(t *testing.T, m *maker, _ *Request) {
			m.serve(sums, append(listed(m), '\n'))
		}, "the signature is wrong"},
		"unknown key": {func(t *testing.T, m *maker, _ *Request) {
			m.serve(signature(m), sign(t, newKey(t, 0), listed(m)))
		}, "signed by the unknown key"},
		"another key in the file": {func(t *testing.T, m *maker, r *Request) {
			r.Key = armored(t, newKey(t, 0))
		}, "is not the pinned one"},
		"unpinned key in the file": {func(t *testing.T, m *maker, r *Request) {
			other := newKey(t, 0)
			var both bytes.Buffer
			if err := other.Serialize(&both); err != nil {
				t.Fatal(err)
			}
			if err := m.key.Serialize(&both); err != nil {
				t.Fatal(err)
			}
			r.Key = both.Bytes()
			m.serve(signature(m), sign(t, other, listed(m)))
		}, "signed by the unknown key"},
		"expired key": {func(t *testing.T, m *maker, r *Request) {
			m.key = newKey(t, 90*24*time.Hour)
			m.vault(t, "1.21.1", good)
			r.Key, r.Fingerprints = armored(t, m.key), []string{fingerprint(m.key)}
		}, "has expired, or is not valid yet, at 2026-06-01"},
		"signature of the future": {func(t *testing.T, m *maker, r *Request) {
			r.At = now.AddDate(0, -11, -5)
		}, "was not made yet"},
		"no signature": {func(t *testing.T, m *maker, _ *Request) {
			delete(m.files, signature(m))
		}, "vault_1.21.1_SHA256SUMS has no signature"},
		"empty signature": {func(t *testing.T, m *maker, _ *Request) {
			m.serve(signature(m), nil)
		}, "cannot read the signature"},
		"truncated archive": {func(t *testing.T, m *maker, _ *Request) {
			m.handle(archive, func(w http.ResponseWriter, _ *http.Request) {
				w.Header().Set("Content-Length", fmt.Sprint(len(good)))
				w.Write(good[:100])
			})
		}, "cut off after 100 of"},
		"truncated before it was signed": {func(t *testing.T, m *maker, _ *Request) {
			m.vault(t, "1.21.1", good[:len(good)-30])
		}, "the archive cannot be read"},
		"path outside": {func(t *testing.T, m *maker, _ *Request) {
			m.vault(t, "1.21.1", zipOf(t, entry{"vault", "program"}, entry{"../../evil", "x"}))
		}, `holds "../../evil", a path outside`},
		"absolute path": {func(t *testing.T, m *maker, _ *Request) {
			m.vault(t, "1.21.1", zipOf(t, entry{"/etc/passwd", "x"}, entry{"vault", "program"}))
		}, `holds "/etc/passwd", a path outside`},
		"no program": {func(t *testing.T, m *maker, _ *Request) {
			m.vault(t, "1.21.1", zipOf(t, entry{"bin/vault", "program"}))
		}, "holds no program vault"},
		"two programs": {func(t *testing.T, m *maker, _ *Request) {
			m.vault(t, "1.21.1", zipOf(t, entry{"vault", "program"}, entry{"./vault", "other"}))
		}, "holds vault twice"},
		"directory": {func(t *testing.T, m *maker, _ *Request) {
			m.vault(t, "1.21.1", zipOf(t, entry{"vault/", ""}))
		}, "not a regular file"},
		"redirect to plain HTTP": {func(t *testing.T, m *maker, _ *Request) {
			m.handle(archive, func(w http.ResponseWriter, r *http.Request) { http.Redirect(w, r, plain.URL, http.StatusFound) })
		}, "which is not HTTPS"},
		"redirects without end": {func(t *testing.T, m *maker, _ *Request) {
			m.handle(sums, func(w http.ResponseWriter, r *http.Request) { http.Redirect(w, r, sums, http.StatusFound) })
		}, "redirects more than 5 times"},
		"endless checksums": {func(t *testing.T, m *maker, _ *Request) {
			m.handle(sums, func(w http.ResponseWriter, _ *http.Request) {
				for line := make([]byte, 64<<10); ; {
					if _, err := w.Write(line); err != nil {
						return
					}
				}
			})
		}, "bytes that are allowed"},
		"not listed": {func(t *testing.T, m *maker, _ *Request) {
			text := []byte(sumOf(good) + "  vault_1.21.1_darwin_amd64.zip\n")
			m.serve(sums, text)
			m.serve(signature(m), sign(t, m.key, text))
		}, "does not list vault_1.21.1_linux_amd64.zip"},
		"unknown authority": {func(t *testing.T, m *maker, r *Request) {
			r.Authorities = nil
		}, "certificate"},
		"not published": {func(t *testing.T, m *maker, r *Request) {
			r.Version = "1.21.9"
		}, "404 Not Found"},
		"time-out": {func(t *testing.T, m *maker, r *Request) {
			m.handle(archive, func(w http.ResponseWriter, r *http.Request) { <-r.Context().Done() })
			r.Timeout = 200 * time.Millisecond
		}, "deadline exceeded"},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			m := newMaker(t)
			m.vault(t, "1.21.1", good)
			r := m.request(t, "1.21.1")
			tt.change(t, m, &r)
			got, err := Resolve(t.Context(), r)
			if err == nil || !strings.Contains(err.Error(), tt.says) || strings.Contains(err.Error(), "\n") {
				t.Errorf("got %+v, %v; want one line that says %q", got, err, tt.says)
			}
			if left := tree(t, r.Cache); left != "" {
				t.Errorf("cached: %s", left)
			}
		})
	}
}

// A key that has expired since speaks for what it signed, when the template says as of when.
func TestExpiredKeyAsOfThen(t *testing.T) {
	m := newMaker(t)
	m.key = newKey(t, 90*24*time.Hour)
	m.vault(t, "1.21.1", zipOf(t, entry{"vault", "program"}))
	r := m.request(t, "1.21.1")
	r.At = now.AddDate(0, -10, 0)
	if _, err := Resolve(t.Context(), r); err != nil {
		t.Fatal(err)
	}
	r.At, r.Offline = now, true // the cache does not vouch for it
	if _, err := Resolve(t.Context(), r); err == nil || !strings.Contains(err.Error(), "has expired") {
		t.Errorf("cached, judged later: %v", err)
	}
}

// What is half there, or not any more what it was, is fetched again; without a network it is an error.
func TestDamagedCache(t *testing.T) {
	damage := map[string]func(r Request, got Release) error{
		"program changed": func(_ Request, got Release) error { return os.WriteFile(got.Path, []byte("evil"), 0o755) },
		"program gone":    func(_ Request, got Release) error { return os.Remove(got.Path) },
		"archive short": func(_ Request, got Release) error {
			return os.Truncate(filepath.Join(filepath.Dir(got.Path), archiveName), 10)
		},
		"archive gone": func(_ Request, got Release) error {
			return os.Remove(filepath.Join(filepath.Dir(got.Path), archiveName))
		},
		"checksums changed": func(r Request, _ Release) error {
			return os.WriteFile(filepath.Join(r.Cache, "vault", "1.21.1", sumsName), []byte("x"), 0o644)
		},
		"signature gone": func(r Request, _ Release) error {
			return os.Remove(filepath.Join(r.Cache, "vault", "1.21.1", signatureName))
		},
		"interrupted": func(r Request, _ Release) error {
			return os.Rename(filepath.Join(r.Cache, "vault"), filepath.Join(r.Cache, partialPrefix+"1"))
		},
	}
	for name, break_ := range damage {
		t.Run(name, func(t *testing.T) {
			m := newMaker(t)
			m.vault(t, "1.21.1", zipOf(t, entry{"vault", "program"}))
			r := m.request(t, "1.21.1")
			want, err := Resolve(t.Context(), r)
			if err != nil {
				t.Fatal(err)
			}
			if err := break_(r, want); err != nil {
				t.Fatal(err)
			}
			r.Offline = true
			if got, err := Resolve(t.Context(), r); err == nil {
				t.Errorf("offline: %+v", got)
			}
			r.Offline = false
			got, err := Resolve(t.Context(), r)
			if err != nil || got != want {
				t.Fatalf("again: %+v, %v", got, err)
			}
			if text, err := os.ReadFile(got.Path); err != nil || string(text) != "program" {
				t.Errorf("again: %q, %v", text, err)
			}
			r.Offline = true
			if _, err := Resolve(t.Context(), r); err != nil {
				t.Errorf("repaired, offline: %v", err)
			}
		})
	}
}

func TestConstraintTakesTheNewestThatFits(t *testing.T) {
	m := newMaker(t)
	for _, v := range []string{"1.20.9", "1.21.2", "1.21.10"} {
		m.vault(t, v, zipOf(t, entry{"vault", v}))
	}
	m.serve("/index.json", []byte(`{"name":"vault","versions":{"1.20.9":{},"1.21.2":{},"1.21.10":{},"1.21.11-rc1":{},"1.21.12+ent":{},"../../1.21.13":{},"1.22.0":{},"1.23.0-rc1":{}}}`))
	for constraint, want := range map[string]string{"~> 1.21.0": "1.21.10", ">= 1.20.0, < 1.21.10": "1.21.2", "< 1.21.0": "1.20.9"} {
		r := m.request(t, constraint)
		if got, err := Resolve(t.Context(), r); err != nil || got.Version != want {
			t.Errorf("%s: %+v, %v", constraint, got, err)
		}
	}
	r := m.request(t, ">= 1.23.0-rc1") // a prerelease needs its exact version
	if got, err := Resolve(t.Context(), r); err == nil || !strings.Contains(err.Error(), "fits") {
		t.Errorf("a prerelease: %+v, %v", got, err)
	}
	r.Version = "> 2.0.0"
	if _, err := Resolve(t.Context(), r); err == nil || !strings.Contains(err.Error(), "no version in "+m.URL+"/index.json fits") {
		t.Errorf("nothing fits: %v", err)
	}
	m.serve("/index.json", []byte(`{"versions":`))
	if _, err := Resolve(t.Context(), r); err == nil || !strings.Contains(err.Error(), "cannot read "+m.URL) {
		t.Errorf("half an index: %v", err)
	}
}

func TestRequestsThatMakeNoSense(t *testing.T) {
	good := Request{Product: "vault", Version: "1.21.1", Cache: "/nowhere"}
	if err := good.Check(); err != nil {
		t.Fatal(err)
	}
	tests := map[string]struct {
		change func(r *Request)
		says   string
	}{
		"product":           {func(r *Request) { r.Product = "consul" }, "not one of vault, openbao"},
		"no version":        {func(r *Request) { r.Version = "" }, "neither a version"},
		"path":              {func(r *Request) { r.Version = "../1.21.1" }, "neither a version"},
		"short":             {func(r *Request) { r.Version = "1.21" }, "neither a version"},
		"constraint":        {func(r *Request) { r.Version = ">= one" }, "not a constraint"},
		"plain mirror":      {func(r *Request) { r.Mirror = "http://mirror.example.com" }, "not an https:// address"},
		"authorities":       {func(r *Request) { r.Authorities = []byte("none") }, "holds no certificate"},
		"key without pin":   {func(r *Request) { r.Key = keyOpenBao }, "are required with key_file"},
		"short fingerprint": {func(r *Request) { r.Fingerprints = []string{"72D7468F"} }, "can be forged"},
		"no key":            {func(r *Request) { r.Key = []byte("key"); r.Fingerprints = vendors["vault"].fingerprints }, "cannot read the public key"},
		"no cache":          {func(r *Request) { r.Cache = "" }, "cache_directory"},
	}
	for name, tt := range tests {
		r := good
		tt.change(&r)
		if err := r.Check(); err == nil || !strings.Contains(err.Error(), tt.says) {
			t.Errorf("%s: got %v, want %q", name, err, tt.says)
		}
	}
}

// The keys in the plugin are the pinned ones, and can still speak for a while.
func TestVendorsKeys(t *testing.T) {
	for _, product := range Products() {
		v := vendors[product]
		ring, err := newKeyring(v.key, v.fingerprints)
		if err != nil {
			t.Fatalf("%s: %v", product, err)
		}
		key, ok := ring.keys[0].SigningKey(now)
		if !ok {
			t.Fatalf("%s: the key cannot sign at %s", product, now)
		}
		t.Logf("%s: signing key %X", product, key.PublicKey.Fingerprint)
	}
}

func TestTarRefusals(t *testing.T) {
	for says, archive := range map[string][]byte{
		"a path outside":         tarOf(t, entry{"bao", "program"}, entry{"../evil", "x"}),
		"not a regular file":     tarOf(t, entry{"bao", "-> /bin/sh"}),
		"holds bao twice":        tarOf(t, entry{"bao", "program"}, entry{"bao", "other"}),
		"holds no program bao":   tarOf(t, entry{"LICENSE", "text"}),
		"bytes that are allowed": tarOf(t, entry{"bao", strings.Repeat("x", 4<<10+1)}),
		"cannot be read":         []byte("no archive"),
	} {
		file := filepath.Join(t.TempDir(), archiveName)
		if err := os.WriteFile(file, archive, 0o644); err != nil {
			t.Fatal(err)
		}
		if err := extractTar(file, "bao", 4<<10, io.Discard); err == nil || !strings.Contains(err.Error(), says) {
			t.Errorf("got %v, want %q", err, says)
		}
	}
}

func FuzzSums(f *testing.F) {
	sum := sumOf(nil)
	for _, s := range []string{sum + "  vault.zip\n", sum + " *vault.zip\r\n", sum + "  other\n" + sum + "  vault.zip", "\n", "x  vault.zip\n"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, text string) {
		name, got, err := findSum([]byte(text), []string{"vault.zip", "old.zip"})
		if err != nil {
			return
		}
		if name != "vault.zip" && name != "old.zip" || len(got) != 64 || !strings.Contains(strings.ToLower(text), got) || !strings.Contains(text, name) {
			t.Errorf("%q gives %q for %q", text, got, name)
		}
	})
}

func FuzzIndex(f *testing.F) {
	f.Add(`{"versions":{"1.21.1":{},"1.21.2+ent":{}}}`)
	f.Add(`[{"tag_name":"v2.6.2"},{"tag_name":"v2.7.0-beta1","prerelease":true}]`)
	f.Add(`{"versions":{"../1.0.0":null}}`)
	w, err := parseWanted(">= 0")
	if err != nil {
		f.Fatal(err)
	}
	f.Fuzz(func(t *testing.T, text string) {
		for _, parse := range []func([]byte) ([]string, error){hashicorpIndex, githubIndex} {
			list, err := parse([]byte(text))
			if err != nil {
				continue
			}
			// Whatever is chosen becomes part of a path and of an address.
			if name, ok := w.newest(list); ok && (!exactVersion.MatchString(name) || strings.ContainsAny(name, "/\\%?#+-")) {
				t.Errorf("%q gives %q", text, name)
			}
		}
	})
}

func FuzzSignature(f *testing.F) {
	v := vendors["vault"]
	ring, err := newKeyring(v.key, v.fingerprints)
	if err != nil {
		f.Fatal(err)
	}
	f.Add([]byte("-----BEGIN PGP SIGNATURE-----\n\niQ==\n-----END PGP SIGNATURE-----"))
	f.Add([]byte{0xc2, 0x00})
	f.Fuzz(func(t *testing.T, signature []byte) {
		if err := ring.verify([]byte("text"), signature, now); err == nil {
			t.Error("a forged signature")
		}
	})
}
