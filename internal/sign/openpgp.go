package sign

import (
	"bytes"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"strings"
	"time"

	"github.com/ProtonMail/go-crypto/openpgp"
	"github.com/ProtonMail/go-crypto/openpgp/packet"
)

// fileKey is a secret key that somebody has exported: `gpg --export-secret-keys`, armored or not.
type fileKey struct {
	entity *openpgp.Entity
	config *packet.Config
}

// ReadKey reads one secret key, which must be able to sign at the moment now. The passphrase is that of the key, nil when it
// has none.
func ReadKey(text, passphrase []byte, now time.Time) (Signer, error) {
	keys, err := KeyRing(text)
	if err != nil {
		return nil, fmt.Errorf("cannot read the secret key: %w", err)
	}
	if len(keys) != 1 {
		return nil, fmt.Errorf("there are %d keys, and one is needed: gpg --export-secret-keys FINGERPRINT", len(keys))
	}
	entity := keys[0]
	key, ok := entity.SigningKey(now)
	switch {
	case !ok:
		return nil, fmt.Errorf("the key %s cannot sign: it has expired, was revoked, or is not for signing", fingerprint(entity))
	case key.PrivateKey == nil || key.PrivateKey.Dummy():
		return nil, fmt.Errorf("the file has only the public half of the key %s: gpg --export-secret-keys writes both", fingerprint(entity))
	}
	if key.PrivateKey.Encrypted {
		if len(passphrase) == 0 {
			return nil, errors.New("the secret key is protected by a passphrase, and none was given")
		}
		if err := key.PrivateKey.Decrypt(passphrase); err != nil {
			return nil, errors.New("the passphrase does not open the secret key")
		}
	}
	fixed, salted := momentOf(entity, key), false
	if chosen, ok := entity.SigningKey(fixed); !ok || chosen.PublicKey.KeyId != key.PublicKey.KeyId {
		return nil, fmt.Errorf("the key %s was not able to sign when it was made", fingerprint(entity))
	}
	return &fileKey{entity: entity, config: &packet.Config{
		Time:         func() time.Time { return fixed },
		SigningKeyId: key.PublicKey.KeyId,
		// A random notation in each signature would guard devices that leak by fault injection. Here it would only cost the
		// same bytes again.
		NonDeterministicSignaturesViaNotation: &salted,
	}}, nil
}

// KeyRing reads OpenPGP keys, armored or not. The library panics over some damaged ones (go-crypto 1.4.1: a subpacket of a signature that is cut
// off); here that is an error like any other.
func KeyRing(text []byte) (keys openpgp.EntityList, err error) {
	defer func() {
		if r := recover(); r != nil {
			keys, err = nil, fmt.Errorf("the file is damaged: %v", r)
		}
	}()
	if bytes.HasPrefix(bytes.TrimSpace(text), []byte("-----BEGIN")) {
		return openpgp.ReadArmoredKeyRing(bytes.NewReader(text))
	}
	return openpgp.ReadKeyRing(bytes.NewReader(text))
}

// momentOf is the time that signatures of a key carry: the first at which all of it was valid, not the clock's, so that the
// same overlay has the same signature. A signature says who, and not when.
func momentOf(entity *openpgp.Entity, key openpgp.Key) time.Time {
	moment := key.PublicKey.CreationTime
	self, _ := entity.PrimarySelfSignature()
	for _, s := range []*packet.Signature{self, key.SelfSignature} {
		if s != nil && s.CreationTime.After(moment) {
			moment = s.CreationTime
		}
	}
	return moment
}

func fingerprint(e *openpgp.Entity) string {
	return strings.ToUpper(hex.EncodeToString(e.PrimaryKey.Fingerprint))
}

func (k *fileKey) Fingerprint() string { return fingerprint(k.entity) }

func (k *fileKey) Sign(w io.Writer, message io.Reader) error {
	if err := openpgp.DetachSign(w, k.entity, message, k.config); err != nil {
		return fmt.Errorf("cannot sign with the key %s: %w", k.Fingerprint(), err)
	}
	return nil
}
