package release

import (
	"bytes"
	"crypto"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"time"

	"github.com/ProtonMail/go-crypto/openpgp"
	"github.com/ProtonMail/go-crypto/openpgp/armor"
	pgperrors "github.com/ProtonMail/go-crypto/openpgp/errors"
	"github.com/ProtonMail/go-crypto/openpgp/packet"

	keyfile "github.com/strongroom/strongroom/internal/sign"
)

// keyring holds the public keys whose signature counts, and nothing else.
type keyring struct{ keys openpgp.EntityList }

// normalFingerprint is a fingerprint without what people write into it.
func normalFingerprint(f string) (string, error) {
	n := strings.ToUpper(strings.NewReplacer(" ", "", ":", "").Replace(f))
	raw, err := hex.DecodeString(n)
	if err != nil || len(raw) != 20 && len(raw) != 32 {
		return "", fmt.Errorf("fingerprint %q is not the 40 (or 64) hex digits of a primary key: a shorter key id can be forged", f)
	}
	return n, nil
}

// newKeyring reads public keys, armored or not, and keeps those that are pinned. Each pinned one must be there.
func newKeyring(text []byte, fingerprints []string) (keyring, error) {
	all, err := keyfile.KeyRing(text)
	if err != nil {
		return keyring{}, fmt.Errorf("cannot read the public key: %w", err)
	}
	var ring keyring
	var held []string
	for _, e := range all {
		f := fingerprint(e)
		held = append(held, f)
		if slices.Contains(fingerprints, f) {
			ring.keys = append(ring.keys, e)
		}
	}
	for _, f := range fingerprints {
		if !slices.Contains(held, f) {
			return keyring{}, fmt.Errorf("the public key %s is not the pinned one, %s", strings.Join(held, ", "), f)
		}
	}
	if len(ring.keys) == 0 {
		return keyring{}, errors.New("no fingerprint is pinned")
	}
	return ring, nil
}

func fingerprint(e *openpgp.Entity) string {
	return strings.ToUpper(hex.EncodeToString(e.PrimaryKey.Fingerprint))
}

// verify checks a detached signature, armored or not, as of a moment: keys and signatures that have expired by then, or
// did not exist yet, do not count.
func (k keyring) verify(text, signature []byte, at time.Time) (err error) {
	defer func() {
		if r := recover(); r != nil { // as sign.KeyRing says
			err = fmt.Errorf("the signature is damaged: %v", r)
		}
	}()
	if bytes.HasPrefix(bytes.TrimSpace(signature), []byte("-----BEGIN")) {
		block, err := armor.Decode(bytes.NewReader(signature))
		if err != nil {
			return fmt.Errorf("cannot read the signature: %w", err)
		}
		if signature, err = io.ReadAll(block.Body); err != nil {
			return fmt.Errorf("cannot read the signature: %w", err)
		}
	}
	issuers, err := issuersOf(signature)
	if err != nil {
		return fmt.Errorf("cannot read the signature: %w", err)
	}
	config := &packet.Config{Time: func() time.Time { return at }}
	signer, err := openpgp.CheckDetachedSignature(k.keys, bytes.NewReader(text), bytes.NewReader(signature), config)
	when := at.UTC().Format(time.RFC3339)
	var mismatch pgperrors.SignatureError
	switch {
	case err == nil:
		return nil
	case errors.Is(err, pgperrors.ErrUnknownIssuer):
		return fmt.Errorf("signed by the unknown key %s, and pinned is %s", strings.Join(issuers, ", "), k)
	case errors.Is(err, pgperrors.ErrKeyRevoked):
		return fmt.Errorf("the key %s has been revoked", fingerprint(signer))
	case errors.Is(err, pgperrors.ErrKeyExpired):
		return fmt.Errorf("the key %s has expired, or is not valid yet, at %s", fingerprint(signer), when)
	case errors.Is(err, pgperrors.ErrSignatureExpired):
		return fmt.Errorf("the signature has expired, or was not made yet, at %s", when)
	case errors.As(err, &mismatch):
		return fmt.Errorf("the signature is wrong: this is not what the key %s signed", strings.Join(issuers, ", "))
	}
	return fmt.Errorf("the signature is wrong: %w", err)
}

// issuersOf lists the key ids of the signatures in a file, and refuses the digests that can be forged.
func issuersOf(signature []byte) ([]string, error) {
	var ids []string
	packets := packet.NewReader(bytes.NewReader(signature))
	for {
		p, err := packets.Next()
		if errors.Is(err, io.EOF) {
			if ids == nil {
				return nil, errors.New("it is empty")
			}
			return ids, nil
		}
		if err != nil {
			return nil, err
		}
		s, ok := p.(*packet.Signature)
		if !ok || s.IssuerKeyId == nil {
			return nil, errors.New("it is not a detached signature with an issuer")
		}
		if !slices.Contains([]crypto.Hash{crypto.SHA256, crypto.SHA384, crypto.SHA512}, s.Hash) {
			return nil, fmt.Errorf("its digest %s is too weak", s.Hash)
		}
		ids = append(ids, fmt.Sprintf("%016X", *s.IssuerKeyId))
	}
}

func (k keyring) String() string {
	var list []string
	for _, e := range k.keys {
		list = append(list, fingerprint(e))
	}
	return strings.Join(list, ", ")
}
