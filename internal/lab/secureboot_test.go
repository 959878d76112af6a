package lab

import (
	"bytes"
	"os"
	"strings"
	"testing"

	"github.com/strongroom/strongroom/internal/secureboot"
	"github.com/strongroom/strongroom/internal/secureboot/secureboottest"
)

func trusting(t testing.TB) *SecureBoot {
	t.Helper()
	key := secureboottest.Key(t, 2048)
	id, err := secureboot.New(key, secureboottest.Certificate(t, key), secureboottest.Epoch)
	if err != nil {
		t.Fatal(err)
	}
	list := id.SignatureList()
	return &SecureBoot{PK: list, KEK: list, DB: list}
}

func TestVariableStore(t *testing.T) {
	empty, err := os.ReadFile(firmwareVariables)
	if err != nil {
		t.Fatal(err)
	}
	s := trusting(t)
	flash, err := Config{SecureBoot: s, LoaderArguments: "init=/bin/sh"}.firmwareState(empty)
	if err != nil {
		t.Fatal(err)
	}
	if len(flash) != len(empty) {
		t.Errorf("%d bytes, the flash has %d", len(flash), len(empty))
	}
	if n := bytes.Count(flash, s.DB); n != 3 {
		t.Errorf("the list is there %d times, want 3", n)
	}
	for name, content := range map[string][]byte{"empty file": nil, "no volume": make([]byte, 4096), "used": flash} {
		if _, err := (Config{SecureBoot: s}).firmwareState(content); err == nil {
			t.Errorf("%s: taken for an empty store", name)
		}
	}
	s.DBX = make([]byte, len(empty))
	if _, err := (Config{SecureBoot: s}).firmwareState(empty); err == nil || !strings.Contains(err.Error(), "bytes more") {
		t.Errorf("a list that is larger than the store: %v", err)
	}
}

func FuzzVariableStore(f *testing.F) {
	empty, err := os.ReadFile(firmwareVariables)
	if err != nil {
		f.Fatal(err)
	}
	f.Add(empty[:1024])
	f.Add(empty[:100])
	c := Config{SecureBoot: &SecureBoot{PK: []byte("pk"), DB: []byte("db")}, LoaderArguments: "quiet"}
	f.Fuzz(func(t *testing.T, flash []byte) {
		if out, err := c.firmwareState(flash); err == nil && len(out) != len(flash) {
			t.Error("the flash has changed its size")
		}
	})
}
