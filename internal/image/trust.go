package image

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"maps"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"

	"github.com/strongroom/strongroom/internal/measure"
	"github.com/strongroom/strongroom/internal/secureboot"
)

// EnrolmentDir is the directory in the output with what makes a machine trust the key that signed the image.
const EnrolmentDir = "secure-boot"

// EnrolledFirmware names, in the measurements, a machine that trusts the enrolment bundle and nobody else.
const EnrolledFirmware = "enrolment-bundle"

// addPolicies adds the public key of the policies, and the policies. The image is made once without them to be measured: what
// the boot stub measures is the key, and not what it has signed.
func (a *Assembly) addPolicies(ctx context.Context, u uki, sections []section) ([]section, error) {
	key := a.spec.PolicyKey
	if key == nil {
		return sections, nil
	}
	public, err := key.PEM()
	if err != nil {
		return nil, err
	}
	const keyExt, policyExt = ".pcrpkey", ".pcrsig"
	if err := a.box.files.WriteFile(u.name+keyExt, public, 0o644); err != nil {
		return nil, err
	}
	sections = slices.Insert(sections, 0, section{name: keyExt, file: u.name + keyExt})
	if err := a.addSections(ctx, u.name, sections); err != nil {
		return nil, err
	}
	measured, err := a.readUKI(u.name)
	if err != nil {
		return nil, err
	}
	policies, err := key.Sign(measured.PCR11())
	if err != nil {
		return nil, err
	}
	if err := a.box.files.WriteFile(u.name+policyExt, policies, 0o644); err != nil {
		return nil, err
	}
	return slices.Insert(sections, 0, section{name: policyExt, file: u.name + policyExt}), nil
}

func (a *Assembly) readUKI(name string) (measure.Image, error) {
	f, err := a.box.files.Open(name)
	if err != nil {
		return measure.Image{}, err
	}
	defer f.Close()
	return measure.ReadImage(f)
}

// signUKI signs the program in its place.
func (a *Assembly) signUKI(u uki) error {
	if a.spec.SecureBoot == nil {
		return nil
	}
	in, err := a.box.files.Open(u.name)
	if err != nil {
		return err
	}
	defer in.Close()
	signed := u.name + ".signed"
	out, err := a.box.files.Create(signed)
	if err != nil {
		return err
	}
	if err := errors.Join(a.spec.SecureBoot.SignProgram(out, in), out.Close()); err != nil {
		return err
	}
	return a.box.files.Rename(signed, u.name)
}

// measuredName is how the measurements call a unified kernel image.
func (u uki) measuredName() string {
	if u.name == diskUKI {
		return "disk"
	}
	return strings.TrimSuffix(u.name, ".efi")
}

// measureUKI notes what a machine will measure of a finished unified kernel image.
func (a *Assembly) measureUKI(u uki) error {
	f, err := a.box.files.Open(u.name)
	if err != nil {
		return err
	}
	defer f.Close()
	read, err := measure.ReadImage(f)
	if err != nil {
		return err
	}
	digest, err := secureboot.Digest(f)
	if err != nil {
		return err
	}
	kernel, err := measure.Program(f, ".linux")
	if err != nil {
		return err
	}
	kernelDigest, err := secureboot.Digest(kernel)
	if err != nil {
		return fmt.Errorf("the kernel: %w", err)
	}
	whole := sha256.New()
	if _, err := io.Copy(whole, io.NewSectionReader(f, 0, 1<<62)); err != nil {
		return err
	}
	k := measure.Kernel{
		Name: u.measuredName(), Stub: read.Stub, SHA256: hex.EncodeToString(whole.Sum(nil)), Authenticode: digest, CommandLine: u.commandLine,
		PCR11: read.PCR11(), PCR4: measure.PCR4(digest), PCR4Open: measure.PCR4(digest, kernelDigest),
	}
	if a.spec.PolicyKey != nil {
		k.PolicyKey = a.spec.PolicyKey.Fingerprint()
	}
	if id := a.spec.SecureBoot; id != nil {
		k.Certificate = id.Fingerprint()
		for _, firmware := range append([]measure.Firmware{enrolled(id)}, a.spec.Firmware...) {
			authority, err := firmware.Authority(id.Certificate().Raw)
			if err != nil {
				return withHint(fmt.Errorf("firmware %s would not start the image: %w", firmware.Name, err), "enrol the certificate there, or take the machine out of the firmware of secure_boot")
			}
			k.Firmware = append(k.Firmware, measure.FirmwareValue{Name: firmware.Name, PCR7: firmware.PCR7(authority)})
		}
	}
	a.kernels = append(a.kernels, k)
	return nil
}

// enrolled is a machine that trusts id alone.
func enrolled(id *secureboot.Identity) measure.Firmware {
	list := id.SignatureList()
	return measure.Firmware{Name: EnrolledFirmware, SecureBoot: true, PK: list, KEK: list, DB: list}
}

// stageTrust writes the measurements, and the enrolment bundle of a signed image.
func (a *Assembly) stageTrust(dir string) ([]SideFile, error) {
	statement, err := measure.Statement{Image: a.spec.Name, Version: a.spec.Version, RootHash: a.result.RootHash, Kernels: a.kernels}.Marshal()
	if err != nil {
		return nil, err
	}
	files := map[string][]byte{measure.FileName: statement}
	if a.spec.SecureBoot != nil {
		bundle, err := a.spec.SecureBoot.Bundle(a.spec.Epoch)
		if err != nil {
			return nil, err
		}
		if err := os.Mkdir(filepath.Join(dir, EnrolmentDir), 0o755); err != nil {
			return nil, err
		}
		for name, content := range bundle {
			files[path.Join(EnrolmentDir, name)] = content
		}
	}
	return writeBeside(dir, files)
}

// writeBeside writes files beside the disks, each under its name, which is relative to dir.
func writeBeside(dir string, files map[string][]byte) ([]SideFile, error) {
	var written []SideFile
	for _, name := range slices.Sorted(maps.Keys(files)) {
		if err := os.WriteFile(filepath.Join(dir, filepath.FromSlash(name)), files[name], 0o644); err != nil {
			return nil, err
		}
		sum := sha256.Sum256(files[name])
		written = append(written, SideFile{Name: name, Size: int64(len(files[name])), SHA256: hex.EncodeToString(sum[:])})
	}
	return written, nil
}
