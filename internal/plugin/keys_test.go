package plugin

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/strongroom/strongroom/internal/image"
	"github.com/strongroom/strongroom/internal/secureboot/secureboottest"
)

func TestPrepareRefusesKeys(t *testing.T) {
	_, err := prepare(t, with(map[string]any{
		"secure_boot": map[string]any{"firmware": map[string]any{image.EnrolledFirmware: "dir", "rack": ""}},
		"pcr_policy":  map[string]any{},
	}))
	if err == nil {
		t.Fatal("no error")
	}
	for _, want := range []string{
		"secure_boot.key: is required", "secure_boot.certificate: is required", image.EnrolledFirmware + " is the name", `"rack" = ""`, "pcr_policy.key: is required",
	} {
		if !strings.Contains(err.Error(), want) {
			t.Errorf("the error does not say %q:\n%v", want, err)
		}
	}
	_, err = prepare(t, with(map[string]any{
		"secure_boot": map[string]any{"key": "key.pem", "certificate": "c.pem"}, "pcr_policy": map[string]any{"key": "key.pem"},
	}))
	if err == nil || !strings.Contains(err.Error(), "pcr_policy.key: it is the key of secure_boot") {
		t.Errorf("one key for both: %v", err)
	}
}

// Data partitions that the TPM opens need both keys.
func TestPrepareRefusesEncryptionWithoutKeys(t *testing.T) {
	_, err := prepare(t, with(map[string]any{"parameters": map[string]any{"data_encryption": "tpm"}, "pcr_policy": map[string]any{"key": "key.pem"}}))
	if err == nil || !strings.Contains(err.Error(), "needs the blocks secure_boot and pcr_policy") {
		t.Error(err)
	}
	if _, err := prepare(t, with(map[string]any{
		"parameters": map[string]any{"data_encryption": "tpm"}, "pcr_policy": map[string]any{"key": "key.pem"},
		"secure_boot": map[string]any{"key": "k.pem", "certificate": "c.pem"},
	})); err != nil {
		t.Error(err)
	}
}

// Prepare reads no secrets: a key that is not there is found when the build starts.
func TestPrepareDoesNotReadKeys(t *testing.T) {
	if _, err := prepare(t, with(map[string]any{
		"secure_boot": map[string]any{"key": "/nowhere/key.pem", "certificate": "/nowhere/c.pem"}, "pcr_policy": map[string]any{"key": "/nowhere/policy.pem"},
	})); err != nil {
		t.Error(err)
	}
}

