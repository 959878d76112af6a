package secureboot_test

import (
	"bytes"
	"errors"
	"strings"
	"testing"

	"github.com/foxboron/go-uefi/authenticode"

	"github.com/strongroom/strongroom/internal/secureboot"
)

func TestSignatures(t *testing.T) {
	id, foreign := identity(t), identity(t)
	good := signed(t, id, program())
	list, err := secureboot.Signatures(bytes.NewReader(good))
	if err != nil || len(list) != 1 {
		t.Fatalf("%d signatures, %v", len(list), err)
	}
	if err := list[0].By(id.Certificate()); err != nil {
		t.Error(err)
	}
	if err := list[0].By(foreign.Certificate()); err == nil {
		t.Error("it is taken for somebody else's")
	}
	if c := list[0].Certificates(); len(c) != 1 || !c[0].Equal(id.Certificate()) {
		t.Errorf("%d certificates", len(c))
	}
	if _, err := secureboot.Signatures(bytes.NewReader(program())); !errors.Is(err, secureboot.ErrUnsigned) {
		t.Errorf("unsigned: %v", err)
	}
	changed := bytes.Clone(good)
	changed[bytes.Index(changed, []byte("roothash"))] ^= 1
	if _, err := secureboot.Signatures(bytes.NewReader(changed)); err == nil || !strings.Contains(err.Error(), "the signature is over a program with the digest") {
		t.Errorf("changed: %v", err)
	}
}

// Whoever changes the program and the digest beside the signature has not changed what was signed.
func TestAForgedDigestIsNoSignature(t *testing.T) {
	id := identity(t)
	good := signed(t, id, program())
	was, err := secureboot.Digest(bytes.NewReader(good))
	if err != nil {
		t.Fatal(err)
	}
	forged := bytes.Clone(good)
	forged[bytes.Index(forged, []byte("roothash"))] ^= 1
	is, err := secureboot.Digest(bytes.NewReader(forged))
	if err != nil {
		t.Fatal(err)
	}
	at := bytes.Index(forged, was[:])
	copy(forged[at:], is[:])
	list, err := secureboot.Signatures(bytes.NewReader(forged))
	if err != nil || len(list) != 1 {
		t.Fatalf("%d signatures, %v", len(list), err)
	}
	if err := list[0].By(id.Certificate()); err == nil || !strings.Contains(err.Error(), "not over the digest that it carries") {
		t.Errorf("got %v", err)
	}
	// The library alone would take it.
	p, err := authenticode.Parse(bytes.NewReader(forged))
	if err != nil {
		t.Fatal(err)
	}
	if ok, _ := p.Verify(id.Certificate()); !ok {
		t.Log("the library has learned it: By need not look any more")
	}
}

func FuzzSignatures(f *testing.F) {
	id := identity(f)
	f.Add(signed(f, id, program()))
	f.Add(program())
	f.Fuzz(func(t *testing.T, b []byte) {
		list, err := secureboot.Signatures(bytes.NewReader(b))
		if err != nil {
			return
		}
		for _, s := range list {
			s.By(id.Certificate()) // an error is an answer
		}
	})
}
