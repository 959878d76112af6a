package secureboot

import (
	"crypto"
	"crypto/rand"
	"crypto/sha256"
	encasn1 "encoding/asn1"

	"github.com/foxboron/go-uefi/pkcs7"
	"golang.org/x/crypto/cryptobyte"
	"golang.org/x/crypto/cryptobyte/asn1"
)

// signedData is a PKCS #7 SignedData over content: what firmware expects behind a program, and before a variable. The library's own
// maker puts the clock's time into it, or leaves all attributes out, which PKCS #7 forbids for a program's content.
// Here the same content has the same signature; when it was made, no firmware asks.
//
// A content that is not of type data travels inside, and its type and digest are signed with it (RFC 2315, 9.2).
func (i Identity) signedData(contentType encasn1.ObjectIdentifier, content []byte) ([]byte, error) {
	digest := sha256.Sum256(content)
	detached := contentType.Equal(pkcs7.OIDData)
	var attributes []byte
	if !detached {
		attributes = (&pkcs7.Attributes{ContentType: contentType, MessageDigest: digest[:]}).Marshal()
		digest = sha256.Sum256(attributes)
	}
	signature, err := i.signer.Sign(rand.Reader, digest[:], crypto.SHA256) // PKCS #1 v1.5: nothing random in it
	if err != nil {
		return nil, err
	}

	algorithm := func(b *cryptobyte.Builder, id encasn1.ObjectIdentifier) {
		b.AddASN1(asn1.SEQUENCE, func(b *cryptobyte.Builder) {
			b.AddASN1ObjectIdentifier(id)
			b.AddASN1NULL()
		})
	}
	inner := asn1.Tag(0).ContextSpecific().Constructed()
	var b cryptobyte.Builder
	b.AddASN1(asn1.SEQUENCE, func(b *cryptobyte.Builder) { // SignedData
		b.AddASN1Int64(1)
		b.AddASN1(asn1.SET, func(b *cryptobyte.Builder) { algorithm(b, pkcs7.OIDDigestAlgorithmSHA256) })
		b.AddASN1(asn1.SEQUENCE, func(b *cryptobyte.Builder) { // ContentInfo
			b.AddASN1ObjectIdentifier(contentType)
			if !detached {
				b.AddASN1(inner, func(b *cryptobyte.Builder) {
					b.AddASN1(asn1.SEQUENCE, func(b *cryptobyte.Builder) { b.AddBytes(content) })
				})
			}
		})
		b.AddASN1(inner, func(b *cryptobyte.Builder) { b.AddBytes(i.certificate.Raw) })
		b.AddASN1(asn1.SET, func(b *cryptobyte.Builder) {
			b.AddASN1(asn1.SEQUENCE, func(b *cryptobyte.Builder) { // SignerInfo
				b.AddASN1Int64(1)
				b.AddASN1(asn1.SEQUENCE, func(b *cryptobyte.Builder) {
					b.AddBytes(i.certificate.RawIssuer)
					b.AddASN1BigInt(i.certificate.SerialNumber)
				})
				algorithm(b, pkcs7.OIDDigestAlgorithmSHA256)
				if !detached {
					set := cryptobyte.String(attributes)
					set.ReadASN1(&set, asn1.SET) // signed as a SET OF, stored as [0]
					b.AddASN1(inner, func(b *cryptobyte.Builder) { b.AddBytes(set) })
				}
				algorithm(b, pkcs7.OIDEncryptionAlgorithmRSA)
				b.AddASN1OctetString(signature)
			})
		})
	})
	return b.Bytes()
}

// contentInfo wraps SignedData as a program carries it. A variable carries it bare.
func contentInfo(signedData []byte) ([]byte, error) {
	var b cryptobyte.Builder
	b.AddASN1(asn1.SEQUENCE, func(b *cryptobyte.Builder) {
		b.AddASN1ObjectIdentifier(pkcs7.OIDSignedData)
		b.AddASN1(asn1.Tag(0).ContextSpecific().Constructed(), func(b *cryptobyte.Builder) { b.AddBytes(signedData) })
	})
	return b.Bytes()
}