func TestReadKeys(t *testing.T) {
	key, certificate := secureboottest.Files(t)
	policy, otherCertificate := secureboottest.Files(t)
	text, err := os.ReadFile(certificate)
	if err != nil {
		t.Fatal(err)
	}
	foreign := t.TempDir()
	if err := os.WriteFile(filepath.Join(foreign, "db.esl"), []byte("db"), 0o600); err != nil {
		t.Fatal(err)
	}
	for name, tt := range map[string]struct {
		config Config
		at     time.Time
		says   []string // nothing: it is good
	}{
		"nothing to sign with": {},
		"good": {config: Config{
			SecureBoot: &SecureBootConfig{Key: key, Certificate: certificate, Firmware: map[string]string{"rack": foreign}}, PCRPolicy: &PCRPolicyConfig{Key: policy},
		}},
		"missing files": {
			config: Config{SecureBoot: &SecureBootConfig{Key: "/nowhere/k", Certificate: "/nowhere/c", Firmware: map[string]string{"rack": "/nowhere"}}, PCRPolicy: &PCRPolicyConfig{Key: "/nowhere/p"}},
			says:   []string{"secure_boot.key: ", "/nowhere/k", "secure_boot.certificate: ", "/nowhere/c", "secure_boot.firmware: rack: no PK.esl", "pcr_policy.key: ", "/nowhere/p"},
		},
		"the certificate of another key": {
			config: Config{SecureBoot: &SecureBootConfig{Key: key, Certificate: otherCertificate}}, says: []string{"secure_boot: ", "is not that of the key"},
		},
		"a certificate for a key": {
			config: Config{SecureBoot: &SecureBootConfig{Key: certificate, Certificate: certificate}}, says: []string{"secure_boot.key: ", "no private key in PEM form"},
		},
		"a key for a certificate": {
			config: Config{SecureBoot: &SecureBootConfig{Key: key, Certificate: key}}, says: []string{"secure_boot.certificate: ", "no certificate in it"},
		},
		"expired": {
			config: Config{SecureBoot: &SecureBootConfig{Key: key, Certificate: certificate}}, at: secureboottest.Epoch.AddDate(30, 0, 0), says: []string{"was valid until"},
		},
	} {
		t.Run(name, func(t *testing.T) {
			spec := image.Spec{Epoch: tt.at}
			if spec.Epoch.IsZero() {
				spec.Epoch = secureboottest.Epoch
			}
			err := tt.config.readKeys(&spec)
			if len(tt.says) == 0 {
				if err != nil {
					t.Fatal(err)
				}
				if (spec.SecureBoot == nil) != (tt.config.SecureBoot == nil) || (spec.PolicyKey == nil) != (tt.config.PCRPolicy == nil) {
					t.Errorf("spec %+v", spec)
				}
				if tt.config.SecureBoot != nil && (len(spec.Firmware) != 1 || string(spec.Firmware[0].DB) != "db") {
					t.Errorf("firmware %+v", spec.Firmware)
				}
				return
			}
			if err == nil {
				t.Fatal("no error")
			}
			for _, want := range tt.says {
				if !strings.Contains(err.Error(), want) {
					t.Errorf("the error does not say %q:\n%v", want, err)
				}
			}
			if strings.Contains(err.Error(), strings.Split(string(text), "\n")[1]) || strings.Contains(err.Error(), "PRIVATE KEY---") {
				t.Errorf("the error repeats the file:\n%v", err)
			}
		})
	}
}

func TestPrepareRefusesSigning(t *testing.T) {
	for says, block := range map[string]map[string]any{
		"signing.key: is required":        {},
		"write vault:MOUNT/KEY":           {"key": "vault:key"},
		`signing.valid_until: "tomorrow"`: {"key": "key.pem", "valid_until": "tomorrow"},
	} {
		if _, err := prepare(t, with(map[string]any{"signing": block})); err == nil || !strings.Contains(err.Error(), says) {
			t.Errorf("got %v, want %q", err, says)
		}
	}
	// Provisioner and post-processor sign the baseline, and nothing that ends.
	for says, block := range map[string]map[string]any{
		"signing.key: is required":                                     {},
		"signing.valid_until: only the statement of a bake has an end": {"key": "key.pem", "valid_until": "2027-06-30T00:00:00Z"},
	} {
		if _, err := prepareHarden(map[string]any{"signing": block}); err == nil || !strings.Contains(err.Error(), says) {
			t.Errorf("provisioner: got %v, want %q", err, says)
		}
		if _, err := configureMetal(t, map[string]any{"signing": block}); err == nil || !strings.Contains(err.Error(), says) {
			t.Errorf("post-processor: got %v, want %q", err, says)
		}
	}
	// A key is read when the build starts, and one of another kind is refused then.
	rsa, _ := secureboottest.Files(t)
	for says, key := range map[string]string{"neither Ed25519 nor": rsa, "no such file": "/nowhere/key.pem"} {
		b, err := prepare(t, with(map[string]any{"signing": map[string]any{"key": key, "valid_until": "2027-06-30T00:00:00Z"}}))
		if err != nil {
			t.Fatal(err)
		}
		if err := b.config.readSigningKey(b.plan.signing); err == nil || !strings.Contains(err.Error(), "signing.key: ") || !strings.Contains(err.Error(), says) {
			t.Errorf("%s: %v, want %q", key, err, says)
		}
	}
}
