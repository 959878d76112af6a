package secureboot_test

import (
	"bytes"
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"encoding/hex"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/foxboron/go-uefi/authenticode"
	"github.com/foxboron/go-uefi/efi/signature"

	"github.com/strongroom/strongroom/internal/measure/measuretest"
	"github.com/strongroom/strongroom/internal/secureboot"
	"github.com/strongroom/strongroom/internal/secureboot/secureboottest"
)

// opaque is a key that only signs, as one in a token or a KMS does.
type opaque struct{ crypto.Signer }

func identity(t testing.TB) secureboot.Identity {
	t.Helper()
	key := secureboottest.Key(t, 2048)
	id, err := secureboot.New(opaque{key}, secureboottest.Certificate(t, key), secureboottest.Epoch)
	if err != nil {
		t.Fatal(err)
	}
	return id
}

func program() []byte {
	return measuretest.Program(
		measuretest.Section{Name: ".text", Data: []byte("code")},
		measuretest.Section{Name: ".cmdline", Data: []byte("roothash=00 ro")},
		measuretest.Section{Name: ".linux", Data: bytes.Repeat([]byte("kernel"), 1000)},
	)
}

func signed(t testing.TB, id secureboot.Identity, program []byte) []byte {
	t.Helper()
	var b bytes.Buffer
	if err := id.SignProgram(&b, bytes.NewReader(program)); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

func write(t testing.TB, dir, name string, content []byte) string {
	t.Helper()
	path := filepath.Join(dir, name)
	if err := os.WriteFile(path, content, 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

// The signature is checked by the tool that distributions use.
func TestSbverifyTakesTheSignature(t *testing.T) {
	id := identity(t)
	good := signed(t, id, program())
	if !bytes.Equal(good, signed(t, id, program())) {
		t.Error("two signatures of the same program differ")
	}
	dir := t.TempDir()
	certificate := write(t, dir, "certificate.pem", secureboottest.CertificatePEM(id.Certificate()))
	foreign := write(t, dir, "foreign.pem", secureboottest.CertificatePEM(identity(t).Certificate()))
	flipped := func(content string) []byte {
		b := bytes.Clone(good)
		b[bytes.Index(b, []byte(content))] ^= 1
		return b
	}
	for name, tt := range map[string]struct {
		program     []byte
		certificate string
		good        bool
	}{
		"signed":                        {good, certificate, true},
		"another certificate":           {good, foreign, false},
		"unsigned":                      {program(), certificate, false},
		"another byte in the arguments": {flipped("roothash=00"), certificate, false},
		"another byte in the kernel":    {flipped("kernelkernel"), certificate, false},
		"another byte in the code":      {flipped("code"), certificate, false},
	} {
		t.Run(name, func(t *testing.T) {
			path := write(t, t.TempDir(), "program.efi", tt.program)
			out, err := exec.Command("sbverify", "--cert", tt.certificate, path).CombinedOutput()
			if (err == nil) != tt.good {
				t.Errorf("sbverify: %v: %s", err, out)
			}
		})
	}
}

// What firmware measures is the digest without the signature.
func TestDigest(t *testing.T) {
	id := identity(t)
	before, err := secureboot.Digest(bytes.NewReader(program()))
	if err != nil {
		t.Fatal(err)
	}
	after, err := secureboot.Digest(bytes.NewReader(signed(t, id, program())))
	if err != nil {
		t.Fatal(err)
	}
	if before != after {
		t.Errorf("digest %x without the signature, %x with it", before, after)
	}
	p, err := authenticode.Parse(bytes.NewReader(signed(t, id, program())))
	if err != nil {
		t.Fatal(err)
	}
	signatures, err := p.Signatures()
	if err != nil || len(signatures) != 1 {
		t.Fatalf("%d signatures, %v", len(signatures), err)
	}
	a, err := authenticode.ParseAuthenticode(signatures[0].Certificate)
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(a.Digest, before[:]) {
		t.Errorf("the signature is over %x, the digest is %x", a.Digest, before)
	}
}

func TestSignProgramRefuses(t *testing.T) {
	id := identity(t)
	for name, tt := range map[string]struct {
		program []byte
		says    string
	}{
		"nothing":        {nil, "no EFI program"},
		"a text":         {[]byte(strings.Repeat("text", 100)), "no EFI program"},
		"signed already": {signed(t, id, program()), "a signature already"},
	} {
		t.Run(name, func(t *testing.T) {
			err := id.SignProgram(io.Discard, bytes.NewReader(tt.program))
			if err == nil || !strings.Contains(err.Error(), tt.says) {
				t.Errorf("got %v, want an error that says %q", err, tt.says)
			}
		})
	}
}

func TestNewRefuses(t *testing.T) {
	key := secureboottest.Key(t, 2048)
	weak := secureboottest.Key(t, 1024)
	curve, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	other := secureboottest.Certificate(t, key)
	usage := *other
	usage.KeyUsage = x509.KeyUsageCertSign
	for name, tt := range map[string]struct {
		key         crypto.Signer
		certificate *x509.Certificate
		at          time.Time
		says        string
	}{
		"another certificate": {secureboottest.Key(t, 2048), other, secureboottest.Epoch, "not that of the key"},
		"weak":                {weak, secureboottest.Certificate(t, weak), secureboottest.Epoch, "1024 bits"},
		"elliptic curve":      {curve, secureboottest.Certificate(t, curve), secureboottest.Epoch, "RSA keys only"},
		"expired":             {key, other, secureboottest.Epoch.AddDate(20, 0, 0), "was valid until"},
		"another usage":       {key, &usage, secureboottest.Epoch, "digitalSignature"},
	} {
		t.Run(name, func(t *testing.T) {
			if _, err := secureboot.New(tt.key, tt.certificate, tt.at); err == nil || !strings.Contains(err.Error(), tt.says) {
				t.Errorf("got %v, want an error that says %q", err, tt.says)
			}
		})
	}
}

func TestParseCertificate(t *testing.T) {
	key := secureboottest.Key(t, 2048)
	certificate := secureboottest.Certificate(t, key)
	text := secureboottest.CertificatePEM(certificate)
	for name, content := range map[string][]byte{"PEM": text, "DER": certificate.Raw, "with the key": append(secureboottest.KeyPEM(t, key), text...)} {
		if got, err := secureboot.ParseCertificate(content); err != nil || !got.Equal(certificate) {
			t.Errorf("%s: %v", name, err)
		}
	}
	for name, tt := range map[string]struct{ text, says string }{
		"nothing": {"", "no certificate"},
		"noise":   {"noise", "not an X.509"},
		"a key":   {string(secureboottest.KeyPEM(t, key)), "no certificate"},
		"two":     {string(text) + string(text), "more than one"},
	} {
		if _, err := secureboot.ParseCertificate([]byte(tt.text)); err == nil || !strings.Contains(err.Error(), tt.says) {
			t.Errorf("%s: got %v, want an error that says %q", name, err, tt.says)
		}
	}
}

// The bundle is what sbsigntool makes of the same certificate, but for the times: its tools take the clock's.
func TestBundle(t *testing.T) {
	id := identity(t)
	files, err := id.Bundle(secureboottest.Epoch)
	if err != nil {
		t.Fatal(err)
	}
	again, err := id.Bundle(secureboottest.Epoch)
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	for name, content := range files {
		write(t, dir, name, content)
		if !bytes.Equal(content, again[name]) {
			t.Errorf("%s is another one the second time", name)
		}
		if bytes.Contains(content, []byte("PRIVATE")) {
			t.Errorf("%s has a private key", name)
		}
	}
	for _, v := range []secureboot.Variable{secureboot.PK, secureboot.KEK, secureboot.DB} {
		lists, err := signature.ReadSignatureDatabase(bytes.NewReader(files[v.Name+".esl"]))
		if err != nil || len(lists) != 1 || len(lists[0].Signatures) != 1 || !bytes.Equal(lists[0].Signatures[0].Data, id.Certificate().Raw) {
			t.Fatalf("%s.esl: %v %v", v.Name, lists, err)
		}
		their := filepath.Join(dir, v.Name+".their")
		out, err := exec.Command("sbsiglist", "--owner", lists[0].Signatures[0].Owner.Format(), "--type", "x509", "--output", their, filepath.Join(dir, v.Name+".cer")).CombinedOutput()
		if err != nil {
			t.Fatalf("sbsiglist: %v: %s", err, out)
		}
		if want, err := os.ReadFile(their); err != nil || !bytes.Equal(want, files[v.Name+".esl"]) {
			t.Errorf("%s.esl is\n%s\nsbsiglist makes\n%s", v.Name, hex.Dump(files[v.Name+".esl"])[:400], hex.Dump(want)[:400])
		}
		var update signature.EFIVariableAuthentication2
		rest := bytes.NewBuffer(files[v.Name+".auth"])
		if err := update.Unmarshal(rest); err != nil {
			t.Fatal(err)
		}
		if !bytes.Equal(rest.Bytes(), files[v.Name+".esl"]) {
			t.Errorf("%s.auth does not end with the list", v.Name)
		}
		if got := update.Time.Format(); got != "2026-3-1 0:0:0:0" {
			t.Errorf("%s.auth is of %s", v.Name, got)
		}
	}
}

func FuzzParseCertificate(f *testing.F) {
	key := secureboottest.Key(f, 2048)
	f.Add(secureboottest.CertificatePEM(secureboottest.Certificate(f, key)))
	f.Add(secureboottest.Certificate(f, key).Raw)
	f.Fuzz(func(t *testing.T, text []byte) {
		if c, err := secureboot.ParseCertificate(text); err == nil && len(c.Raw) == 0 {
			t.Error("a certificate without bytes")
		}
	})
}

func FuzzDigest(f *testing.F) {
	f.Add(program())
	f.Fuzz(func(t *testing.T, program []byte) {
		secureboot.Digest(bytes.NewReader(program)) // no panic
	})
}
