package lab

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"unicode/utf16"

	"github.com/google/uuid"

	"github.com/strongroom/strongroom/internal/secureboot"
)

// SecureBoot is what the firmware of a machine that enforces Secure Boot knows: signature lists, as the enrolment bundle of an image has them
// (.esl). A machine starts what a key of DB has signed, and nothing else.
type SecureBoot struct {
	PK, KEK, DB, DBX []byte
}

// Firmware that can enforce Secure Boot keeps its variables behind system management mode, where the guest's kernel cannot write.
const firmwareCodeSecure = "/usr/share/OVMF/OVMF_CODE_4M.secboot.fd"

// Name spaces and attributes of the firmware's own variables.
const (
	globalSpace       = "8be4df61-93ca-11d2-aa0d-00e098032b8c"
	secureEnableSpace = "f0a30bc7-af08-4556-99c4-001009c93a44" // gEfiSecureBootEnableDisableGuid of EDK II
	nonVolatile       = 0x03                                   // and for boot services
	atRuntime         = 0x04
)

// firmwareState adds to an empty variable store what firmware would have written there: after an enrolment, and when somebody has made a
// boot entry with arguments.
func (c Config) firmwareState(empty []byte) ([]byte, error) {
	store, err := newVariableStore(empty)
	if err != nil {
		return nil, err
	}
	if s := c.SecureBoot; s != nil {
		for _, v := range []struct {
			secureboot.Variable
			value []byte
		}{{secureboot.DB, s.DB}, {secureboot.DBX, s.DBX}, {secureboot.KEK, s.KEK}, {secureboot.PK, s.PK}} {
			if len(v.value) > 0 {
				store.add(v.Name, v.Space, secureboot.Attributes, v.value)
			}
		}
		store.add("SecureBootEnable", secureEnableSpace, nonVolatile, []byte{1})
	}
	if c.LoaderArguments != "" {
		store.add("Boot0000", globalSpace, nonVolatile|atRuntime, bootEntry(c.LoaderArguments))
		store.add("BootOrder", globalSpace, nonVolatile|atRuntime, []byte{0, 0})
	}
	return store.bytes()
}

// diskSlot is where the first disk is on the PCI bus, for the boot entry to find it.
const diskSlot = 0x10

// bootEntry is an EFI_LOAD_OPTION: the fallback program of the first disk, with arguments.
func bootEntry(arguments string) []byte {
	const active = 1
	node := func(kind, sub byte, content []byte) []byte {
		return append(binary.LittleEndian.AppendUint16([]byte{kind, sub}, uint16(4+len(content))), content...)
	}
	path := bytes.Join([][]byte{
		node(2, 1, []byte{0xd0, 0x41, 0x03, 0x0a, 0, 0, 0, 0}), // PciRoot(0)
		node(1, 1, []byte{0, diskSlot}),
		node(4, 4, wide("\\EFI\\BOOT\\BOOTX64.EFI")),
		node(0x7f, 0xff, nil),
	}, nil)
	b := binary.LittleEndian.AppendUint32(nil, active)
	b = binary.LittleEndian.AppendUint16(b, uint16(len(path)))
	return bytes.Join([][]byte{b, wide("entry of a stranger"), path, wide(arguments)}, nil)
}

// wide is a text as UEFI has it, with the zero that ends it.
func wide(text string) []byte {
	var b []byte
	for _, unit := range utf16.Encode([]rune(text + "\x00")) {
		b = binary.LittleEndian.AppendUint16(b, unit)
	}
	return b
}

// variableStore is the flash in which OVMF keeps its variables: a firmware volume with one authenticated variable store
// (MdeModulePkg/Include/Guid/VariableFormat.h of EDK II).
type variableStore struct {
	flash []byte
	at    int // where the next variable goes
	end   int
}

// The identity of an authenticated variable store, gEfiAuthenticatedVariableGuid.
var variableStoreID = uuid.MustParse("aaf32c78-947b-439a-a180-2e144ec37792")

func newVariableStore(flash []byte) (*variableStore, error) {
	const headerLengthAt, storeHeader = 48, 28
	if len(flash) < 128 || string(flash[40:44]) != "_FVH" {
		return nil, errors.New("the variable store of the firmware is no firmware volume")
	}
	start := int(binary.LittleEndian.Uint16(flash[headerLengthAt:]))
	if start+storeHeader > len(flash) || !bytes.Equal(flash[start:start+16], guidBytes(variableStoreID)) {
		return nil, errors.New("the variable store of the firmware is not one for authenticated variables")
	}
	size := int(binary.LittleEndian.Uint32(flash[start+16:]))
	if size < storeHeader || start+size > len(flash) {
		return nil, errors.New("the variable store of the firmware is larger than its flash")
	}
	s := &variableStore{flash: bytes.Clone(flash), at: start + storeHeader, end: start + size}
	if !bytes.Equal(s.flash[s.at:s.at+2], []byte{0xff, 0xff}) {
		return nil, errors.New("the variable store of the firmware is not empty")
	}
	return s, nil
}

func (s *variableStore) add(name, space string, attributes uint32, value []byte) {
	const startID, stateAdded = 0x55aa, 0x3f
	text := wide(name)
	b := binary.LittleEndian.AppendUint16(nil, startID)
	b = append(b, stateAdded, 0)
	b = binary.LittleEndian.AppendUint32(b, attributes)
	b = append(b, make([]byte, 8+16)...) // count and time of the last write: any update is a later one
	b = binary.LittleEndian.AppendUint32(b, 0)
	b = binary.LittleEndian.AppendUint32(b, uint32(len(text)))
	b = binary.LittleEndian.AppendUint32(b, uint32(len(value)))
	b = append(b, guidBytes(uuid.MustParse(space))...)
	b = append(append(b, text...), value...)
	if s.at+len(b) <= s.end {
		copy(s.flash[s.at:], b)
	}
	s.at = (s.at + len(b) + 3) / 4 * 4
}

func (s *variableStore) bytes() ([]byte, error) {
	if s.at > s.end {
		return nil, fmt.Errorf("the keys need %d bytes more than the variable store of the firmware has", s.at-s.end)
	}
	return s.flash, nil
}

// guidBytes has a GUID's bytes as UEFI does: the first three groups are little-endian.
func guidBytes(u uuid.UUID) []byte {
	return []byte{u[3], u[2], u[1], u[0], u[5], u[4], u[7], u[6], u[8], u[9], u[10], u[11], u[12], u[13], u[14], u[15]}
}
