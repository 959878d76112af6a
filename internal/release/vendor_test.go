package release

import (
	"archive/tar"
	"archive/zip"
	"bytes"
	"compress/gzip"
	"crypto/sha256"
	"encoding/hex"
	"encoding/pem"
	"fmt"
	"io"
	"log"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/ProtonMail/go-crypto/openpgp"
	"github.com/ProtonMail/go-crypto/openpgp/armor"
	"github.com/ProtonMail/go-crypto/openpgp/packet"
)

// now is when the made-up keys are valid.
var now = time.Date(2026, 6, 1, 0, 0, 0, 0, time.UTC)

// newKey makes a key a year before now that lives for a while; zero is for ever.
func newKey(t *testing.T, lifetime time.Duration) *openpgp.Entity {
	t.Helper()
	e, err := openpgp.NewEntity("Vendor", "", "vendor@example.com", &packet.Config{
		Algorithm: packet.PubKeyAlgoEdDSA, Time: func() time.Time { return now.AddDate(-1, 0, 0) }, KeyLifetimeSecs: uint32(lifetime.Seconds()),
	})
	if err != nil {
		t.Fatal(err)
	}
	return e
}

func armored(t *testing.T, e *openpgp.Entity) []byte {
	t.Helper()
	var b bytes.Buffer
	w, err := armor.Encode(&b, openpgp.PublicKeyType, nil)
	if err != nil {
		t.Fatal(err)
	}
	if err := e.Serialize(w); err != nil {
		t.Fatal(err)
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

func sign(t *testing.T, e *openpgp.Entity, text []byte) []byte {
	t.Helper()
	var b bytes.Buffer
	err := openpgp.DetachSign(&b, e, bytes.NewReader(text), &packet.Config{Time: func() time.Time { return now.AddDate(0, -11, 0) }})
	if err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

type entry struct{ name, content string }

func zipOf(t *testing.T, entries ...entry) []byte {
	t.Helper()
	var b bytes.Buffer
	z := zip.NewWriter(&b)
	for _, e := range entries {
		w, err := z.Create(e.name)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := w.Write([]byte(e.content)); err != nil {
			t.Fatal(err)
		}
	}
	if err := z.Close(); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

func tarOf(t *testing.T, entries ...entry) []byte {
	t.Helper()
	var b bytes.Buffer
	g := gzip.NewWriter(&b)
	w := tar.NewWriter(g)
	for _, e := range entries {
		h := &tar.Header{Name: e.name, Mode: 0o755, Size: int64(len(e.content))}
		if target, ok := strings.CutPrefix(e.content, "-> "); ok {
			h.Typeflag, h.Linkname, h.Size = tar.TypeSymlink, target, 0
		}
		if err := w.WriteHeader(h); err != nil {
			t.Fatal(err)
		}
		if h.Size > 0 {
			if _, err := w.Write([]byte(e.content)); err != nil {
				t.Fatal(err)
			}
		}
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	if err := g.Close(); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

func sumOf(text []byte) string {
	sum := sha256.Sum256(text)
	return hex.EncodeToString(sum[:])
}

// maker is a vendor on this machine. Its files can be replaced, and what it was asked for is recorded.
type maker struct {
	*httptest.Server
	key     *openpgp.Entity
	mu      sync.Mutex
	files   map[string]http.HandlerFunc
	fetched []string
}

func newMaker(t *testing.T) *maker {
	t.Helper()
	m := &maker{key: newKey(t, 0), files: map[string]http.HandlerFunc{}}
	m.Server = httptest.NewTLSServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		m.mu.Lock()
		file := m.files[r.URL.Path]
		m.fetched = append(m.fetched, r.URL.Path)
		m.mu.Unlock()
		if file == nil {
			http.NotFound(w, r)
			return
		}
		file(w, r)
	}))
	m.Config.ErrorLog = log.New(io.Discard, "", 0)
	t.Cleanup(m.Close)
	return m
}

func (m *maker) serve(path string, content []byte) {
	m.handle(path, func(w http.ResponseWriter, _ *http.Request) { w.Write(content) })
}

func (m *maker) handle(path string, h http.HandlerFunc) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.files[path] = h
}

func (m *maker) asked() []string {
	m.mu.Lock()
	defer m.mu.Unlock()
	list := m.fetched
	m.fetched = nil
	return list
}

// vault publishes a version of Vault with an archive.
func (m *maker) vault(t *testing.T, version string, archive []byte) {
	t.Helper()
	dir := "/" + version + "/vault_" + version
	sums := fmt.Appendf(nil, "%s  vault_%s_linux_arm64.zip\n%s  vault_%s_linux_amd64.zip\n", sumOf(nil), version, sumOf(archive), version)
	m.serve(dir+"_SHA256SUMS", sums)
	f := fingerprint(m.key)
	m.serve(dir+"_SHA256SUMS."+f[len(f)-8:]+".sig", sign(t, m.key, sums))
	m.serve(dir+"_linux_amd64.zip", archive)
}

func (m *maker) request(t *testing.T, version string) Request {
	t.Helper()
	return Request{
		Product: "vault", Version: version, Mirror: m.URL, Authorities: pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: m.Certificate().Raw}),
		Key: armored(t, m.key), Fingerprints: []string{fingerprint(m.key)}, At: now, Cache: filepath.Join(t.TempDir(), "cache"),
	}
}

// tree lists the files below a directory.
func tree(t *testing.T, dir string) string {
	t.Helper()
	var list []string
	err := filepath.WalkDir(dir, func(path string, d os.DirEntry, err error) error {
		if err == nil && !d.IsDir() {
			list = append(list, strings.TrimPrefix(path, dir+"/"))
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return strings.Join(list, " ")
}
