package appraise

import (
	"bytes"
	"crypto"
	"crypto/sha256"
	"crypto/x509"
	"errors"
	"fmt"

	tpm "github.com/google/go-attestation/attest"
	"github.com/google/go-tpm/legacy/tpm2"

	"github.com/strongroom/strongroom/internal/attest"
	"github.com/strongroom/strongroom/internal/check"
	"github.com/strongroom/strongroom/internal/measure"
	"github.com/strongroom/strongroom/internal/report"
)

// Expectation is what the asker knows.
type Expectation struct {
	Nonce attest.Hex
	// Key is the attestation key that is trusted: pinned, or out of a certificate that was verified.
	Key crypto.PublicKey
	// Measurements are the values that an image has; nil when PCRs has all.
	Measurements *measure.Statement
	// PCRs are further values, such as those of this machine's firmware on the day of its enrolment. They win over Measurements.
	PCRs map[int]measure.Digest
	// Report is what the node is said to have reported, as its bytes; nil: what the document carries.
	Report []byte
}

// Result says what holds.
type Result struct {
	Schema string `json:"schema"`
	Pass   bool   `json:"pass"` // every check passes
	// Kernel and Phase say which of the measured kernels runs, and how far its boot had come.
	Kernel string  `json:"kernel,omitempty"`
	Phase  string  `json:"phase,omitempty"`
	Checks []Check `json:"checks"`
	// Notes are what was not judged, and what the firmware's event log says.
	Notes []string `json:"notes"`
}

// Schema versions the result.
const Schema = "strongroom.appraisal/v1"

// Check is one thing that must hold.
type Check struct {
	Name   string `json:"name"` // "key", "quote", "nonce", "report", "verdict", "image", "pcr 11"
	Pass   bool   `json:"pass"`
	Want   string `json:"want,omitempty"`
	Got    string `json:"got,omitempty"`
	Reason string `json:"reason,omitempty"` // of a check that fails
}

// Judge compares a document with what is known. An expectation that expects no register is an error.
func Judge(d *attest.Document, want Expectation) (*Result, error) {
	if want.Measurements == nil && len(want.PCRs) == 0 {
		return nil, errors.New("no value of a register is expected: a quote over anything would pass")
	}
	r := &Result{Schema: Schema, Notes: []string{}}
	signed := r.judgeQuote(d, want.Key)
	r.judgeReport(d, want, signed)
	values := map[int]measure.Digest{}
	for _, p := range d.PCRs {
		if len(p.SHA256) == len(measure.Digest{}) {
			values[p.Index] = measure.Digest(p.SHA256)
		}
	}
	r.judgePCRs(values, want)
	r.readEventLog(d)
	r.Pass = true
	for _, c := range r.Checks {
		r.Pass = r.Pass && c.Pass
	}
	return r, nil
}

func (r *Result) check(c Check) {
	if c.Pass {
		c.Reason = ""
	}
	r.Checks = append(r.Checks, c)
}

// judgeQuote asks whether the trusted key has signed these registers, and gives what else it has signed.
func (r *Result) judgeQuote(d *attest.Document, trusted crypto.PublicKey) (signed []byte) {
	wantKey, gotKey := fingerprint(trusted), "no key"
	if public, err := tpm.ParseAKPublic(d.Key.Public); err == nil {
		gotKey = fingerprint(public.Public)
	}
	r.check(Check{Name: "key", Want: wantKey, Got: gotKey, Pass: wantKey == gotKey,
		Reason: "another TPM answers than the one that was enrolled, or the key is not trusted"})
	c := Check{Name: "quote"}
	attested, err := decodeQuote(d.Quote)
	if err == nil {
		signed = attested.ExtraData
		// The library judges signature, kind of statement and digest of the registers in one.
		err = verify(d, trusted, signed)
	}
	if err != nil {
		c.Reason = err.Error()
	}
	c.Pass = err == nil
	r.check(c)
	return signed
}

// decodeQuote reads what the TPM says that it has signed.
func decodeQuote(raw []byte) (*tpm2.AttestationData, error) {
	attested, err := tpm2.DecodeAttestationData(raw)
	if err != nil {
		return nil, fmt.Errorf("the quote cannot be read: %w", err)
	}
	if attested.Type != tpm2.TagAttestQuote || attested.AttestedQuoteInfo == nil {
		return nil, errors.New("what is signed is no quote")
	}
	if hash := attested.AttestedQuoteInfo.PCRSelection.Hash; hash != tpm2.AlgSHA256 {
		return nil, fmt.Errorf("the quote is over the registers of %v, not of SHA-256", hash)
	}
	return attested, nil
}

// pcrsOf are the registers of a document for the library.
func pcrsOf(d *attest.Document, wanted func(index int) bool) []tpm.PCR {
	var pcrs []tpm.PCR
	for _, p := range d.PCRs {
		if wanted(p.Index) {
			pcrs = append(pcrs, tpm.PCR{Index: p.Index, Digest: p.SHA256, DigestAlg: crypto.SHA256})
		}
	}
	return pcrs
}

func verify(d *attest.Document, trusted crypto.PublicKey, signed []byte) error {
	key := tpm.AKPublic{Public: trusted, Hash: crypto.SHA256}
	every := func(int) bool { return true }
	return key.VerifyAll([]tpm.Quote{{Quote: d.Quote, Signature: d.Signature}}, pcrsOf(d, every), signed)
}

// judgeReport asks whether the TPM has signed this nonce and this report. Only the first two checks together say so; that they
// are told apart is for whoever reads.
func (r *Result) judgeReport(d *attest.Document, want Expectation, signed []byte) {
	text := want.Report
	if text == nil {
		text = d.Report
	}
	digest := sha256.Sum256(text)
	r.check(Check{Name: "nonce", Want: want.Nonce.String(), Got: d.Nonce.String(),
		Pass:   bytes.Equal(want.Nonce, d.Nonce) && bytes.Equal(signed, attest.Qualify(want.Nonce, d.ReportDigest)),
		Reason: "the TPM has not signed this nonce with this report's digest: an answer to another question"})
	c := Check{Name: "report", Want: d.ReportDigest.String(), Got: attest.Hex(digest[:]).String(), Pass: bytes.Equal(digest[:], d.ReportDigest),
		Reason: "the report is not the one that the TPM has vouched for"}
	if len(text) == 0 {
		c.Pass, c.Reason = false, "there is no report"
	}
	r.check(c)
	r.judgeVerdict(text, want.Measurements)
}

func (r *Result) judgeVerdict(text []byte, measurements *measure.Statement) {
	document, err := report.ReadJSON(bytes.NewReader(text))
	if err != nil {
		r.check(Check{Name: "verdict", Reason: err.Error()})
		return
	}
	r.check(Check{Name: "verdict", Want: string(check.Pass), Got: string(document.Verdict), Pass: document.Verdict == check.Pass,
		Reason: "the node itself says that it is not what was baked"})
	if measurements != nil {
		r.check(Check{Name: "image", Want: measurements.RootHash, Got: document.Host.RootHash, Pass: measurements.RootHash == document.Host.RootHash,
			Reason: "the report is about another root file system"})
	}
}

// fingerprint is the SHA-256 of a key's SubjectPublicKeyInfo.
func fingerprint(key crypto.PublicKey) string {
	der, err := x509.MarshalPKIXPublicKey(key)
	if err != nil {
		return "no key"
	}
	sum := sha256.Sum256(der)
	return attest.Hex(sum[:]).String()
}
