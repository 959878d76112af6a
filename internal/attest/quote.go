package attest

import (
	"bytes"
	"crypto/sha256"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"io"

	"github.com/google/go-tpm/legacy/tpm2"
	"github.com/google/go-tpm/tpmutil"
)

// quoted are the registers that firmware, boot stub and system measure into. Those from 16 on can be reset by programs. All of
// them cost the TPM what one costs, and which of them must have which value is the asker's decision.
const quoted = 16

// attempts bounds how often registers are read again because one was extended between reading and quoting.
const attempts = 5

// keyTemplate makes the attestation key: restricted, so that it signs nothing but what the TPM itself says, and never leaving
// the TPM. It is a primary key below the endorsement seed: the TPM makes the same key from the same template each time, so that
// nothing has to be stored, and the key outlives a new owner and a new disk. An elliptic curve, since a TPM
// takes seconds or minutes to make an RSA key.
func keyTemplate() tpm2.Public {
	unique := sha256.Sum256([]byte("strongroom attestation key v1"))
	return tpm2.Public{
		Type:    tpm2.AlgECC,
		NameAlg: tpm2.AlgSHA256,
		Attributes: tpm2.FlagFixedTPM | tpm2.FlagFixedParent | tpm2.FlagSensitiveDataOrigin | tpm2.FlagUserWithAuth | tpm2.FlagNoDA |
			tpm2.FlagRestricted | tpm2.FlagSign,
		ECCParameters: &tpm2.ECCParams{
			Sign:    &tpm2.SigScheme{Alg: tpm2.AlgECDSA, Hash: tpm2.AlgSHA256},
			CurveID: tpm2.CurveNISTP256,
			Point:   tpm2.ECPoint{XRaw: unique[:], YRaw: make([]byte, sha256.Size)},
		},
	}
}

// key is the attestation key, loaded.
type key struct {
	tpm    io.ReadWriter
	handle tpmutil.Handle
	public Key
}

func loadKey(tpm io.ReadWriter) (*key, error) {
	handle, public, _, _, _, _, err := tpm2.CreatePrimaryEx(tpm, tpm2.HandleEndorsement, tpm2.PCRSelection{}, "", "", keyTemplate())
	if err != nil {
		return nil, fmt.Errorf("the TPM makes no attestation key: %w", err)
	}
	k := &key{tpm: tpm, handle: handle}
	if k.public, err = publicOf(public); err != nil {
		k.close()
		return nil, fmt.Errorf("cannot read the TPM's attestation key: %w", err)
	}
	return k, nil
}

func publicOf(raw []byte) (Key, error) {
	public, err := tpm2.DecodePublic(raw)
	if err != nil {
		return Key{}, err
	}
	parsed, err := public.Key()
	if err != nil {
		return Key{}, err
	}
	der, err := x509.MarshalPKIXPublicKey(parsed)
	if err != nil {
		return Key{}, err
	}
	return Key{Public: raw, PEM: string(pem.EncodeToMemory(&pem.Block{Type: "PUBLIC KEY", Bytes: der}))}, nil
}

func (k *key) close() { _ = tpm2.FlushContext(k.tpm, k.handle) }

// PublicKey is the attestation key of a TPM, PEM: what is pinned when the node is enrolled.
func PublicKey(tpm io.ReadWriter) (string, error) {
	k, err := loadKey(tpm)
	if err != nil {
		return "", err
	}
	defer k.close()
	return k.public.PEM, nil
}

// Quote has a TPM vouch for a report.
func Quote(tpm io.ReadWriter, nonce Hex, report []byte) (*Document, error) {
	k, err := loadKey(tpm)
	if err != nil {
		return nil, err
	}
	defer k.close()
	digest := sha256.Sum256(report)
	d := &Document{Schema: Schema, Nonce: nonce, ReportDigest: digest[:], Key: k.public, Report: report}
	for range attempts {
		if d.PCRs, err = readPCRs(tpm); err != nil {
			return nil, err
		}
		stable, err := k.quote(d)
		if err != nil {
			return nil, err
		}
		if stable {
			d.EKCertificates = ekCertificates(tpm)
			return d, nil
		}
	}
	return nil, errors.New("the registers of the TPM change faster than they can be quoted")
}

// quote fills in what the TPM signs, and tells whether the registers still were as they had been read.
func (k *key) quote(d *Document) (stable bool, err error) {
	d.Quote, d.Signature, err = tpm2.QuoteRaw(k.tpm, k.handle, "", "", Qualify(d.Nonce, d.ReportDigest), selection(0, quoted), tpm2.AlgNull)
	if err != nil {
		return false, fmt.Errorf("the TPM refuses to quote: %w", err)
	}
	attested, err := tpm2.DecodeAttestationData(d.Quote)
	if err != nil {
		return false, fmt.Errorf("cannot read the TPM's quote: %w", err)
	}
	if attested.AttestedQuoteInfo == nil {
		return false, errors.New("cannot read the TPM's quote: it is none")
	}
	return bytes.Equal(attested.AttestedQuoteInfo.PCRDigest, digestOf(d.PCRs)), nil
}

// digestOf is how a quote digests its registers.
func digestOf(pcrs []PCR) []byte {
	h := sha256.New()
	for _, p := range pcrs {
		h.Write(p.SHA256)
	}
	return h.Sum(nil)
}

// selection are the registers from first on, before end.
func selection(first, end int) tpm2.PCRSelection {
	s := tpm2.PCRSelection{Hash: tpm2.AlgSHA256}
	for i := first; i < end; i++ {
		s.PCRs = append(s.PCRs, i)
	}
	return s
}

// readPCRs asks for eight registers at a time, more of which no TPM gives.
func readPCRs(tpm io.ReadWriter) ([]PCR, error) {
	const step = 8
	var pcrs []PCR
	for first := 0; first < quoted; first += step {
		values, err := tpm2.ReadPCRs(tpm, selection(first, first+step))
		if err != nil {
			return nil, fmt.Errorf("the TPM does not tell its registers: %w", err)
		}
		for i := first; i < first+step; i++ {
			if len(values[i]) != sha256.Size {
				return nil, errors.New("the TPM has no registers for SHA-256: firmware must switch that bank on")
			}
			pcrs = append(pcrs, PCR{Index: i, SHA256: values[i]})
		}
	}
	return pcrs, nil
}

// ekIndices are where makers put the certificates of the endorsement keys: RSA 2048 and P-256 (TCG EK Credential Profile 2.5,
// section 2.2.1.4).
var ekIndices = [...]tpmutil.Handle{0x01C00002, 0x01C0000A}

// ekCertificates are there or not; an attestation without them is as good with a key that was pinned.
func ekCertificates(tpm io.ReadWriter) [][]byte {
	const step = 512 // what every TPM gives at once
	var found [][]byte
	for _, index := range ekIndices {
		if content, err := tpm2.NVReadEx(tpm, index, index, "", step); err == nil {
			found = append(found, content)
		}
	}
	return found
}
