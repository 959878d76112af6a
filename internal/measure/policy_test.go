package measure_test

import (
	"bytes"
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha256"
	"crypto/x509"
	"encoding/hex"
	"encoding/json"
	"encoding/pem"
	"io"
	"os"
	"strings"
	"testing"

	"github.com/strongroom/strongroom/internal/measure"
	"github.com/strongroom/strongroom/internal/measure/measuretest"
	"github.com/strongroom/strongroom/internal/secureboot/secureboottest"
)

type policies map[string][]struct {
	PCRs   []int  `json:"pcrs"`
	Key    string `json:"pkfp"`
	Policy string `json:"pol"`
	Sig    []byte `json:"sig"`
}

func readPolicies(t *testing.T, text []byte) policies {
	t.Helper()
	var p policies
	if err := json.Unmarshal(text, &p); err != nil {
		t.Fatal(err)
	}
	return p
}

// publicOnly lets a test ask for the fingerprint of a key whose private half is nowhere.
type publicOnly struct{ key *rsa.PublicKey }

func (p publicOnly) Public() crypto.PublicKey { return p.key }
func (publicOnly) Sign(io.Reader, []byte, crypto.SignerOpts) ([]byte, error) {
	return make([]byte, 256), nil
}

// testdata/systemd-measure-257.json is what `systemd-measure sign` of systemd 257.13-1~deb13u1 wrote for the contents of
// unified(), but with the key of testdata/policy-key.pub as .pcrpkey. Policies, fingerprint and form are the same, and its signatures
// are over what ours are over.
func TestPoliciesAreThoseOfSystemdMeasure(t *testing.T) {
	text, err := os.ReadFile("testdata/policy-key.pub")
	if err != nil {
		t.Fatal(err)
	}
	block, _ := pem.Decode(text)
	parsed, err := x509.ParsePKIXPublicKey(block.Bytes)
	if err != nil {
		t.Fatal(err)
	}
	public := parsed.(*rsa.PublicKey)
	key, err := measure.NewPolicyKey(publicOnly{public})
	if err != nil {
		t.Fatal(err)
	}
	if ours, err := key.PEM(); err != nil || !bytes.Equal(ours, text) {
		t.Fatalf(".pcrpkey would be\n%s", ours)
	}
	image, err := measure.ReadImage(bytes.NewReader(measuretest.Program(
		measuretest.Section{Name: ".sbat", Data: []byte("sbat,1\n")}, measuretest.Stub("257.13"),
		measuretest.Section{Name: ".osrel", Data: []byte("ID=debian\n")}, measuretest.Section{Name: ".cmdline", Data: []byte("roothash=00 ro")},
		measuretest.Section{Name: ".uname", Data: []byte("6.12.1")}, measuretest.Section{Name: ".pcrpkey", Data: text},
		measuretest.Section{Name: ".initrd", Data: bytes.Repeat([]byte("initrd"), 100)}, measuretest.Section{Name: ".linux", Data: bytes.Repeat([]byte("kernel"), 1000)},
	)))
	if err != nil {
		t.Fatal(err)
	}
	ours, err := key.Sign(image.PCR11())
	if err != nil {
		t.Fatal(err)
	}
	recorded, err := os.ReadFile("testdata/systemd-measure-257.json")
	if err != nil {
		t.Fatal(err)
	}
	got, want := readPolicies(t, ours)["sha256"], readPolicies(t, recorded)["sha256"]
	if len(got) != len(want) {
		t.Fatalf("%d policies, want %d", len(got), len(want))
	}
	for i := range want {
		if got[i].Policy != want[i].Policy || got[i].Key != want[i].Key || len(got[i].PCRs) != 1 || got[i].PCRs[0] != want[i].PCRs[0] {
			t.Errorf("policy %d: %+v, want %+v", i, got[i], want[i])
		}
		policy, err := hex.DecodeString(got[i].Policy)
		if err != nil {
			t.Fatal(err)
		}
		digest := sha256.Sum256(policy)
		if err := rsa.VerifyPKCS1v15(public, crypto.SHA256, digest[:], want[i].Sig); err != nil {
			t.Errorf("policy %d: the signature of systemd-measure is not over what we sign: %v", i, err)
		}
	}
}

func TestPolicySignatures(t *testing.T) {
	private := secureboottest.Key(t, 2048)
	key, err := measure.NewPolicyKey(private)
	if err != nil {
		t.Fatal(err)
	}
	image, err := measure.ReadImage(bytes.NewReader(unified("257.13")))
	if err != nil {
		t.Fatal(err)
	}
	text, err := key.Sign(image.PCR11())
	if err != nil {
		t.Fatal(err)
	}
	if again, err := key.Sign(image.PCR11()); err != nil || !bytes.Equal(again, text) {
		t.Errorf("the second time it is another one: %v", err)
	}
	for i, p := range readPolicies(t, text)["sha256"] {
		policy, err := hex.DecodeString(p.Policy)
		if err != nil {
			t.Fatal(err)
		}
		digest := sha256.Sum256(policy)
		if err := rsa.VerifyPKCS1v15(&private.PublicKey, crypto.SHA256, digest[:], p.Sig); err != nil {
			t.Errorf("policy %d: %v", i, err)
		}
	}
}

func TestNewPolicyKeyRefuses(t *testing.T) {
	curve, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	for name, tt := range map[string]struct {
		key  crypto.Signer
		says string
	}{
		"elliptic curve": {curve, "RSA keys only"},
		"weak":           {secureboottest.Key(t, 1024), "1024 bits"},
		"too large":      {secureboottest.Key(t, 3072), "3072 bits"},
	} {
		if _, err := measure.NewPolicyKey(tt.key); err == nil || !strings.Contains(err.Error(), tt.says) {
			t.Errorf("%s: got %v, want an error that says %q", name, err, tt.says)
		}
	}
}
