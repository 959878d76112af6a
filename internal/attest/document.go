package attest

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"

	"github.com/strongroom/strongroom/internal/strictjson"
)

// Schema versions the document.
const Schema = "strongroom.attestation/v1"

// Document is what a node answers when it is asked to vouch for itself. Nothing in it is to be believed before the
// signature over it was checked with a key that is known from elsewhere.
type Document struct {
	Schema       string `json:"schema"`
	Nonce        Hex    `json:"nonce"`         // as the asker has sent it
	ReportDigest Hex    `json:"report_digest"` // SHA-256 of the report's bytes
	Key          Key    `json:"key"`           // what signs
	Quote        []byte `json:"quote"`         // TPMS_ATTEST: what the TPM has signed
	Signature    []byte `json:"signature"`     // TPMT_SIGNATURE
	PCRs         []PCR  `json:"pcrs"`          // in their order; the quote holds a digest of them
	// EKCertificates are those of the maker of the TPM for its endorsement keys, DER; many virtual TPMs have none.
	EKCertificates [][]byte `json:"ek_certificates,omitempty"`
	// EventLog is what the firmware and the boot stub say that they have measured (TCG PC Client format).
	EventLog []byte `json:"event_log,omitempty"`
	// Report is the very bytes of the report.
	Report []byte `json:"report,omitempty"`
}

// Key is the public part of the attestation key.
type Key struct {
	Public []byte `json:"public"` // TPMT_PUBLIC
	PEM    string `json:"pem"`    // the same, as a SubjectPublicKeyInfo: what is pinned
}

// PCR is the value of one register of the SHA-256 bank.
type PCR struct {
	Index  int `json:"index"`
	SHA256 Hex `json:"sha256"`
}

// Hex is bytes that are written in lower-case hex.
type Hex []byte

func (h Hex) String() string { return hex.EncodeToString(h) }

// MarshalText writes the bytes.
func (h Hex) MarshalText() ([]byte, error) { return []byte(h.String()), nil }

// UnmarshalText reads them.
func (h *Hex) UnmarshalText(text []byte) error {
	decoded, err := hex.DecodeString(string(text))
	if err != nil {
		return fmt.Errorf("%q is not hex", text)
	}
	*h = decoded
	return nil
}

// How long a nonce may be, in bytes.
const (
	minNonce = 16
	maxNonce = 64
)

// ParseNonce reads a nonce in hex: 16 to 64 bytes, so that nobody can have asked for the same before.
func ParseNonce(text string) (Hex, error) {
	nonce, err := hex.DecodeString(text)
	if err != nil {
		return nil, errors.New("the nonce is not hex")
	}
	if len(nonce) < minNonce || len(nonce) > maxNonce {
		return nil, fmt.Errorf("the nonce has %d bytes: %d to %d, from a random source", len(nonce), minNonce, maxNonce)
	}
	return nonce, nil
}

// Qualify is what the TPM signs beside its registers: SHA-256 of the schema's name with a line feed, the nonce, and the
// SHA-256 of the report. The name keeps what else the key may sign from being taken for it; the report's digest has a fixed
// length, so that no byte of it can be counted to the nonce.
func Qualify(nonce, reportDigest []byte) []byte {
	h := sha256.New()
	h.Write([]byte(Schema + "\n"))
	h.Write(nonce)
	h.Write(reportDigest)
	return h.Sum(nil)
}

// MaxReport bounds a report, in bytes; one has some 100 KiB.
const MaxReport = 4 << 20

// MaxDocument bounds what is read of a document, in bytes: a report in base64, and an event log.
const MaxDocument = 2 * MaxReport

// Parse reads a document and judges its form only.
func Parse(text []byte) (*Document, error) {
	if len(text) > MaxDocument {
		return nil, fmt.Errorf("cannot read the attestation: it has more than %d bytes", MaxDocument)
	}
	var d Document
	if err := strictjson.Document(text, &d); err != nil {
		return nil, fmt.Errorf("cannot read the attestation: %w", err)
	}
	if d.Schema != Schema {
		return nil, fmt.Errorf("cannot read the attestation: schema %q, want %q", d.Schema, Schema)
	}
	if len(d.ReportDigest) != sha256.Size {
		return nil, errors.New("cannot read the attestation: the report's digest is not a SHA-256")
	}
	last := -1
	for _, p := range d.PCRs {
		if p.Index <= last || p.Index >= 24 || len(p.SHA256) != sha256.Size {
			return nil, fmt.Errorf("cannot read the attestation: PCR %d is out of order, does not exist, or has no SHA-256", p.Index)
		}
		last = p.Index
	}
	return &d, nil
}

// Marshal writes the document.
func (d *Document) Marshal() ([]byte, error) {
	text, err := json.MarshalIndent(d, "", "  ")
	if err != nil {
		return nil, err
	}
	return append(text, '\n'), nil
}
