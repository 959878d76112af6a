package sign_test

import (
	"bytes"
	"crypto/rsa"
	"crypto/x509"
	"encoding/pem"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/strongroom/strongroom/internal/secureboot/secureboottest"
	"github.com/strongroom/strongroom/internal/sign"
)

func TestParseKey(t *testing.T) {
	key := secureboottest.Key(t, 2048)
	pkcs1 := pem.EncodeToMemory(&pem.Block{Type: "RSA PRIVATE KEY", Bytes: x509.MarshalPKCS1PrivateKey(key)})
	certificate := secureboottest.CertificatePEM(secureboottest.Certificate(t, key))
	for name, text := range map[string][]byte{"PKCS #8": secureboottest.KeyPEM(t, key), "PKCS #1": pkcs1, "behind a certificate": append(certificate, pkcs1...)} {
		signer, err := sign.ParseKey(text)
		if err != nil || !key.PublicKey.Equal(signer.Public().(*rsa.PublicKey)) {
			t.Errorf("%s: %v", name, err)
		}
	}
	damaged := bytes.Clone(pkcs1)
	damaged[bytes.IndexByte(damaged, '\n')+1] = 'x'
	for name, tt := range map[string]struct{ text, says string }{
		"nothing":       {"", "no private key"},
		"a certificate": {string(certificate), "no private key"},
		"two":           {string(pkcs1) + string(pkcs1), "more than one"},
		"damaged":       {string(damaged), "damaged"},
		"OpenSSH":       {"-----BEGIN OPENSSH PRIVATE KEY-----\nAAAA\n-----END OPENSSH PRIVATE KEY-----\n", "not known"},
		"locked":        {"-----BEGIN ENCRYPTED PRIVATE KEY-----\nAAAA\n-----END ENCRYPTED PRIVATE KEY-----\n", "passphrase"},
	} {
		if _, err := sign.ParseKey([]byte(tt.text)); err == nil || !strings.Contains(err.Error(), tt.says) {
			t.Errorf("%s: got %v, want an error that says %q", name, err, tt.says)
		}
	}
}

func TestOpenKey(t *testing.T) {
	path := filepath.Join(t.TempDir(), "key.pem")
	if _, err := sign.OpenKey(path); err == nil || !strings.Contains(err.Error(), path) {
		t.Errorf("a file that is not there: %v", err)
	}
	if _, err := sign.OpenKey("pkcs11:token=bakery"); err == nil || !strings.Contains(err.Error(), "pkcs11 are not supported yet") {
		t.Errorf("a token: %v", err)
	}
	if err := os.WriteFile(path, secureboottest.KeyPEM(t, secureboottest.Key(t, 2048)), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := sign.OpenKey(path); err != nil {
		t.Error(err)
	}
}

func FuzzParseKey(f *testing.F) {
	f.Add(secureboottest.KeyPEM(f, secureboottest.Key(f, 2048)))
	f.Add([]byte("-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n"))
	f.Fuzz(func(t *testing.T, text []byte) {
		if key, err := sign.ParseKey(text); (key == nil) == (err == nil) {
			t.Error("neither a key nor an error, or both")
		}
	})
}
