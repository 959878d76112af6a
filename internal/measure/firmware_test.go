package measure_test

import (
	"bytes"
	"strings"
	"testing"

	"github.com/strongroom/strongroom/internal/measure"
	"github.com/strongroom/strongroom/internal/secureboot"
	"github.com/strongroom/strongroom/internal/secureboot/secureboottest"
)

func list(t testing.TB) (value, certificate []byte) {
	t.Helper()
	key := secureboottest.Key(t, 2048)
	id, err := secureboot.New(key, secureboottest.Certificate(t, key), secureboottest.Epoch)
	if err != nil {
		t.Fatal(err)
	}
	return id.SignatureList(), id.Certificate().Raw
}

func TestAuthority(t *testing.T) {
	foreign, _ := list(t)
	ours, certificate := list(t)
	hashes := append([]byte{0x26, 0x16, 0xc4, 0xc1, 0x4c, 0x50, 0x92, 0x40, 0xac, 0xa9, 0x41, 0xf9, 0x36, 0x93, 0x43, 0x28, 76, 0, 0, 0, 0, 0, 0, 0, 48, 0, 0, 0}, make([]byte, 48)...)
	f := measure.Firmware{Name: "lab", SecureBoot: true, DB: bytes.Join([][]byte{hashes, foreign, ours}, nil)}
	entry, err := f.Authority(certificate)
	if err != nil {
		t.Fatal(err)
	}
	if want := ours[28:]; !bytes.Equal(entry, want) {
		t.Errorf("entry of %d bytes, want %d", len(entry), len(want))
	}
	f.DB = bytes.Join([][]byte{hashes, foreign}, nil)
	if _, err := f.Authority(certificate); err == nil || !strings.Contains(err.Error(), "no entry") {
		t.Errorf("a db without the certificate: %v", err)
	}
	f.DB = ours[:len(ours)-1]
	if _, err := f.Authority(certificate); err == nil || !strings.Contains(err.Error(), "longer than") {
		t.Errorf("a db that was cut off: %v", err)
	}
}

// Each thing that a machine's owner decides on is in PCR 7.
func TestPCR7FollowsTheVariables(t *testing.T) {
	base := measure.Firmware{SecureBoot: true, PK: []byte("pk"), KEK: []byte("kek"), DB: []byte("db"), DBX: []byte("dbx")}
	seen := map[measure.PCR]string{base.PCR7([]byte("entry")): "base"}
	for name, change := range map[string]func(*measure.Firmware) []byte{
		"state":           func(f *measure.Firmware) []byte { f.SecureBoot = false; return []byte("entry") },
		"PK":              func(f *measure.Firmware) []byte { f.PK = []byte("PK"); return []byte("entry") },
		"KEK":             func(f *measure.Firmware) []byte { f.KEK = nil; return []byte("entry") },
		"db":              func(f *measure.Firmware) []byte { f.DB = []byte("db2"); return []byte("entry") },
		"dbx":             func(f *measure.Firmware) []byte { f.DBX = nil; return []byte("entry") },
		"another entry":   func(*measure.Firmware) []byte { return []byte("other") },
		"nobody asked":    func(*measure.Firmware) []byte { return nil },
		"db and dbx swap": func(f *measure.Firmware) []byte { f.DB, f.DBX = f.DBX, f.DB; return []byte("entry") },
	} {
		f := base
		entry := change(&f)
		p := f.PCR7(entry)
		if other, ok := seen[p]; ok {
			t.Errorf("%s: the same PCR 7 as %s", name, other)
		}
		seen[p] = name
	}
}

func FuzzAuthority(f *testing.F) {
	value, certificate := list(f)
	f.Add(value, certificate)
	f.Add(append([]byte{}, value[:40]...), certificate)
	f.Fuzz(func(t *testing.T, value, certificate []byte) {
		entry, err := measure.Firmware{DB: value}.Authority(certificate)
		if err == nil && !bytes.HasSuffix(entry, certificate) {
			t.Error("an entry with another certificate")
		}
	})
}
