package measure

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"unicode/utf16"

	"github.com/google/uuid"
)

// Firmware is what of a machine's firmware decides PCR 7: whether it enforces Secure Boot, and with which keys. The variables
// are as the firmware holds them: signature lists, without the four bytes that Linux puts before them in efivarfs.
type Firmware struct {
	Name       string
	SecureBoot bool
	PK         []byte
	KEK        []byte
	DB         []byte
	DBX        []byte
}

// Events of firmware, as the TCG PC Client Platform Firmware Profile fixes them.
const (
	callingBootOption = "Calling EFI Application from Boot Option"
	separator         = "\x00\x00\x00\x00"
)

// PCR4 is what firmware measures when it starts programs one after the other: by their Authenticode digests, in order.
func PCR4(programs ...Digest) PCR {
	p := extendData(PCR{}, []byte(callingBootOption))
	p = extendData(p, []byte(separator))
	for _, program := range programs {
		p = extend(p, program)
	}
	return p
}

// Name spaces of the variables.
var (
	globalSpace   = uuid.MustParse("8be4df61-93ca-11d2-aa0d-00e098032b8c")
	securitySpace = uuid.MustParse("d719b2cb-3d3a-4596-a3bc-dad00e67656f")
)

// PCR7 is what firmware measures of its Secure Boot policy, and of the entry of db that let a program run. authority is that entry
// (an EFI_SIGNATURE_DATA: owner and certificate); without one nothing was authorised, as when Secure Boot is off.
func (f Firmware) PCR7(authority []byte) PCR {
	state := []byte{0}
	if f.SecureBoot {
		state = []byte{1}
	}
	var p PCR
	for _, v := range []struct {
		space uuid.UUID
		name  string
		value []byte
	}{{globalSpace, "SecureBoot", state}, {globalSpace, "PK", f.PK}, {globalSpace, "KEK", f.KEK}, {securitySpace, "db", f.DB}, {securitySpace, "dbx", f.DBX}} {
		p = extendData(p, variableEvent(v.space, v.name, v.value))
	}
	p = extendData(p, []byte(separator))
	if authority != nil {
		p = extendData(p, variableEvent(securitySpace, "db", authority))
	}
	return p
}

// variableEvent is a UEFI_VARIABLE_DATA.
func variableEvent(space uuid.UUID, name string, value []byte) []byte {
	units := utf16.Encode([]rune(name))
	b := guid(space)
	b = binary.LittleEndian.AppendUint64(b, uint64(len(units)))
	b = binary.LittleEndian.AppendUint64(b, uint64(len(value)))
	for _, u := range units {
		b = binary.LittleEndian.AppendUint16(b, u)
	}
	return append(b, value...)
}

// guid has a GUID's bytes as UEFI does: the first three groups are little-endian.
func guid(u uuid.UUID) []byte {
	return []byte{u[3], u[2], u[1], u[0], u[5], u[4], u[7], u[6], u[8], u[9], u[10], u[11], u[12], u[13], u[14], u[15]}
}

// x509List is the type of a signature list with certificates.
var x509List = uuid.MustParse("a5c059a1-94e4-4aa7-87b5-ab155c2bf072")

// Authority finds the entry of db that lets a program run that this certificate (DER) has signed. A certificate that only was issued by one of
// db lets it run too, on most firmware; that is not looked for.
func (f Firmware) Authority(certificate []byte) ([]byte, error) {
	const listHeader, owner = 28, 16
	for rest := f.DB; len(rest) > 0; {
		if len(rest) < listHeader {
			return nil, fmt.Errorf("db of %s ends within a signature list", f.Name)
		}
		size, header, entry := binary.LittleEndian.Uint32(rest[16:]), binary.LittleEndian.Uint32(rest[20:]), binary.LittleEndian.Uint32(rest[24:])
		if uint64(size) > uint64(len(rest)) || uint64(header) > uint64(size)-listHeader || size < listHeader || entry <= owner {
			return nil, fmt.Errorf("db of %s has a signature list that is longer than the variable", f.Name)
		}
		entries := rest[listHeader+header : size]
		for ; len(entries) >= int(entry); entries = entries[entry:] {
			if bytes.Equal(rest[:16], guid(x509List)) && bytes.Equal(entries[owner:entry], certificate) {
				return bytes.Clone(entries[:entry]), nil
			}
		}
		rest = rest[size:]
	}
	return nil, fmt.Errorf("db of %s has no entry with the certificate that signs the image", f.Name)
}
