package inspect

import (
	"bytes"
	"context"
	"crypto/sha256"
	"debug/pe"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"

	"github.com/strongroom/strongroom/internal/digest"
	"github.com/strongroom/strongroom/internal/distribution"
	"github.com/strongroom/strongroom/internal/measure"
	"github.com/strongroom/strongroom/internal/secureboot"
)

// kernel is a unified kernel image on its way into the inspection.
type kernel struct {
	Kernel
	file *io.SectionReader
	text map[string]string // of the small sections
}

// Sections whose content is kept, and how much of it there may be.
var textSections = []string{".osrel", ".cmdline", ".uname", ".pcrpkey", ".pcrsig"}

const maxText = 256 << 10

// kernel looks at one program.
func (in *inspector) kernel(name string, file *io.SectionReader) {
	k := &kernel{Kernel: Kernel{Path: name, Size: file.Size()}, file: file, text: map[string]string{}}
	if err := k.read(); err != nil {
		in.add("kernel", Fail, name, "%v", err)
		return
	}
	in.kernels = append(in.kernels, k)
	in.add("kernel", Pass, name, "a unified kernel image: Linux %s, %s", k.Release, k.Stub)
	in.signature(k)
	in.measurements(k)
	in.policies(k)
	for _, argument := range strings.Fields(k.CommandLine) {
		if hash, ok := strings.CutPrefix(argument, "roothash="); ok {
			in.said = append(in.said, Said{"the command line of " + name, strings.ToLower(hash)})
		}
	}
}

func (k *kernel) read() error {
	image, err := measure.ReadImage(k.file)
	if err != nil {
		return err
	}
	k.Stub, k.PCR11 = image.Stub, image.PCR11()
	sum, err := secureboot.Digest(k.file)
	if err != nil {
		return err
	}
	k.Authenticode = hex.EncodeToString(sum[:])
	if k.SHA256, err = sumOf(io.NewSectionReader(k.file, 0, k.file.Size())); err != nil {
		return err
	}
	p, err := pe.NewFile(k.file)
	if err != nil {
		return err
	}
	defer p.Close()
	for _, s := range p.Sections {
		// The file may pad a section; in memory it has its own size.
		size := min(int64(s.VirtualSize), int64(s.Size))
		h := sha256.New()
		if n, err := io.Copy(h, io.LimitReader(s.Open(), size)); err != nil || n != size {
			return fmt.Errorf("section %s begins at byte %d and is cut off", s.Name, s.Offset)
		}
		k.Sections = append(k.Sections, Section{s.Name, size, hex.EncodeToString(h.Sum(nil))})
		if slices.Contains(textSections, s.Name) && size <= maxText {
			b := make([]byte, size)
			if _, err := io.ReadFull(s.Open(), b); err != nil {
				return fmt.Errorf("section %s begins at byte %d and is cut off", s.Name, s.Offset)
			}
			k.text[s.Name] = string(bytes.TrimRight(b, "\x00"))
		}
	}
	k.Release, k.CommandLine = strings.TrimSpace(k.text[".uname"]), strings.TrimSpace(k.text[".cmdline"])
	return nil
}

// signature verifies who has signed the program, and that nothing has changed since.
func (in *inspector) signature(k *kernel) {
	signatures, err := secureboot.Signatures(k.file)
	switch {
	case errors.Is(err, secureboot.ErrUnsigned) && len(in.options.Certificates) > 0:
		in.add("kernel-signature", Fail, k.Path, "it is not signed, and a certificate was named")
		return
	case errors.Is(err, secureboot.ErrUnsigned):
		in.add("kernel-signature", Absent, k.Path, "it is not signed")
		return
	case err != nil:
		in.add("kernel-signature", Fail, k.Path, "%v", err)
		return
	}
	trusted := false
	for _, s := range signatures {
		intact := false
		for _, c := range s.Certificates() {
			if s.By(c) == nil {
				intact = true
				sum := sha256.Sum256(c.Raw)
				k.Signers = append(k.Signers, Signer{Subject: c.Subject.String(), SHA256: hex.EncodeToString(sum[:])})
			}
		}
		for _, c := range in.options.Certificates {
			if s.By(c) == nil {
				intact, trusted = true, true
				sum := sha256.Sum256(c.Raw)
				i := slices.IndexFunc(k.Signers, func(s Signer) bool { return s.SHA256 == hex.EncodeToString(sum[:]) })
				if i < 0 {
					k.Signers = append(k.Signers, Signer{Subject: c.Subject.String(), SHA256: hex.EncodeToString(sum[:])})
					i = len(k.Signers) - 1
				}
				k.Signers[i].Trusted = true
			}
		}
		if !intact {
			in.add("kernel-signature", Fail, k.Path, "the signature is not that of the certificate it carries")
			return
		}
	}
	var names []string
	for _, s := range k.Signers {
		names = append(names, s.Subject)
	}
	switch {
	case trusted:
		in.add("kernel-signature", Pass, k.Path, "signed by %s, whose certificate was named", strings.Join(names, " and "))
	case len(in.options.Certificates) > 0:
		in.add("kernel-signature", Fail, k.Path, "it is signed by %s, and by nobody whose certificate was named", strings.Join(names, " and "))
	default:
		in.add("kernel-signature", Unknown, k.Path, "the signature is whole, and says that it is by %s: nobody named a certificate to believe", strings.Join(names, " and ")).
			Hint = "name it with --certificate, or inspect the whole output directory, which has secure-boot/db.cer"
	}
}

