package plugin

import (
	"errors"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"slices"

	"github.com/strongroom/strongroom/internal/baseline"
	"github.com/strongroom/strongroom/internal/image"
	"github.com/strongroom/strongroom/internal/measure"
	"github.com/strongroom/strongroom/internal/secureboot"
	"github.com/strongroom/strongroom/internal/sign"
)

// checkKeys checks what the blocks secure_boot and pcr_policy say, without looking at the files.
func (c *Config) checkKeys(wrong *mistakes) {
	if c.Parameters[baseline.DataEncryption] == "tpm" && (c.SecureBoot == nil || c.PCRPolicy == nil) {
		wrong.add("parameters", "%s = tpm needs the blocks secure_boot and pcr_policy: without their keys no node would make its data partitions", baseline.DataEncryption)
	}
	if b := c.SecureBoot; b != nil {
		if b.Key == "" {
			wrong.add("secure_boot.key", "is required: the path of a private key, PEM")
		}
		if b.Certificate == "" {
			wrong.add("secure_boot.certificate", "is required: the path of the key's certificate, PEM or DER")
		}
		for _, name := range slices.Sorted(maps.Keys(b.Firmware)) {
			switch {
			case name == image.EnrolledFirmware:
				wrong.add("secure_boot.firmware", "%s is the name of the machine that has enrolled the bundle of the image: choose another", name)
			case name == "" || b.Firmware[name] == "":
				wrong.add("secure_boot.firmware", "%q = %q: give a name and the directory with the machine's signature lists", name, b.Firmware[name])
			}
		}
	}
	if b := c.PCRPolicy; b != nil {
		switch {
		case b.Key == "":
			wrong.add("pcr_policy.key", "is required: the path of a private key, PEM")
		case c.SecureBoot != nil && b.Key == c.SecureBoot.Key && b.Key != unknown:
			wrong.add("pcr_policy.key", "it is the key of secure_boot: give another, since who may start programs on a node need not open what it has sealed")
		}
	}
}

// readKeys opens the keys that sign, when the build starts: Prepare reads no secrets. Every mistake is told at once.
func (c *Config) readKeys(spec *image.Spec) error {
	var wrong mistakes
	if b := c.SecureBoot; b != nil {
		spec.SecureBoot = b.identity(spec, &wrong)
		spec.Firmware = b.firmware(&wrong)
	}
	if b := c.PCRPolicy; b != nil {
		key, err := sign.OpenKey(b.Key)
		if err == nil {
			var policy measure.PolicyKey
			if policy, err = measure.NewPolicyKey(key); err == nil {
				spec.PolicyKey = &policy
			}
		}
		if err != nil {
			wrong.add("pcr_policy.key", "%w", err)
		}
	}
	if wrong.err != nil {
		return wrong.err
	}
	return nil
}

func (b *SecureBootConfig) identity(spec *image.Spec, wrong *mistakes) *secureboot.Identity {
	key, keyErr := sign.OpenKey(b.Key)
	if keyErr != nil {
		wrong.add("secure_boot.key", "%w", keyErr)
	}
	text, err := os.ReadFile(b.Certificate)
	if err != nil {
		wrong.add("secure_boot.certificate", "%w", err)
		return nil
	}
	certificate, err := secureboot.ParseCertificate(text)
	if err != nil {
		wrong.add("secure_boot.certificate", "%s: %w", b.Certificate, err)
		return nil
	}
	if keyErr != nil {
		return nil
	}
	identity, err := secureboot.New(key, certificate, spec.Epoch)
	if err != nil {
		wrong.add("secure_boot", "%w", err)
		return nil
	}
	return &identity
}

// firmware reads the signature lists of the machines to predict.
func (b *SecureBootConfig) firmware(wrong *mistakes) []measure.Firmware {
	var machines []measure.Firmware
	for _, name := range slices.Sorted(maps.Keys(b.Firmware)) {
		f := measure.Firmware{Name: name, SecureBoot: true}
		found := false
		for variable, value := range map[string]*[]byte{"PK": &f.PK, "KEK": &f.KEK, "db": &f.DB, "dbx": &f.DBX} {
			content, err := os.ReadFile(filepath.Join(b.Firmware[name], variable+".esl"))
			switch {
			case err == nil:
				*value, found = content, true
			case !errors.Is(err, fs.ErrNotExist):
				wrong.add("secure_boot.firmware", "%s: %w", name, err)
			}
		}
		if !found {
			wrong.add("secure_boot.firmware", "%s: no PK.esl, KEK.esl, db.esl or dbx.esl in %s", name, b.Firmware[name])
			continue
		}
		machines = append(machines, f)
	}
	return machines
}
