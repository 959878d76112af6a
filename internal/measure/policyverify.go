package measure

import (
	"bytes"
	"crypto"
	"crypto/rsa"
	"crypto/sha256"
	"crypto/x509"
	"encoding/hex"
	"encoding/json"
	"encoding/pem"
	"errors"
	"fmt"
	"slices"
)

// VerifyPolicies verifies the policies of a unified kernel image (its sections .pcrpkey and .pcrsig) against the values that it
// measures: there is one for each phase from the initrd on, and the key has signed it.
func VerifyPolicies(public, policies []byte, values []PhaseValue) (key Digest, err error) {
	block, _ := pem.Decode(bytes.TrimRight(public, "\x00"))
	if block == nil {
		return Digest{}, errors.New("the key in .pcrpkey is not PEM")
	}
	parsed, err := x509.ParsePKIXPublicKey(block.Bytes)
	if err != nil {
		return Digest{}, fmt.Errorf("the key in .pcrpkey cannot be read: %w", err)
	}
	rsaKey, ok := parsed.(*rsa.PublicKey)
	if !ok {
		return Digest{}, fmt.Errorf("the key in .pcrpkey is a %T, and systemd takes RSA keys only", parsed)
	}
	key = sha256.Sum256(x509.MarshalPKCS1PublicKey(rsaKey))
	var banks map[string][]signedPolicy
	if err := json.Unmarshal(bytes.TrimRight(policies, "\x00"), &banks); err != nil {
		return key, fmt.Errorf("the policies in .pcrsig cannot be read: %w", err)
	}
	signed := banks["sha256"]
	for _, v := range values {
		if v.Phase == "" {
			continue
		}
		want := policyPCR11(v.SHA256)
		i := slices.IndexFunc(signed, func(p signedPolicy) bool { return p.Policy == hex.EncodeToString(want[:]) })
		if i < 0 {
			return key, fmt.Errorf("no policy in .pcrsig is of what this image measures in phase %q", v.Phase)
		}
		if signed[i].Fingerprint != key.String() {
			return key, fmt.Errorf("the policy of phase %q is of the key %s, and .pcrpkey is %s", v.Phase, signed[i].Fingerprint, key)
		}
		digest := sha256.Sum256(want[:])
		if err := rsa.VerifyPKCS1v15(rsaKey, crypto.SHA256, digest[:], signed[i].Signature); err != nil {
			return key, fmt.Errorf("the signature of the policy of phase %q: %w", v.Phase, err)
		}
	}
	return key, nil
}
