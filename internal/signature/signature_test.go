package signature_test

import (
	"bytes"
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"errors"
	"strings"
	"testing"

	"github.com/secure-systems-lab/go-securesystemslib/dsse"

	"github.com/strongroom/strongroom/internal/signature"
)

func keys(t testing.TB) map[string]crypto.Signer {
	t.Helper()
	_, edwards, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	p256, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	return map[string]crypto.Signer{"ed25519": edwards, "ecdsa-p256": p256}
}

func TestSignature(t *testing.T) {
	for name, key := range keys(t) {
		made, err := signature.Sign(key, "a type", []byte("message"))
		if err != nil {
			t.Fatal(err)
		}
		public, err := signature.PublicPEM(key.Public())
		if err != nil {
			t.Fatal(err)
		}
		read, err := signature.ParsePublicKey(public)
		if err != nil {
			t.Fatal(err)
		}
		if err := signature.Verify(read, "a type", []byte("message"), made); err != nil {
			t.Errorf("%s: %v", name, err)
		}
		for what, err := range map[string]error{
			"message":   signature.Verify(read, "a type", []byte("massage"), made),
			"type":      signature.Verify(read, "b type", []byte("message"), made),
			"signature": signature.Verify(read, "a type", []byte("message"), made[1:]),
			"key":       signature.Verify(keys(t)[name].Public(), "a type", []byte("message"), made),
		} {
			if !errors.Is(err, signature.ErrDoesNotHold) {
				t.Errorf("%s: another %s: %v", name, what, err)
			}
		}
	}
}

// The signature of a baseline lies in the root, which has the same bytes in every bake.
func TestAKeyOfAFileSignsAlike(t *testing.T) {
	for name, key := range keys(t) {
		first, err := signature.Sign(key, "a type", []byte("message"))
		if err != nil {
			t.Fatal(err)
		}
		second, err := signature.Sign(key, "a type", []byte("message"))
		if err != nil {
			t.Fatal(err)
		}
		if !bytes.Equal(first, second) {
			t.Errorf("%s: two signatures of one message differ", name)
		}
	}
}

func TestRefusesOtherKeys(t *testing.T) {
	weak, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		t.Fatal(err)
	}
	p384, err := ecdsa.GenerateKey(elliptic.P384(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	for _, key := range []crypto.Signer{weak, p384} {
		if _, err := signature.Sign(key, "", nil); err == nil || !strings.Contains(err.Error(), "neither Ed25519 nor ECDSA on P-256") {
			t.Error(err)
		}
	}
}

// What is signed is what the envelope's own library signs.
func TestEncode(t *testing.T) {
	if got, want := string(signature.Encode("a/b", []byte("x\x00y"))), string(dsse.PAE("a/b", []byte("x\x00y"))); got != want {
		t.Errorf("%q, want %q", got, want)
	}
}

func FuzzParsePublicKey(f *testing.F) {
	for _, key := range keys(f) {
		text, err := signature.PublicPEM(key.Public())
		if err != nil {
			f.Fatal(err)
		}
		f.Add(text)
	}
	f.Fuzz(func(t *testing.T, text []byte) {
		if key, err := signature.ParsePublicKey(text); err == nil {
			if err := signature.Verify(key, "", nil, text); err == nil {
				t.Error("anything is a signature")
			}
		}
	})
}
