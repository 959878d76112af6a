package node

import (
	"bytes"
	"context"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"encoding/pem"
	"errors"
	"fmt"
)

// maxSealFile is far more than a cloud's credentials file has.
const maxSealFile = 64 << 10

// sealKeySize is the size of an AES-256 key.
const sealKeySize = 32

// SealFile reads one file of a seal, and gives it as the server wants it.
func (r Reader) SealFile(ctx context.Context, f SealFile) (Secret, error) {
	limit := int64(maxSealFile)
	if f.Content == ContentCertificates {
		limit = maxPEMSize
	}
	b, err := r.Read(ctx, f.Reference, limit)
	if err != nil {
		return Secret{}, fmt.Errorf("seal: %s: %w", f.Option, err)
	}
	if b, err = f.Content.normal(b); err != nil {
		return Secret{}, fmt.Errorf("seal: %s: %w", f.Option, unusable(f.Reference, err))
	}
	return NewSecret(b), nil
}

// normal judges a content and takes away what editors and shells add. Its errors do not repeat it.
func (c Content) normal(b []byte) ([]byte, error) {
	switch c {
	case ContentKey:
		key, err := sealKey(b)
		// In base64, because a key that happens to have 43 or 64 bytes' worth of text would be taken for another form.
		return []byte(base64.StdEncoding.EncodeToString(key)), err
	case ContentJSON:
		if !json.Valid(b) {
			return nil, errors.New("it is not JSON")
		}
	case ContentCertificates:
		_, err := parseCertificates(b)
		return b, err
	case ContentPrivateKey:
		if block, _ := pem.Decode(b); block == nil {
			return nil, errors.New("it holds no PEM block")
		}
	case ContentLine:
		b = bytes.TrimSpace(b) // the servers would send a line's end as a part of it
		if len(b) == 0 || bytes.ContainsFunc(b, unprintable) {
			return nil, errors.New("it is not one line of text")
		}
	}
	return b, nil
}

// sealKey reads a key as 32 bytes, in hexadecimal or in base64.
func sealKey(b []byte) ([]byte, error) {
	if len(b) == sealKeySize {
		return b, nil
	}
	text := string(bytes.TrimSpace(b))
	for _, decode := range []func(string) ([]byte, error){
		hex.DecodeString, base64.StdEncoding.DecodeString, base64.RawStdEncoding.DecodeString, base64.URLEncoding.DecodeString, base64.RawURLEncoding.DecodeString,
	} {
		if key, err := decode(text); err == nil && len(key) == sealKeySize {
			return key, nil
		}
	}
	return nil, Hinted(fmt.Errorf("it is no key of %d bytes", sealKeySize), "openssl rand -hex 32")
}

// unusable names a reference whose value was read and is of no use.
func unusable(ref Reference, err error) error {
	return fmt.Errorf("cannot use %s: %w", ref.Name(), err)
}
