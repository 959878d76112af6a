package main

import (
	"bytes"
	"crypto/ed25519"
	"crypto/rand"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/strongroom/strongroom/internal/signature"
)

func TestVerifyRefuses(t *testing.T) {
	public, _, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	text, err := signature.PublicPEM(public)
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	key := filepath.Join(dir, "key.pub")
	if err := os.WriteFile(key, text, 0o600); err != nil {
		t.Fatal(err)
	}
	t.Setenv("VAULT_TOKEN", "")
	broken := filepath.Join(dir, "statement.json")
	if err := os.WriteFile(broken, []byte("{}"), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, tt := range []struct {
		args []string
		code int
		says string
	}{
		{[]string{dir}, 64, "name the key that you trust"},
		{[]string{dir, "--key", key, "--transit", "vault:transit/x"}, 64, "name the key that you trust"},
		{[]string{"--key", key}, 64, "want one image or directory"},
		{[]string{dir, "--key", key, "--format", "xml"}, 64, "not known"},
		{[]string{dir, "--key", filepath.Join(dir, "absent")}, 2, "cannot read the public key"},
		{[]string{dir, "--transit", "vault:transit/x"}, 2, "there is no token in VAULT_TOKEN"},
		{[]string{dir, "--key", key}, 2, "there is no statement.dsse.json"},
		{[]string{filepath.Join(dir, "absent"), "--key", key}, 2, "cannot open the image"},
		{[]string{dir, "--key", key, "--statement", broken}, 1, "cannot read the statement"},
	} {
		var stdout, stderr bytes.Buffer
		if code := run(append([]string{"verify"}, tt.args...), &stdout, &stderr); code != tt.code || !strings.Contains(stdout.String()+stderr.String(), tt.says) {
			t.Errorf("%q: exit status %d, want %d:\n%s%s\nwant %q", tt.args, code, tt.code, &stdout, &stderr, tt.says)
		}
	}
}
