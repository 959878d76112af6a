package measure

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"slices"

	"github.com/strongroom/strongroom/internal/strictjson"
)

// Schema versions the statement.
const Schema = "strongroom.measurements/v1"

// FileName is the statement's name in the output directory of a bake.
const FileName = "measurements.json"

// Statement is what an image measures, as its bake calculated it.
type Statement struct {
	Schema   string   `json:"schema"`
	Image    string   `json:"image"`     // name of the image: IMAGE_ID of os-release
	Version  string   `json:"version"`   // IMAGE_VERSION
	RootHash string   `json:"root_hash"` // dm-verity
	Kernels  []Kernel `json:"kernels"`   // the unified kernel images, each with its own values
}

// Kernel is one unified kernel image.
type Kernel struct {
	Name         string `json:"name"`                   // how it is started: "disk", "netboot"
	Stub         string `json:"stub"`                   // what measures: "systemd-stub 257.13-1~deb13u1"
	SHA256       string `json:"sha256"`                 // of the file
	Authenticode Digest `json:"authenticode"`           // of the program, its signature left out: what firmware measures
	Certificate  Digest `json:"certificate,omitzero"`   // of the DER certificate that signed it; zero when it is not signed
	PolicyKey    Digest `json:"policy_key,omitzero"`    // of the DER public key (SubjectPublicKeyInfo) that signed the PCR policies in .pcrsig
	CommandLine  string `json:"command_line,omitempty"` // the built-in one

	// PCR11 has one value for each phase of the boot, in their order; see Phases.
	PCR11 []PhaseValue `json:"pcr11"`
	// PCR4 holds when firmware enforces Secure Boot and starts this program and nothing before it: from a disk's fallback
	// path or by UEFI HTTP boot. A loader in between, such as iPXE, is measured too and makes another value.
	PCR4 Digest `json:"pcr4"`
	// PCR4Open is that of firmware that starts anything: the boot stub then lets it load the kernel inside, and it measures
	// that too. Under Secure Boot the stub vouches for the kernel itself.
	PCR4Open Digest `json:"pcr4_secure_boot_off,omitzero"`
	// PCR12 is what a boot leaves there to which nobody has added anything: zeros. A command line of a loader, arguments by SMBIOS, addons
	// and credentials on the EFI system partition are measured there and nowhere else, so who trusts PCR 11 asks for this too.
	PCR12 Digest `json:"pcr12"`
	// Firmware has the values that depend on the machine, for each firmware that the bake was told of.
	Firmware []FirmwareValue `json:"firmware,omitempty"`
}

// PhaseValue is the value of PCR 11 from one phase of the boot to the next.
type PhaseValue struct {
	Phase  string `json:"phase"` // the words measured so far, joined by ':'; "" is what the boot stub leaves behind
	SHA256 Digest `json:"sha256"`
}

// FirmwareValue is what one machine's firmware adds.
type FirmwareValue struct {
	Name string `json:"name"`          // that the bake was given
	PCR7 Digest `json:"pcr7,omitzero"` // Secure Boot: its state, its keys, and the key that let this kernel run
}

// At is the value of PCR 11 in a phase.
func (k Kernel) At(phase string) (Digest, bool) {
	i := slices.IndexFunc(k.PCR11, func(v PhaseValue) bool { return v.Phase == phase })
	if i < 0 {
		return Digest{}, false
	}
	return k.PCR11[i].SHA256, true
}

// Kernel finds a kernel by its name.
func (s Statement) Kernel(name string) (Kernel, bool) {
	i := slices.IndexFunc(s.Kernels, func(k Kernel) bool { return k.Name == name })
	if i < 0 {
		return Kernel{}, false
	}
	return s.Kernels[i], true
}

// Marshal writes the statement; the same statement gives the same bytes.
func (s Statement) Marshal() ([]byte, error) {
	s.Schema = Schema
	text, err := json.MarshalIndent(s, "", "  ")
	if err != nil {
		return nil, err
	}
	return append(text, '\n'), nil
}

// Parse reads a statement.
func Parse(text []byte) (Statement, error) {
	var s Statement
	if err := strictjson.Document(text, &s); err != nil {
		return Statement{}, fmt.Errorf("cannot read the measurements: %w", err)
	}
	if s.Schema != Schema {
		return Statement{}, fmt.Errorf("cannot read the measurements: schema %q, want %q", s.Schema, Schema)
	}
	if len(s.Kernels) == 0 {
		return Statement{}, errors.New("cannot read the measurements: they name no kernel")
	}
	seen := map[string]bool{}
	for _, k := range s.Kernels {
		if k.Name == "" || seen[k.Name] {
			return Statement{}, fmt.Errorf("cannot read the measurements: kernel %q is there twice, or has no name", k.Name)
		}
		seen[k.Name] = true
		if len(k.PCR11) == 0 {
			return Statement{}, fmt.Errorf("cannot read the measurements: kernel %q has no value of PCR 11", k.Name)
		}
	}
	return s, nil
}

// Digest is a SHA-256. Its text is lower-case hex; the zero digest is that of nothing measured.
type Digest [sha256.Size]byte

func (d Digest) String() string { return hex.EncodeToString(d[:]) }

// IsZero tells whether nothing was measured.
func (d Digest) IsZero() bool { return d == Digest{} }

// MarshalText writes the digest in hex.
func (d Digest) MarshalText() ([]byte, error) { return []byte(d.String()), nil }

// UnmarshalText reads what MarshalText has written.
func (d *Digest) UnmarshalText(text []byte) error {
	if len(text) != 2*len(d) {
		return fmt.Errorf("%q is not a SHA-256 in hex", text)
	}
	if _, err := hex.Decode(d[:], text); err != nil {
		return fmt.Errorf("%q is not a SHA-256 in hex", text)
	}
	return nil
}
