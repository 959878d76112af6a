// Package signature signs and verifies bytes with the keys that strongroom's own statements are signed with: Ed25519 (RFC 8032) and
// ECDSA on P-256 over SHA-256, in ASN.1. It stands on Go's own library alone, since hostcheck verifies with it on every node.
package signature

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/sha256"
	"crypto/x509"
	"encoding/hex"
	"encoding/pem"
	"errors"
	"fmt"
	"strconv"
)

// ErrDoesNotHold says that a signature is not that of the key over the message.
var ErrDoesNotHold = errors.New("the signature does not hold")

// CheckKey refuses a key of another kind.
func CheckKey(key crypto.PublicKey) error {
	switch k := key.(type) {
	case ed25519.PublicKey:
		return nil
	case *ecdsa.PublicKey:
		if k.Curve == elliptic.P256() {
			return nil
		}
	}
	return errors.New("the key is neither Ed25519 nor ECDSA on P-256")
}

// Sign signs a message of a type. What is signed is DSSE's pre-authentication encoding of both, so that a signature of one type of
// message is none of another.
func Sign(key crypto.Signer, messageType string, message []byte) ([]byte, error) {
	return SignEncoded(key, Encode(messageType, message))
}

// SignEncoded signs what Encode has made. It hands no randomness to the key, so that a key of Go's signs the same message alike each time
// (ECDSA as RFC 6979 says, Ed25519 always): the signature of the baseline lies in the root, whose bytes must not change from bake to bake.
// A key that lives elsewhere may sign as it likes; Vault's ECDSA is random.
func SignEncoded(key crypto.Signer, encoded []byte) ([]byte, error) {
	if err := CheckKey(key.Public()); err != nil {
		return nil, err
	}
	if _, ok := key.Public().(ed25519.PublicKey); ok {
		return key.Sign(nil, encoded, crypto.Hash(0))
	}
	digest := sha256.Sum256(encoded)
	return key.Sign(nil, digest[:], crypto.SHA256)
}

// Verify says whether a signature is that of the key over a message of a type: [ErrDoesNotHold] when not.
func Verify(key crypto.PublicKey, messageType string, message, signature []byte) error {
	return VerifyEncoded(key, Encode(messageType, message), signature)
}

// VerifyEncoded verifies a signature over what Encode has made.
func VerifyEncoded(key crypto.PublicKey, encoded, signature []byte) error {
	if err := CheckKey(key); err != nil {
		return err
	}
	holds := false
	switch k := key.(type) {
	case ed25519.PublicKey:
		holds = ed25519.Verify(k, encoded, signature)
	case *ecdsa.PublicKey:
		digest := sha256.Sum256(encoded)
		holds = ecdsa.VerifyASN1(k, digest[:], signature)
	}
	if !holds {
		return ErrDoesNotHold
	}
	return nil
}

// Encode is DSSE's pre-authentication encoding (https://github.com/secure-systems-lab/dsse/blob/master/protocol.md).
func Encode(messageType string, message []byte) []byte {
	return append([]byte("DSSEv1 "+strconv.Itoa(len(messageType))+" "+messageType+" "+strconv.Itoa(len(message))+" "), message...)
}

// ParsePublicKey reads the one public key of a PEM file.
func ParsePublicKey(text []byte) (crypto.PublicKey, error) {
	block, rest := pem.Decode(text)
	if block == nil || block.Type != "PUBLIC KEY" {
		return nil, errors.New("there is no public key in PEM form in it: openssl pkey -in key.pem -pubout writes one")
	}
	if next, _ := pem.Decode(rest); next != nil {
		return nil, errors.New("there is more than one key in it")
	}
	key, err := x509.ParsePKIXPublicKey(block.Bytes)
	if err != nil {
		return nil, fmt.Errorf("the public key is damaged: %w", err)
	}
	return key, CheckKey(key)
}

// PublicPEM is a public key as ParsePublicKey reads it.
func PublicPEM(key crypto.PublicKey) ([]byte, error) {
	der, err := x509.MarshalPKIXPublicKey(key)
	if err != nil {
		return nil, err
	}
	return pem.EncodeToMemory(&pem.Block{Type: "PUBLIC KEY", Bytes: der}), nil
}

// Fingerprint names a key: the SHA-256 of its DER form (SubjectPublicKeyInfo), in hex.
func Fingerprint(key crypto.PublicKey) (string, error) {
	der, err := x509.MarshalPKIXPublicKey(key)
	if err != nil {
		return "", err
	}
	sum := sha256.Sum256(der)
	return hex.EncodeToString(sum[:]), nil
}
