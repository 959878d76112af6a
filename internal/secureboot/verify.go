package secureboot

import (
	"bytes"
	"crypto/sha256"
	"crypto/x509"
	"errors"
	"fmt"
	"io"

	"github.com/foxboron/go-uefi/authenticode"
	"golang.org/x/crypto/cryptobyte"
	"golang.org/x/crypto/cryptobyte/asn1"
)

// Signature is one signature of an EFI program.
type Signature struct {
	parsed       *authenticode.Authenticode
	certificates []*x509.Certificate // that travel with it
}

// ErrUnsigned says that a program has no signature.
var ErrUnsigned = errors.New("the program has no signature")

// Signatures lists the signatures of an EFI program whose digest is that of the program. One that is over other bytes is an error,
// and so is a program without any (ErrUnsigned). Whether it is the signature of somebody to trust, [Signature.By] says.
func Signatures(program io.ReaderAt) (list []Signature, err error) {
	// The library indexes by numbers of the file.
	defer func() {
		if p := recover(); p != nil {
			list, err = nil, fmt.Errorf("the signature cannot be read: %v", p)
		}
	}()
	p, err := authenticode.Parse(program)
	if err != nil {
		return nil, fmt.Errorf("it is no EFI program: %w", err)
	}
	if p.Datadir.Size == 0 {
		return nil, ErrUnsigned
	}
	entries, err := p.Signatures()
	if err != nil {
		return nil, fmt.Errorf("the table of signatures cannot be read: %w", err)
	}
	digest, err := Digest(program)
	if err != nil {
		return nil, err
	}
	for _, entry := range entries {
		parsed, err := authenticode.ParseAuthenticode(entry.Certificate)
		if err != nil {
			return nil, fmt.Errorf("the signature cannot be read: %w", err)
		}
		if !bytes.Equal(parsed.Digest, digest[:]) {
			return nil, fmt.Errorf("the signature is over a program with the digest %x, and this one has %x", parsed.Digest, digest)
		}
		list = append(list, Signature{parsed, parsed.Pkcs.Certs})
	}
	if len(list) == 0 {
		return nil, ErrUnsigned
	}
	return list, nil
}

// By verifies that the key of the certificate has made the signature. As firmware, it looks at no dates.
func (s Signature) By(certificate *x509.Certificate) error {
	// What is signed is a list with the digest of what holds the program's digest. The library verifies the list alone.
	outer := cryptobyte.String(s.parsed.Pkcs.ContentInfo)
	var content cryptobyte.String
	if !outer.ReadASN1(&content, asn1.SEQUENCE) || !outer.Empty() {
		return errors.New("the signature has no content")
	}
	want := sha256.Sum256(content)
	for _, info := range s.parsed.Pkcs.SignerInfo {
		if info.AuthenticatedAttributes == nil || !bytes.Equal(info.AuthenticatedAttributes.MessageDigest, want[:]) {
			return errors.New("the signature is not over the digest that it carries")
		}
	}
	ok, err := s.parsed.Pkcs.Verify(certificate)
	if err != nil {
		return err
	}
	if !ok {
		return fmt.Errorf("it was not made by %q", certificate.Subject)
	}
	return nil
}

// Certificates are those that travel with the signature: the signer says of himself who he is.
func (s Signature) Certificates() []*x509.Certificate { return s.certificates }
