package appraise_test

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/sha256"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"io"
	"math/big"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/strongroom/strongroom/internal/attest"
	"github.com/strongroom/strongroom/internal/attest/appraise"
	"github.com/strongroom/strongroom/internal/attest/attesttest"
	"github.com/strongroom/strongroom/internal/check"
	"github.com/strongroom/strongroom/internal/control"
	"github.com/strongroom/strongroom/internal/measure"
	"github.com/strongroom/strongroom/internal/report"
)

var nonce = attest.Hex(bytes.Repeat([]byte{7}, 32))

const rootHash = "5eed"

func reportText(t testing.TB, verdict check.Verdict, root string) []byte {
	t.Helper()
	var b bytes.Buffer
	err := report.WriteJSON(&b, &report.Document{Schema: report.Schema, Verdict: verdict, Stage: control.StageRun, Host: report.Host{RootHash: root}})
	if err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

// scene is a node that has started what its image measures.
type scene struct {
	tpm      io.ReadWriter
	report   []byte
	document *attest.Document
	want     appraise.Expectation
}

func newScene(t testing.TB) *scene {
	t.Helper()
	s := &scene{tpm: attesttest.New(t), report: reportText(t, check.Pass, rootHash)}
	for pcr, what := range map[int]string{0: "firmware", 4: "kernel", 7: "keys", 11: "sections"} {
		attesttest.Extend(t, s.tpm, pcr, sha256.Sum256([]byte(what)))
	}
	s.quote(t)
	pcr := func(i int) measure.Digest { return measure.Digest(s.document.PCRs[i].SHA256) }
	key, err := appraise.ParseKey([]byte(s.document.Key.PEM))
	if err != nil {
		t.Fatal(err)
	}
	s.want = appraise.Expectation{Nonce: nonce, Key: key, PCRs: map[int]measure.Digest{}, Measurements: &measure.Statement{
		RootHash: rootHash,
		Kernels: []measure.Kernel{
			{Name: "netboot", PCR4: measure.Digest{1}, PCR11: []measure.PhaseValue{{SHA256: measure.Digest{2}}}},
			{Name: "disk", PCR4: pcr(4), PCR11: []measure.PhaseValue{{SHA256: measure.Digest{3}}, {Phase: "ready", SHA256: pcr(11)}},
				Firmware: []measure.FirmwareValue{{Name: "lab", PCR7: pcr(7)}}},
		},
	}}
	return s
}

func (s *scene) quote(t testing.TB) {
	t.Helper()
	var err error
	if s.document, err = attest.Quote(s.tpm, nonce, s.report); err != nil {
		t.Fatal(err)
	}
}

func (s *scene) judge(t testing.TB) (*appraise.Result, []string) {
	t.Helper()
	r, err := appraise.Judge(s.document, s.want)
	if err != nil {
		t.Fatal(err)
	}
	var failed []string
	for _, c := range r.Checks {
		if !c.Pass {
			failed = append(failed, c.Name)
			if c.Reason == "" {
				t.Errorf("%s fails without a reason", c.Name)
			}
		}
	}
	if r.Pass != (len(failed) == 0) {
		t.Errorf("pass %v with %q failed", r.Pass, failed)
	}
	return r, failed
}

func TestJudge(t *testing.T) {
	for name, tt := range map[string]struct {
		change func(*testing.T, *scene)
		failed string // checks, joined
	}{
		"as enrolled": {func(*testing.T, *scene) {}, ""},
		"a register of the firmware, as enrolled": {func(_ *testing.T, s *scene) { s.want.PCRs[0] = measure.Digest(s.document.PCRs[0].SHA256) }, ""},
		"the report beside it":                    {func(_ *testing.T, s *scene) { s.want.Report, s.document.Report = s.document.Report, nil }, ""},
		"the kernel as it is measured without Secure Boot": {func(_ *testing.T, s *scene) {
			k := &s.want.Measurements.Kernels[1]
			k.PCR4Open, k.PCR4 = k.PCR4, measure.Digest{8}
		}, ""},
		"another nonce": {func(_ *testing.T, s *scene) { s.want.Nonce = bytes.Repeat([]byte{8}, 32) }, "nonce"},
		"another nonce, written into the document": {func(_ *testing.T, s *scene) {
			s.want.Nonce = bytes.Repeat([]byte{8}, 32)
			s.document.Nonce = s.want.Nonce
		}, "nonce"},
		"the report edited": {func(_ *testing.T, s *scene) {
			s.document.Report = bytes.Replace(s.document.Report, []byte(`"seconds": 0`), []byte(`"seconds": 1`), 1)
		}, "report"},
		"the report edited, and its digest": {func(_ *testing.T, s *scene) {
			s.document.Report = bytes.Replace(s.document.Report, []byte(`"seconds": 0`), []byte(`"seconds": 1`), 1)
			sum := sha256.Sum256(s.document.Report)
			s.document.ReportDigest = sum[:]
		}, "nonce"},
		"another report beside it": {func(t *testing.T, s *scene) { s.want.Report = reportText(t, check.Fail, rootHash) }, "report verdict"},
		"no report":                {func(_ *testing.T, s *scene) { s.document.Report = nil }, "report verdict"},
		"a node that does not pass": {func(t *testing.T, s *scene) {
			s.report = reportText(t, check.Fail, rootHash)
			s.quote(t)
		}, "verdict"},
		"a report about another root": {func(t *testing.T, s *scene) {
			s.report = reportText(t, check.Pass, "0bad")
			s.quote(t)
		}, "image"},
		"another kernel": {func(t *testing.T, s *scene) {
			attesttest.Extend(t, s.tpm, 4, sha256.Sum256([]byte("other")))
			s.quote(t)
		}, "pcr 4"},
		"one kernel's program and another's sections": {func(_ *testing.T, s *scene) {
			kernels := s.want.Measurements.Kernels
			kernels[0].PCR4, kernels[1].PCR4 = kernels[1].PCR4, kernels[0].PCR4
		}, "pcr 4"},
		"a command line of a loader's": {func(t *testing.T, s *scene) {
			attesttest.Extend(t, s.tpm, 12, sha256.Sum256([]byte("init=/bin/sh")))
			s.quote(t)
		}, "pcr 12"},
		"without Secure Boot": {func(_ *testing.T, s *scene) {
			k := &s.want.Measurements.Kernels[1]
			k.PCR4, k.PCR4Open, k.Firmware = measure.Digest{7}, k.PCR4, nil
		}, ""},
		"other keys":     {func(_ *testing.T, s *scene) { s.want.Measurements.Kernels[1].Firmware[0].PCR7 = measure.Digest{9} }, "pcr 7"},
		"other firmware": {func(_ *testing.T, s *scene) { s.want.PCRs[0] = measure.Digest{9} }, "pcr 0"},
		"a register edited": {func(_ *testing.T, s *scene) {
			s.document.PCRs[4].SHA256[0]++
			s.want.Measurements.Kernels[1].PCR4[0]++
		}, "quote"},
		"a register left out":           {func(_ *testing.T, s *scene) { s.document.PCRs = slices.Delete(s.document.PCRs, 4, 5) }, "quote pcr 4"},
		"a register that is not quoted": {func(_ *testing.T, s *scene) { s.want.PCRs[23] = measure.Digest{} }, "pcr 23"},
		"the quote edited":              {func(_ *testing.T, s *scene) { s.document.Quote[len(s.document.Quote)-1]++ }, "quote"},
		"the signature edited":          {func(_ *testing.T, s *scene) { s.document.Signature[len(s.document.Signature)-1]++ }, "quote"},
		"no signature":                  {func(_ *testing.T, s *scene) { s.document.Signature = nil }, "quote"},
		"no quote":                      {func(_ *testing.T, s *scene) { s.document.Quote = nil }, "quote nonce"},
		"another TPM": {func(t *testing.T, s *scene) {
			other := newScene(t) // has measured the same
			s.document = other.document
		}, "key quote"},
		"another TPM with the key's name": {func(t *testing.T, s *scene) {
			other := newScene(t)
			other.document.Key = s.document.Key
			s.document = other.document
		}, "quote"},
	} {
		t.Run(name, func(t *testing.T) {
			s := newScene(t)
			tt.change(t, s)
			r, failed := s.judge(t)
			if got := strings.Join(failed, " "); got != tt.failed {
				t.Errorf("failed: %q, want %q\n%+v", got, tt.failed, r.Checks)
			}
			var text bytes.Buffer
			if err := appraise.WriteText(&text, r); err != nil {
				t.Fatal(err)
			}
			if strings.HasPrefix(text.String()[strings.LastIndex(text.String()[:text.Len()-1], "\n")+1:], "attested") != r.Pass {
				t.Errorf("the text does not say so:\n%s", text.String())
			}
		})
	}
}

func TestJudgeSaysWhichKernel(t *testing.T) {
	s := newScene(t)
	r, _ := s.judge(t)
	if r.Kernel != "disk" || r.Phase != "ready" {
		t.Errorf("kernel %q in phase %q", r.Kernel, r.Phase)
	}
	if !slices.ContainsFunc(r.Notes, func(n string) bool { return strings.Contains(n, "nothing was expected: 0, 1, 2, 3, 5, 6, 8") }) {
		t.Errorf("what was not judged is not said: %q", r.Notes)
	}
}

// What expects nothing must not pass.
func TestJudgeExpectsSomething(t *testing.T) {
	s := newScene(t)
	s.want.Measurements = nil
	if r, err := appraise.Judge(s.document, s.want); err == nil {
		t.Errorf("pass %v without any value", r.Pass)
	}
}

func TestKeyOfCertificate(t *testing.T) {
	s := newScene(t)
	now := time.Date(2026, 11, 22, 0, 0, 0, 0, time.UTC)
	authority, authorityKey := certificate(t, now, nil, nil, nil)
	other, _ := certificate(t, now, nil, nil, nil)
	leaf, _ := certificate(t, now, s.want.Key, authority, authorityKey)
	key, err := appraise.KeyOfCertificate(toPEM(leaf), toPEM(authority), now)
	if err != nil {
		t.Fatal(err)
	}
	s.want.Key = key
	if _, failed := s.judge(t); failed != nil {
		t.Errorf("failed: %q", failed)
	}
	for name, err := range map[string]error{
		"another authority": second(appraise.KeyOfCertificate(toPEM(leaf), toPEM(other), now)),
		"expired":           second(appraise.KeyOfCertificate(toPEM(leaf), toPEM(authority), now.Add(48*time.Hour))),
		"no certificate":    second(appraise.KeyOfCertificate([]byte(s.document.Key.PEM), toPEM(authority), now)),
		"no authority":      second(appraise.KeyOfCertificate(toPEM(leaf), nil, now)),
	} {
		if err == nil {
			t.Errorf("%s: trusted", name)
		}
	}
}

func second[T any](_ T, err error) error { return err }

func toPEM(c *x509.Certificate) []byte {
	return pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: c.Raw})
}

