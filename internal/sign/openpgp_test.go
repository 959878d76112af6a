package sign_test

import (
	"bytes"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/ProtonMail/go-crypto/openpgp"
	"github.com/ProtonMail/go-crypto/openpgp/armor"
	"github.com/ProtonMail/go-crypto/openpgp/packet"

	"github.com/strongroom/strongroom/internal/sign"
)

var now = time.Date(2026, 6, 1, 0, 0, 0, 0, time.UTC)

// newKey makes a key a year before now.
func newKey(t testing.TB, algorithm packet.PublicKeyAlgorithm, lifetime time.Duration) *openpgp.Entity {
	t.Helper()
	e, err := openpgp.NewEntity("Builder", "", "builder@example.com", &packet.Config{
		Algorithm: algorithm, RSABits: 2048, KeyLifetimeSecs: uint32(lifetime.Seconds()), Time: func() time.Time { return now.AddDate(-1, 0, 0) },
	})
	if err != nil {
		t.Fatal(err)
	}
	return e
}

func secret(t testing.TB, e *openpgp.Entity) []byte {
	t.Helper()
	var b bytes.Buffer
	if err := e.SerializePrivate(&b, nil); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

func armored(t *testing.T, text []byte) []byte {
	t.Helper()
	var b bytes.Buffer
	w, err := armor.Encode(&b, openpgp.PrivateKeyType, nil)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := w.Write(text); err != nil {
		t.Fatal(err)
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

// An installer has gpgv and nothing of ours.
func TestGpgvVerifies(t *testing.T) {
	gpgv, err := exec.LookPath("gpgv")
	if err != nil {
		t.Fatal(err)
	}
	for name, algorithm := range map[string]packet.PublicKeyAlgorithm{"ed25519": packet.PubKeyAlgoEdDSA, "rsa": packet.PubKeyAlgoRSA} {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			key := newKey(t, algorithm, 0)
			var public bytes.Buffer
			if err := key.Serialize(&public); err != nil {
				t.Fatal(err)
			}
			const message = "the overlay"
			var signatures [2]bytes.Buffer
			for i, text := range [][]byte{secret(t, key), armored(t, secret(t, key))} {
				signer, err := sign.ReadKey(text, nil, now)
				if err != nil {
					t.Fatal(err)
				}
				if err := signer.Sign(&signatures[i], strings.NewReader(message)); err != nil {
					t.Fatal(err)
				}
			}
			if !bytes.Equal(signatures[0].Bytes(), signatures[1].Bytes()) {
				t.Error("two signatures of the same bytes differ")
			}
			verify := func(message string) error {
				for name, content := range map[string][]byte{"key.gpg": public.Bytes(), "m": []byte(message), "m.sig": signatures[0].Bytes()} {
					if err := os.WriteFile(filepath.Join(dir, name), content, 0o600); err != nil {
						t.Fatal(err)
					}
				}
				cmd := exec.Command(gpgv, "--keyring", "./key.gpg", "m.sig", "m")
				cmd.Dir, cmd.Env = dir, append(os.Environ(), "GNUPGHOME="+dir)
				out, err := cmd.CombinedOutput()
				t.Logf("%s", out)
				return err
			}
			if err := verify(message); err != nil {
				t.Error("gpgv refuses a good signature")
			}
			if err := verify("the 0verlay"); err == nil {
				t.Error("gpgv takes a flipped byte")
			}
		})
	}
}

func TestReadKeyRefuses(t *testing.T) {
	good := newKey(t, packet.PubKeyAlgoEdDSA, 0)
	var public bytes.Buffer
	if err := good.Serialize(&public); err != nil {
		t.Fatal(err)
	}
	protected := newKey(t, packet.PubKeyAlgoEdDSA, 0)
	if err := protected.EncryptPrivateKeys([]byte("open sesame"), nil); err != nil {
		t.Fatal(err)
	}
	var locked bytes.Buffer
	if err := protected.SerializePrivateWithoutSigning(&locked, nil); err != nil {
		t.Fatal(err)
	}
	for name, tt := range map[string]struct {
		text       []byte
		passphrase string
		says       string
	}{
		"nothing":          {nil, "", "there are 0 keys"},
		"noise":            {[]byte("noise"), "", "cannot read the secret key"},
		"public half":      {public.Bytes(), "", "only the public half"},
		"expired":          {secret(t, newKey(t, packet.PubKeyAlgoEdDSA, 24*time.Hour)), "", "cannot sign"},
		"two keys":         {append(secret(t, good), secret(t, newKey(t, packet.PubKeyAlgoEdDSA, 0))...), "", "there are 2 keys"},
		"no passphrase":    {locked.Bytes(), "", "none was given"},
		"wrong passphrase": {locked.Bytes(), "sesame", "does not open"},
	} {
		t.Run(name, func(t *testing.T) {
			if _, err := sign.ReadKey(tt.text, []byte(tt.passphrase), now); err == nil || !strings.Contains(err.Error(), tt.says) {
				t.Errorf("got %v, want an error that says %q", err, tt.says)
			}
		})
	}
	signer, err := sign.ReadKey(locked.Bytes(), []byte("open sesame"), now)
	if err != nil {
		t.Fatal(err)
	}
	if err := signer.Sign(io.Discard, strings.NewReader("x")); err != nil {
		t.Error(err)
	}
}

func FuzzReadKey(f *testing.F) {
	f.Add(secret(f, newKey(f, packet.PubKeyAlgoEdDSA, 0)))
	f.Add([]byte("-----BEGIN PGP PRIVATE KEY BLOCK-----\n\n=AAAA\n-----END PGP PRIVATE KEY BLOCK-----\n"))
	f.Fuzz(func(t *testing.T, text []byte) {
		if signer, err := sign.ReadKey(text, []byte("x"), now); err == nil && signer.Fingerprint() == "" {
			t.Error("a key without a fingerprint")
		}
	})
}
