package measure

import (
	"bytes"
	"crypto/sha256"
	"debug/pe"
	"errors"
	"fmt"
	"io"
	"regexp"
	"slices"
	"strconv"
)

// Image is a unified kernel image, as far as it is measured.
type Image struct {
	Stub     string    // "systemd-stub 257.13-1~deb13u1"
	Sections []Section // what the stub measures, in its order
}

// Section is one section that the boot stub measures into PCR 11.
type Section struct {
	Name   string
	Size   int64
	SHA256 Digest
}

// measured are the sections that systemd-stub measures, in its order (unified_sections[] in src/fundamental), and the version
// that began to. It goes by the order of the list and not of the file. The signature of the policy (.pcrsig) is in the
// list of the stub but not measured: it covers the result.
var measured = []struct {
	name  string
	since int
}{
	{".linux", 252}, {".osrel", 252}, {".cmdline", 252}, {".initrd", 252}, {".ucode", 256}, {".splash", 252}, {".dtb", 252},
	{".uname", 254}, {".sbat", 255}, {".pcrpkey", 252}, {".profile", 257}, {".dtbauto", 257}, {".hwids", 257},
}

// newestStub is the last version whose list was looked up: a newer one may measure more.
const newestStub = 257

var stubPattern = regexp.MustCompile(`#### LoaderInfo: (systemd-stub (\d{3})[^ #]*) ####`)

// ReadImage reads a unified kernel image.
func ReadImage(r io.ReaderAt) (Image, error) {
	f, err := pe.NewFile(r)
	if err != nil {
		return Image{}, fmt.Errorf("cannot read the unified kernel image: %w", err)
	}
	defer f.Close()
	byName := map[string]*pe.Section{}
	for _, s := range f.Sections {
		if _, twice := byName[s.Name]; twice {
			return Image{}, fmt.Errorf("cannot read the unified kernel image: section %s is there twice", s.Name)
		}
		byName[s.Name] = s
	}
	stub, version, err := readVersion(byName[".sdmagic"])
	if err != nil {
		return Image{}, fmt.Errorf("cannot read the unified kernel image: %w", err)
	}
	image := Image{Stub: stub}
	for _, m := range measured {
		s := byName[m.name]
		if s == nil || version < m.since {
			continue
		}
		digest, err := sum(s)
		if err != nil {
			return Image{}, fmt.Errorf("cannot read section %s: %w", m.name, err)
		}
		image.Sections = append(image.Sections, Section{Name: m.name, Size: int64(s.VirtualSize), SHA256: digest})
	}
	if !slices.ContainsFunc(image.Sections, func(s Section) bool { return s.Name == ".linux" }) {
		return Image{}, errors.New("cannot read the unified kernel image: it has no section .linux")
	}
	return image, nil
}

// readVersion finds the stub's version in the text that systemd puts there to be found.
func readVersion(s *pe.Section) (stub string, version int, err error) {
	if s == nil {
		return "", 0, errors.New("it has no section .sdmagic, so it is not systemd's boot stub")
	}
	if s.Size > 4096 {
		return "", 0, fmt.Errorf("section .sdmagic has %d bytes", s.Size)
	}
	text, err := s.Data()
	if err != nil {
		return "", 0, err
	}
	m := stubPattern.FindSubmatch(bytes.Trim(text, "\x00"))
	if m == nil {
		return "", 0, fmt.Errorf("section .sdmagic does not tell the version of systemd-stub: %q", bytes.Trim(text, "\x00"))
	}
	if version, err = strconv.Atoi(string(m[2])); err != nil {
		return "", 0, err
	}
	if version < measured[0].since || version > newestStub {
		return "", 0, fmt.Errorf("it is not known what systemd-stub %d measures (known: %d to %d)", version, measured[0].since, newestStub)
	}
	return string(m[1]), version, nil
}

// sum hashes what of a section is in memory: without the padding of the file.
func sum(s *pe.Section) (Digest, error) {
	h := sha256.New()
	n, err := io.Copy(h, io.LimitReader(s.Open(), int64(s.VirtualSize)))
	if err != nil {
		return Digest{}, err
	}
	if n != int64(s.VirtualSize) {
		return Digest{}, fmt.Errorf("it has %d bytes in the file and %d in memory", n, s.VirtualSize)
	}
	return Digest(h.Sum(nil)), nil
}

// Program opens a section that is an EFI program of its own: the kernel, ".linux".
func Program(r io.ReaderAt, name string) (*io.SectionReader, error) {
	f, err := pe.NewFile(r)
	if err != nil {
		return nil, fmt.Errorf("cannot read the unified kernel image: %w", err)
	}
	defer f.Close()
	s := f.Section(name)
	if s == nil || s.VirtualSize > s.Size {
		return nil, fmt.Errorf("cannot read the unified kernel image: it has no whole section %s", name)
	}
	return io.NewSectionReader(r, int64(s.Offset), int64(s.VirtualSize)), nil
}

// PCR11 calculates PCR 11: the stub measures the name of each section, with the zero that ends it, and then its content. After
// it, each phase of the boot measures its word.
func (i Image) PCR11() []PhaseValue {
	var p PCR
	for _, s := range i.Sections {
		p = extendData(p, append([]byte(s.Name), 0))
		p = extend(p, s.SHA256)
	}
	return phaseValues(p)
}
