package baseline

import (
	"crypto"
	"encoding/base64"
	"errors"
	"fmt"
	"strings"

	"github.com/strongroom/strongroom/internal/overlay"
	"github.com/strongroom/strongroom/internal/signature"
)

// Where the signature of the baseline lies, and the public key that it is judged by. An image that was baked without a key has neither.
const (
	SignaturePath = "/usr/lib/strongroom/baseline.sig"
	KeyPath       = "/usr/lib/strongroom/baseline.pub"
)

// signatureType is what a signature of a baseline is about, so that no signature of anything else is one.
const signatureType = "application/vnd.strongroom.baseline+json"

// ErrForged says that a baseline is not the one that was signed.
var ErrForged = errors.New("the baseline is not the one that was signed when the image was made")

// Sign adds the signature of the baseline in an overlay to it, and the public key.
func Sign(tree *overlay.Tree, key crypto.Signer) error {
	var content []byte
	for _, f := range tree.Fragments() {
		if f.Path == Path {
			content = f.Content
		}
	}
	made, err := signature.Sign(key, signatureType, content)
	if err != nil {
		return fmt.Errorf("cannot sign the baseline: %w", err)
	}
	public, err := signature.PublicPEM(key.Public())
	if err != nil {
		return fmt.Errorf("cannot sign the baseline: %w", err)
	}
	return errors.Join(
		tree.Add("baseline", overlay.File(SignaturePath, base64.StdEncoding.EncodeToString(made)+"\n")),
		tree.Add("baseline", overlay.File(KeyPath, string(public))))
}

// VerifySignature judges the bytes of a baseline by the files at SignaturePath and KeyPath: [ErrForged] when they are not what was
// signed. It gives the fingerprint of the key.
func VerifySignature(content, signatureFile, keyFile []byte) (string, error) {
	key, err := signature.ParsePublicKey(keyFile)
	if err != nil {
		return "", fmt.Errorf("cannot verify the baseline: %s: %w", KeyPath, err)
	}
	made, err := base64.StdEncoding.DecodeString(strings.TrimSpace(string(signatureFile)))
	if err != nil {
		return "", fmt.Errorf("cannot verify the baseline: %s is damaged: %w", SignaturePath, err)
	}
	fingerprint, err := signature.Fingerprint(key)
	if err != nil {
		return "", err
	}
	if err := signature.Verify(key, signatureType, content, made); err != nil {
		return fingerprint, fmt.Errorf("%w: its signature in %s does not hold by the key %s", ErrForged, SignaturePath, fingerprint)
	}
	return fingerprint, nil
}
