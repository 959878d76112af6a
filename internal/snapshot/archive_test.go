package snapshot

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"crypto/sha256"
	"encoding/binary"
	"encoding/json"
	"fmt"
	"io"
	"slices"
	"strings"
	"testing"
)

// made is an archive as hashicorp/raft-snapshot writes it, with what a test changes.
type made struct {
	meta    string
	state   []byte
	sums    func(meta, state []byte) string
	names   []string
	trailer string // inside the compression
}

func entry(key, value string) []byte {
	m := binary.AppendUvarint([]byte{10}, uint64(len(key)))
	m = append(m, key...)
	m = binary.AppendUvarint(append(m, 18), uint64(len(value)))
	m = append(m, value...)
	return append(binary.AppendUvarint(nil, uint64(len(m))), m...)
}

// blob is a wrapping.BlobInfo with a key's id.
func blob(id string) string {
	info := append([]byte{26, byte(len(id))}, id...)
	return string(append([]byte{10, 3, 'a', 'b', 'c', 42, byte(len(info))}, info...))
}

func usual() *made {
	state := slices.Concat(
		entry("core/hsm/barrier-unseal-keys", blob("transit/v1")),
		entry("core/keyring", "cipher"),
		entry("core/seal-config", `{"type":"transit","secret_shares":1}`),
		entry("logical/data", strings.Repeat("x", 200_000)),
	)
	return &made{
		meta: fmt.Sprintf(`{"Version":1,"ID":"bolt-snapshot","Index":38,"Term":3,"Size":%d}`+"\n", len(state)), state: state,
		sums: func(meta, state []byte) string {
			return fmt.Sprintf("%x  meta.json\n%x  state.bin\n", sha256.Sum256(meta), sha256.Sum256(state))
		},
		names: []string{"meta.json", "state.bin", "SHA256SUMS", "SHA256SUMS.sealed"},
	}
}

func (m *made) bytes(t testing.TB) []byte {
	t.Helper()
	var out bytes.Buffer
	packed := gzip.NewWriter(&out)
	archive := tar.NewWriter(packed)
	content := map[string][]byte{"meta.json": []byte(m.meta), "state.bin": m.state,
		"SHA256SUMS": []byte(m.sums([]byte(m.meta), m.state)), "SHA256SUMS.sealed": []byte("sealed"), "passwd": []byte("x")}
	for _, name := range m.names {
		if err := archive.WriteHeader(&tar.Header{Name: name, Mode: 0o600, Size: int64(len(content[name]))}); err != nil {
			t.Fatal(err)
		}
		if _, err := archive.Write(content[name]); err != nil {
			t.Fatal(err)
		}
	}
	if err := archive.Close(); err != nil {
		t.Fatal(err)
	}
	_, _ = io.WriteString(packed, m.trailer)
	if err := packed.Close(); err != nil {
		t.Fatal(err)
	}
	return out.Bytes()
}

func TestVerify(t *testing.T) {
	got, err := Verify(bytes.NewReader(usual().bytes(t)))
	want := Content{Index: 38, Term: 3, Entries: 4, Seal: "transit", KeyID: "transit/v1", Sealed: true}
	if err != nil || got != want {
		t.Errorf("got %+v, %v", got, err)
	}
}

// Cut off anywhere, an archive is none; and with a byte of it turned it is none either.
func TestVerifyEveryByteCounts(t *testing.T) {
	m := usual()
	m.state = slices.Concat(entry("core/keyring", "cipher"), entry("core/seal-config", `{"type":"shamir"}`))
	m.meta = fmt.Sprintf(`{"Index":38,"Term":3,"Size":%d}`, len(m.state))
	whole := m.bytes(t)
	if _, err := Verify(bytes.NewReader(whole)); err != nil {
		t.Fatal(err)
	}
	for i := 0; i < len(whole); i += 3 {
		if _, err := Verify(bytes.NewReader(whole[:i])); err == nil {
			t.Errorf("%d of %d bytes are taken for a snapshot", i, len(whole))
		}
		turned := slices.Clone(whole)
		turned[i] ^= 0x40
		if _, err := Verify(bytes.NewReader(turned)); err == nil && !bytes.Equal(unpacked(t, turned), unpacked(t, whole)) {
			t.Errorf("byte %d turned is not noticed", i)
		}
	}
	if _, err := Verify(bytes.NewReader(append(whole, 0))); err == nil {
		t.Error("a byte behind the archive is not noticed")
	}
}