// measurements compares the program with the statement of its bake.
func (in *inspector) measurements(k *kernel) {
	if in.options.Measurements == nil {
		if len(k.Signers) == 0 {
			in.add("kernel-measurements", Unknown, k.Path, "it is not signed, and no measurements of its bake were named: whether it is the one that was baked cannot be told").
				Hint = "name measurements.json with --measurements, or inspect the whole output directory"
		}
		return
	}
	i := slices.IndexFunc(in.options.Measurements.Kernels, func(m measure.Kernel) bool { return m.SHA256 == k.SHA256 })
	if i < 0 {
		in.add("kernel-measurements", Fail, k.Path, "its SHA-256 is %s, and the measurements know no such program: it is that of another image, or was changed", k.SHA256)
		return
	}
	m := in.options.Measurements.Kernels[i]
	if !slices.Equal(m.PCR11, k.PCR11) {
		in.add("kernel-measurements", Fail, k.Path, "its PCR 11 is not what the measurements say")
		return
	}
	in.add("kernel-measurements", Pass, k.Path, "it is the program %q of the measurements", m.Name)
}

func (in *inspector) policies(k *kernel) {
	key, policies := k.text[".pcrpkey"], k.text[".pcrsig"]
	if key == "" && policies == "" {
		in.add("kernel-policies", Absent, k.Path, "it carries no signed PCR policies")
		return
	}
	sum, err := measure.VerifyPolicies([]byte(key), []byte(policies), k.PCR11)
	if !sum.IsZero() {
		k.PolicyKey = sum.String()
	}
	in.judge("kernel-policies", k.Path, err, "each phase of PCR 11 has a policy that the key in .pcrpkey has signed")
}

// kernelsAgree compares each kernel with the root that it starts.
func (in *inspector) kernelsAgree() {
	for _, k := range in.kernels {
		in.Kernels = append(in.Kernels, k.Kernel)
		if in.tree == nil {
			continue
		}
		release, err := in.tree.Follow("usr/lib/os-release")
		if err != nil {
			continue
		}
		text, err := io.ReadAll(io.LimitReader(in.tree.Reader(release), maxText))
		switch {
		case err != nil:
			in.add("kernel-root", Fail, k.Path, "cannot compare it with the root: %v", err)
			continue
		case strings.TrimSpace(string(text)) != strings.TrimSpace(k.text[".osrel"]):
			in.add("kernel-root", Fail, k.Path, "it is of %s, and the root is %s", osName(k.text[".osrel"]), osName(string(text)))
			continue
		}
		if _, err := in.tree.Follow("usr/lib/modules/" + k.Release); k.Release == "" || err != nil {
			in.add("kernel-root", Fail, k.Path, "the root has no modules of Linux %s", k.Release)
			continue
		}
		in.add("kernel-root", Pass, k.Path, "it and the root are of %s, and the root has its modules", osName(string(text)))
	}
}

// osName names an image by its os-release.
func osName(text string) string {
	fields := distribution.ReadRelease(text)
	name := fields["IMAGE_ID"] + " " + fields["IMAGE_VERSION"]
	if strings.TrimSpace(name) == "" {
		name = fields["PRETTY_NAME"]
	}
	if strings.TrimSpace(name) == "" {
		name = "an unknown system"
	}
	return strings.TrimSpace(name)
}

// sumOf is the SHA-256 of a part of an image, which is small beside the whole.
func sumOf(r io.Reader) (string, error) {
	sum, _, err := digest.Of(context.Background(), r)
	return sum, err
}
