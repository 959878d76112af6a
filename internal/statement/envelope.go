package statement

import (
	"context"
	"crypto"
	"encoding/json"
	"errors"
	"fmt"
	"strings"

	"github.com/secure-systems-lab/go-securesystemslib/dsse"

	"github.com/strongroom/strongroom/internal/signature"
	"github.com/strongroom/strongroom/internal/strictjson"
)

// signer signs for the library of the envelope, by a key wherever it lies.
type signer struct{ key crypto.Signer }

func (s signer) Sign(_ context.Context, encoded []byte) ([]byte, error) {
	return signature.SignEncoded(s.key, encoded)
}
func (s signer) KeyID() (string, error) { return signature.Fingerprint(s.key.Public()) }

type verifier struct{ key crypto.PublicKey }

func (v verifier) Verify(_ context.Context, encoded, made []byte) error {
	return signature.VerifyEncoded(v.key, encoded, made)
}
func (v verifier) KeyID() (string, error)   { return signature.Fingerprint(v.key) }
func (v verifier) Public() crypto.PublicKey { return v.key }

// Sign puts a statement into a signed envelope, as the file FileName has it.
func Sign(ctx context.Context, s Statement, key crypto.Signer) ([]byte, error) {
	payload, err := s.marshal()
	if err != nil {
		return nil, fmt.Errorf("cannot write the statement: %w", err)
	}
	if _, err := parse(payload); err != nil {
		return nil, fmt.Errorf("cannot write the statement: %w", err)
	}
	envelope, err := dsse.NewEnvelopeSigner(signer{key})
	if err != nil {
		return nil, err
	}
	signed, err := envelope.SignPayload(ctx, PayloadType, payload)
	if err != nil {
		return nil, fmt.Errorf("cannot sign the statement: %w", err)
	}
	text, err := json.MarshalIndent(signed, "", "  ")
	return append(text, '\n'), err
}

// Envelope is a statement with its signatures, which nobody has verified yet.
type Envelope struct {
	Statement Statement
	Keys      []string // the fingerprints that the signatures name
	envelope  dsse.Envelope
}

// MaxSize is more than any statement has.
const MaxSize = 4 << 20

// Parse reads an envelope and what is in it. It verifies no signature.
func Parse(text []byte) (*Envelope, error) {
	e := &Envelope{}
	if len(text) > MaxSize {
		return nil, fmt.Errorf("cannot read the statement: it is larger than %d bytes", MaxSize)
	}
	if err := strictjson.Document(text, &e.envelope); err != nil {
		return nil, fmt.Errorf("cannot read the statement: %w", err)
	}
	if e.envelope.PayloadType != PayloadType {
		return nil, fmt.Errorf("cannot read the statement: its payload is of type %q, want %q", e.envelope.PayloadType, PayloadType)
	}
	payload, err := e.envelope.DecodeB64Payload()
	if err != nil {
		return nil, fmt.Errorf("cannot read the statement: %w", err)
	}
	if e.Statement, err = parse(payload); err != nil {
		return nil, fmt.Errorf("cannot read the statement: %w", err)
	}
	for _, s := range e.envelope.Signatures {
		e.Keys = append(e.Keys, s.KeyID)
	}
	return e, nil
}

// Verify gives the fingerprint of the one of the keys that has signed; nil keys verify nothing.
func (e *Envelope) Verify(ctx context.Context, keys ...crypto.PublicKey) (string, error) {
	if len(e.envelope.Signatures) == 0 {
		return "", errors.New("it is not signed")
	}
	var trusted []string
	for _, key := range keys {
		fingerprint, err := signature.Fingerprint(key)
		if err != nil {
			return "", err
		}
		trusted = append(trusted, fingerprint)
		one, err := dsse.NewEnvelopeVerifier(verifier{key})
		if err != nil {
			return "", err
		}
		if accepted, err := one.Verify(ctx, &e.envelope); err == nil && len(accepted) == 1 {
			return fingerprint, nil
		}
	}
	for _, id := range e.Keys {
		for _, fingerprint := range trusted {
			if id == fingerprint {
				return "", fmt.Errorf("the signature does not hold: the statement was changed after the key %s had signed it", id)
			}
		}
	}
	return "", fmt.Errorf("wrong key: it is signed by %s, and you trust %s", strings.Join(e.Keys, ", "), strings.Join(trusted, ", "))
}
