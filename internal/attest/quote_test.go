package attest_test

import (
	"bytes"
	"crypto/sha256"
	"strings"
	"testing"

	"github.com/google/go-tpm/tpm2"

	"github.com/strongroom/strongroom/internal/attest"
	"github.com/strongroom/strongroom/internal/attest/attesttest"
)

var nonce = attest.Hex(bytes.Repeat([]byte{7}, 32))

func TestQuote(t *testing.T) {
	tpm := attesttest.New(t)
	attesttest.Extend(t, tpm, 11, sha256.Sum256([]byte("kernel")))
	certificate := bytes.Repeat([]byte("maker"), 250) // longer than what a TPM gives at once
	attesttest.Define(t, tpm, 0x01C0000A, certificate)
	report := []byte(`{"verdict": "pass"}`)
	d, err := attest.Quote(tpm, nonce, report)
	if err != nil {
		t.Fatal(err)
	}
	if len(d.PCRs) != 16 || d.PCRs[11].Index != 11 || bytes.Equal(d.PCRs[11].SHA256, make([]byte, 32)) {
		t.Errorf("PCRs %v", d.PCRs)
	}
	if len(d.EKCertificates) != 1 || !bytes.Equal(d.EKCertificates[0], certificate) {
		t.Error("the maker's certificate is not what lies in the TPM")
	}
	if !bytes.Equal(d.Report, report) {
		t.Errorf("report %q", d.Report)
	}
	text, err := d.Marshal()
	if err != nil {
		t.Fatal(err)
	}
	again, err := attest.Parse(text)
	if err != nil {
		t.Fatal(err)
	}
	if second, err := again.Marshal(); err != nil || !bytes.Equal(second, text) {
		t.Errorf("read and written again it is another document; error %v", err)
	}
}

// The key is pinned once: it must be the same each time, and another in another TPM.
func TestPublicKey(t *testing.T) {
	tpm := attesttest.New(t)
	first, err := attest.PublicKey(tpm)
	if err != nil {
		t.Fatal(err)
	}
	// What is loaded is given back: a TPM has room for three keys.
	for range 5 {
		if again, err := attest.PublicKey(tpm); err != nil || again != first {
			t.Fatalf("the key changes: %s, error %v", again, err)
		}
	}
	if d, err := attest.Quote(tpm, nonce, nil); err != nil || d.Key.PEM != first {
		t.Errorf("another key quotes; error %v", err)
	}
	if other, err := attest.PublicKey(attesttest.New(t)); err != nil || other == first {
		t.Errorf("two TPMs have one key; error %v", err)
	}
	public, err := tpm2.Unmarshal[tpm2.TPMTPublic](mustQuote(t).Key.Public)
	if err != nil {
		t.Fatal(err)
	}
	if a := public.ObjectAttributes; !a.Restricted || !a.FixedTPM || a.Decrypt {
		t.Errorf("attributes %+v", a)
	}
}

func mustQuote(t testing.TB) *attest.Document {
	t.Helper()
	d, err := attest.Quote(attesttest.New(t), nonce, []byte("{}"))
	if err != nil {
		t.Fatal(err)
	}
	return d
}

func TestParseNonce(t *testing.T) {
	for text, ok := range map[string]bool{
		strings.Repeat("ab", 16): true, strings.Repeat("ab", 64): true,
		strings.Repeat("ab", 15): false, strings.Repeat("ab", 65): false, "": false, strings.Repeat("zz", 32): false, strings.Repeat("ab", 16) + "a": false,
	} {
		if _, err := attest.ParseNonce(text); (err == nil) != ok {
			t.Errorf("%q: %v", text, err)
		}
	}
}

func FuzzParse(f *testing.F) {
	f.Add([]byte(`{"schema": "strongroom.attestation/v1", "nonce": "00", "report_digest": "` + strings.Repeat("00", 32) + `", "pcrs": [{"index": 0, "sha256": "` + strings.Repeat("00", 32) + `"}]}`))
	f.Add([]byte(`{"schema": "strongroom.attestation/v2"}`))
	f.Add([]byte(`{"schema": "strongroom.attestation/v1", "report_digest": "` + strings.Repeat("00", 32) + `", "pcrs": [{"index": -1, "sha256": ""}]} {}`))
	f.Fuzz(func(t *testing.T, text []byte) {
		d, err := attest.Parse(text)
		if err != nil {
			return
		}
		written, err := d.Marshal()
		if err != nil {
			t.Fatal(err)
		}
		if _, err := attest.Parse(written); err != nil {
			t.Fatalf("what was written is refused: %v", err)
		}
	})
}
