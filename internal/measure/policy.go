package measure

import (
	"crypto"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha256"
	"crypto/x509"
	"encoding/binary"
	"encoding/hex"
	"encoding/json"
	"encoding/pem"
	"fmt"
)

// PolicyKey signs policies of PCR 11. What is sealed to its public half, a TPM opens for each image whose values the
// key has signed: the next image opens what the last one has closed.
type PolicyKey struct {
	signer crypto.Signer
	public *rsa.PublicKey
}

// policyBits is the smallest RSA key for policies. A TPM has to load the public half: 2048 is what every TPM 2.0 can, more is not.
const policyBits = 2048

// NewPolicyKey takes the key that signs. systemd knows RSA keys only for this.
func NewPolicyKey(signer crypto.Signer) (PolicyKey, error) {
	public, ok := signer.Public().(*rsa.PublicKey)
	if !ok {
		return PolicyKey{}, fmt.Errorf("the key is a %T: systemd takes RSA keys only for policies (openssl genpkey -algorithm RSA -pkeyopt rsa_keygen_bits:2048)", signer.Public())
	}
	if public.N.BitLen() != policyBits {
		return PolicyKey{}, fmt.Errorf("the key has %d bits: give one with %d, the size that every TPM 2.0 can load", public.N.BitLen(), policyBits)
	}
	return PolicyKey{signer, public}, nil
}

// PEM is the public half, for the section .pcrpkey.
func (k PolicyKey) PEM() ([]byte, error) {
	der, err := x509.MarshalPKIXPublicKey(k.public)
	if err != nil {
		return nil, err
	}
	return pem.EncodeToMemory(&pem.Block{Type: "PUBLIC KEY", Bytes: der}), nil
}

// Fingerprint is how systemd names the key: the digest of the RSAPublicKey (PKCS #1) in DER form.
func (k PolicyKey) Fingerprint() Digest { return sha256.Sum256(x509.MarshalPKCS1PublicKey(k.public)) }

// signedPolicy is one policy in the form of systemd-measure(1).
type signedPolicy struct {
	PCRs        []int  `json:"pcrs"`
	Fingerprint string `json:"pkfp"`
	Policy      string `json:"pol"`
	Signature   []byte `json:"sig"`
}

// Sign signs a policy for each phase from the initrd on and writes them as JSON, for the section .pcrsig. What is sealed does
// not open in the boot stub, so its phase has none. The same values give the same bytes.
func (k PolicyKey) Sign(values []PhaseValue) ([]byte, error) {
	var policies []signedPolicy
	for _, v := range values {
		if v.Phase == "" {
			continue
		}
		policy := policyPCR11(v.SHA256)
		digest := sha256.Sum256(policy[:])
		signature, err := k.signer.Sign(rand.Reader, digest[:], crypto.SHA256)
		if err != nil {
			return nil, fmt.Errorf("cannot sign the policy of phase %q: %w", v.Phase, err)
		}
		policies = append(policies, signedPolicy{PCRs: []int{11}, Fingerprint: k.Fingerprint().String(), Policy: hex.EncodeToString(policy[:]), Signature: signature})
	}
	return json.Marshal(map[string][]signedPolicy{"sha256": policies})
}

// policyPCR11 is the digest of a TPM policy that asks for one value of PCR 11 in the SHA-256 bank (TPM 2.0 library, part 3,
// TPM2_PolicyPCR).
func policyPCR11(value Digest) Digest {
	const (
		commandPolicyPCR = 0x0000017f
		algorithmSHA256  = 0x000b
	)
	composite := sha256.Sum256(value[:])
	message := make([]byte, sha256.Size) // a new session starts at zeros
	message = binary.BigEndian.AppendUint32(message, commandPolicyPCR)
	message = binary.BigEndian.AppendUint32(message, 1) // selections
	message = binary.BigEndian.AppendUint16(message, algorithmSHA256)
	message = append(message, 3, 0, 1<<(11-8), 0) // three bytes, a bit for each PCR
	return sha256.Sum256(append(message, composite[:]...))
}