// certificate makes one for a key, or an authority without an issuer.
func certificate(t *testing.T, now time.Time, public any, issuer *x509.Certificate, issuerKey *ecdsa.PrivateKey) (*x509.Certificate, *ecdsa.PrivateKey) {
	t.Helper()
	template := &x509.Certificate{SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "test"}, NotBefore: now.Add(-time.Hour), NotAfter: now.Add(24 * time.Hour)}
	var private *ecdsa.PrivateKey
	if issuer == nil {
		var err error
		if private, err = ecdsa.GenerateKey(elliptic.P256(), rand.Reader); err != nil {
			t.Fatal(err)
		}
		template.IsCA, template.BasicConstraintsValid, template.KeyUsage = true, true, x509.KeyUsageCertSign
		issuer, issuerKey, public = template, private, private.Public()
	}
	der, err := x509.CreateCertificate(rand.Reader, template, issuer, public, issuerKey)
	if err != nil {
		t.Fatal(err)
	}
	c, err := x509.ParseCertificate(der)
	if err != nil {
		t.Fatal(err)
	}
	return c, private
}

// Whatever a node sends, it is judged and nothing of it passes but what was signed.
func FuzzJudge(f *testing.F) {
	s := newScene(f)
	f.Add(s.document.Quote, s.document.Signature, s.document.Key.Public, []byte(nil))
	f.Add([]byte("\xffTCG\x80\x18"), []byte{0, 0x18, 0, 0x0b}, []byte{0, 0x23}, []byte("\x00\x00\x00\x00\x03\x00\x00\x00"))
	quote, signature := bytes.Clone(s.document.Quote), bytes.Clone(s.document.Signature)
	f.Fuzz(func(t *testing.T, q, sig, public, log []byte) {
		d := *s.document
		d.Quote, d.Signature, d.Key.Public, d.EventLog = q, sig, public, log
		r, err := appraise.Judge(&d, s.want)
		if err != nil {
			t.Fatal(err)
		}
		if r.Pass && !(bytes.Equal(q, quote) && bytes.HasPrefix(sig, signature)) {
			t.Errorf("passes with quote %x, signature %x", q, sig)
		}
	})
}

func FuzzParseKey(f *testing.F) {
	f.Add([]byte("-----BEGIN PUBLIC KEY-----\nAA==\n-----END PUBLIC KEY-----\n"))
	f.Fuzz(func(t *testing.T, text []byte) {
		if key, err := appraise.ParseKey(text); err == nil && key == nil {
			t.Error("no key and no error")
		}
	})
}
