// Package measuretest makes EFI programs for tests: programs that nothing can run, with the sections that a test asks for.
package measuretest

import (
	"bytes"
	"debug/pe"
	"encoding/binary"
)

// Section is a section of a program.
type Section struct {
	Name string
	Data []byte
}

// Stub is the section by which the boot stub of systemd tells its version.
func Stub(version string) Section {
	return Section{".sdmagic", []byte("#### LoaderInfo: systemd-stub " + version + " ####\x00")}
}

const fileAlignment, sectionAlignment = 512, 4096

// Program makes an x86-64 EFI program.
func Program(sections ...Section) []byte {
	const dos, headers = 64, 1024
	var b bytes.Buffer
	b.WriteString("MZ")
	b.Write(make([]byte, dos-2-4))
	put := func(v any) { binary.Write(&b, binary.LittleEndian, v) } // a bytes.Buffer takes everything
	put(uint32(dos))
	b.WriteString("PE\x00\x00")
	put(pe.FileHeader{Machine: pe.IMAGE_FILE_MACHINE_AMD64, NumberOfSections: uint16(len(sections)), SizeOfOptionalHeader: 240, Characteristics: 0x222})
	put(pe.OptionalHeader64{
		Magic: 0x20b, ImageBase: 0, SectionAlignment: sectionAlignment, FileAlignment: fileAlignment, SizeOfHeaders: headers,
		Subsystem: pe.IMAGE_SUBSYSTEM_EFI_APPLICATION, NumberOfRvaAndSizes: 16,
	})
	at, memory := uint32(headers), uint32(sectionAlignment)
	for _, s := range sections {
		h := pe.SectionHeader32{VirtualSize: uint32(len(s.Data)), VirtualAddress: memory, SizeOfRawData: align(len(s.Data), fileAlignment), PointerToRawData: at}
		copy(h.Name[:], s.Name)
		put(h)
		at, memory = at+h.SizeOfRawData, memory+align(len(s.Data), sectionAlignment)
	}
	b.Write(make([]byte, headers-b.Len()))
	for _, s := range sections {
		b.Write(s.Data)
		b.Write(make([]byte, int(align(len(s.Data), fileAlignment))-len(s.Data)))
	}
	return b.Bytes()
}

func align(n, to int) uint32 { return uint32((n + to - 1) / to * to) }