// unpacked is what compression holds: some bits of it, such as the time, say nothing about that.
func unpacked(t *testing.T, b []byte) []byte {
	t.Helper()
	r, err := gzip.NewReader(bytes.NewReader(b))
	if err != nil {
		t.Fatal(err)
	}
	content, err := io.ReadAll(r)
	if err != nil {
		t.Fatal(err)
	}
	return content
}

func TestVerifyRefuses(t *testing.T) {
	for reason, change := range map[string]func(*made){
		"SHA256SUMS is missing": func(m *made) { m.names = m.names[:2] },
		"state.bin is missing":  func(m *made) { m.names = []string{"meta.json", "SHA256SUMS"} },
		"meta.json says":        func(m *made) { m.meta = `{"Index":38,"Term":3,"Size":7}` },
		"state.bin has":         func(m *made) { m.names = []string{"state.bin", "meta.json", "SHA256SUMS"} },
		"is there twice":        func(m *made) { m.names = append(m.names, "meta.json") },
		"has no place in it":    func(m *made) { m.names = append(m.names, "passwd") },
		"does not have the sum": func(m *made) { m.sums = func(meta, _ []byte) string { return usual().sums(meta, nil) } },
		"does not list":         func(m *made) { m.sums = func([]byte, []byte) string { return "" } },
		"not to be listed there": func(m *made) {
			m.sums = func(meta, state []byte) string { return usual().sums(meta, state) + "00  /etc/passwd\n" }
		},
		"something follows the archive": func(m *made) { m.trailer = "more" },
		"no index":                      func(m *made) { m.meta = fmt.Sprintf(`{"Size":%d}`, len(m.state)) },
		"the storage is empty":          func(m *made) { m.setState(nil) },
		"no core/keyring":               func(m *made) { m.setState(entry("core/mounts", "x")) },
		"no core/seal-config":           func(m *made) { m.setState(entry("core/keyring", "x")) },
		"it is cut off":                 func(m *made) { m.setState(entry("core/keyring", "xyz")[:12]) },
		"does not begin with a key":     func(m *made) { m.setState([]byte{3, 1, 2, 3}) },
	} {
		m := usual()
		change(m)
		if _, err := Verify(bytes.NewReader(m.bytes(t))); err == nil || !strings.Contains(err.Error(), reason) {
			t.Errorf("%s: got %v", reason, err)
		}
	}
}

func (m *made) setState(state []byte) {
	m.state = state
	m.meta = fmt.Sprintf(`{"Index":38,"Term":3,"Size":%d}`, len(state))
}

func FuzzVerify(f *testing.F) {
	whole := usual().bytes(f)
	f.Add(whole)
	f.Add(whole[:len(whole)/2])
	f.Add([]byte("\x1f\x8b"))
	f.Fuzz(func(t *testing.T, b []byte) {
		content, err := Verify(bytes.NewReader(b))
		if err != nil {
			return
		}
		// What is taken for a snapshot names what a restore needs to know.
		if content.Entries == 0 || content.Seal == "" || content.Index == 0 {
			t.Errorf("%+v", content)
		}
	})
}

func FuzzReadState(f *testing.F) {
	f.Add(usual().state)
	f.Add(entry("core/hsm/barrier-unseal-keys", "\x0a\xff"))
	f.Add([]byte{0xff, 0xff, 0xff, 0xff, 0x0f})
	f.Fuzz(func(t *testing.T, b []byte) {
		s, err := ReadState(bytes.NewReader(b))
		if err == nil && s.Entries > len(b) {
			t.Errorf("%+v of %d bytes", s, len(b))
		}
	})
}

func FuzzParseManifest(f *testing.F) {
	m := Manifest{Schema: Schema, Archive: "a", Encrypted: Sum{1, strings.Repeat("0", 64)}}
	b, err := json.Marshal(m)
	if err != nil {
		f.Fatal(err)
	}
	f.Add(b)
	f.Add([]byte(`{"schema":"strongroom.snapshot/v1","archive":"a","verified":"2026-11-22T00:00:00Z","encrypted":{"size":1,"sha256":""}}`))
	f.Fuzz(func(t *testing.T, b []byte) {
		if m, err := ParseManifest(b, "a"); err == nil && (m.Encrypted.Size <= 0 || m.Verified.IsZero()) {
			t.Errorf("%+v", m)
		}
	})
}
