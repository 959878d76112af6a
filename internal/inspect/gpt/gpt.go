// Package gpt reads and verifies the partition table of a disk: both copies of it, each by its own checksums, and whether they
// agree. Libraries read one copy and fall back to the other, which hides what is to be found here.
package gpt

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"slices"
	"unicode/utf16"
)

// Partition is an entry of the table.
type Partition struct {
	Number     int
	Label      string
	Type       string // GUID, lower case
	UUID       string
	Start      int64 // bytes
	Size       int64 // bytes
	Attributes uint64
}

// Copy is one of the two tables.
type Copy struct {
	Name       string // "primary", "backup"
	At         int64  // where its header begins, bytes
	EntriesAt  int64
	EntriesLen int64
	Disk       string // GUID
	First      int64  // of the usable bytes
	End        int64  // first byte behind them
	Partitions []Partition
	other      uint64 // sector of the other header
	raw        []byte // entries
}

// Table is what was found. A copy that is broken is nil, and has an error.
type Table struct {
	Sector                 int64 // bytes of a logical sector
	Primary, Backup        *Copy
	PrimaryErr, BackupErr  error
	Protective, Protection error // what is wrong with the protective MBR; whether the copies agree with each other
}

// ErrNone says that a disk has no such table, nor what is left of one.
var ErrNone = errors.New("there is no GUID partition table")

var signature = []byte("EFI PART")

// Limits of what is believed: UEFI asks for 128 entries of 128 bytes, and takes more.
const (
	headerSize = 92
	maxEntries = 4096
	maxEntry   = 4096
)

var le = binary.LittleEndian

// Read reads both copies.
func Read(disk io.ReaderAt, size int64) (*Table, error) {
	for _, sector := range []int64{512, 4096} {
		if size < 3*sector {
			continue
		}
		t := &Table{Sector: sector}
		t.Primary, t.PrimaryErr = readCopy(disk, size, sector, "primary", 1)
		t.Backup, t.BackupErr = readCopy(disk, size, sector, "backup", uint64(size/sector-1))
		if errors.Is(t.PrimaryErr, ErrNone) && errors.Is(t.BackupErr, ErrNone) {
			continue
		}
		t.Protective = checkProtective(disk)
		t.Protection = t.agree()
		return t, nil
	}
	return nil, ErrNone
}

// Best is the copy to go by: the primary if it is sound.
func (t *Table) Best() *Copy {
	if t.Primary != nil {
		return t.Primary
	}
	return t.Backup
}

func readCopy(disk io.ReaderAt, size, sector int64, name string, lba uint64) (*Copy, error) {
	at := int64(lba) * sector
	h := make([]byte, sector)
	if _, err := disk.ReadAt(h, at); err != nil {
		return nil, fmt.Errorf("cannot read the header at byte %d: %w", at, err)
	}
	if !bytes.HasPrefix(h, signature) {
		return nil, fmt.Errorf("%w at byte %d", ErrNone, at)
	}
	length := le.Uint32(h[12:])
	if length < headerSize || int64(length) > sector {
		return nil, fmt.Errorf("the header at byte %d says that it has %d bytes", at, length)
	}
	body := bytes.Clone(h[:length])
	clear(body[16:20])
	if sum := crc32.ChecksumIEEE(body); sum != le.Uint32(h[16:]) {
		return nil, fmt.Errorf("the checksum of the header at byte %d is %08x, and its bytes have %08x", at, le.Uint32(h[16:]), sum)
	}
	if i := slices.IndexFunc(h[length:], func(b byte) bool { return b != 0 }); i >= 0 {
		return nil, fmt.Errorf("byte %d, behind the header, is not zero", at+int64(length)+int64(i))
	}
	if own := le.Uint64(h[24:]); own != lba {
		return nil, fmt.Errorf("the header at byte %d says that it is sector %d", at, own)
	}
	sectors := uint64(size / sector)
	first, last, entries := le.Uint64(h[40:]), le.Uint64(h[48:]), le.Uint64(h[72:])
	count, entry := le.Uint32(h[80:]), le.Uint32(h[84:])
	if count > maxEntries || entry < 128 || entry > maxEntry || entry%8 != 0 {
		return nil, fmt.Errorf("the header at byte %d says that there are %d entries of %d bytes", at, count, entry)
	}
	c := &Copy{
		Name: name, At: at, EntriesLen: int64(count) * int64(entry), Disk: guid(h[56:72]), other: le.Uint64(h[32:]),
	}
	if first > last || last >= sectors || entries >= sectors {
		return nil, fmt.Errorf("the header at byte %d says that sectors %d to %d may be used, and its entries begin at sector %d: the disk has %d (is it cut off?)", at, first, last, entries, sectors)
	}
	c.First, c.End, c.EntriesAt = int64(first)*sector, int64(last+1)*sector, int64(entries)*sector
	c.raw = make([]byte, c.EntriesLen)
	if _, err := disk.ReadAt(c.raw, c.EntriesAt); err != nil {
		return nil, fmt.Errorf("cannot read the entries at byte %d: %w", c.EntriesAt, err)
	}
	if sum := crc32.ChecksumIEEE(c.raw); sum != le.Uint32(h[88:]) {
		return nil, fmt.Errorf("the checksum of the entries at byte %d is %08x, and their bytes have %08x", c.EntriesAt, le.Uint32(h[88:]), sum)
	}
	return c, c.parse(int(entry), sector)
}

func (c *Copy) parse(entry int, sector int64) error {
	for i := 0; (i+1)*entry <= len(c.raw); i++ {
		e := c.raw[i*entry:][:entry]
		if allZero(e[:16]) {
			continue
		}
		first, last := le.Uint64(e[32:]), le.Uint64(e[40:])
		p := Partition{Number: i + 1, Type: guid(e[:16]), UUID: guid(e[16:32]), Attributes: le.Uint64(e[48:]), Label: label(e[56:128])}
		if first > last || first < uint64(c.First/sector) || last >= uint64(c.End/sector) {
			return fmt.Errorf("partition %d has sectors %d to %d, and %d to %d may be used", p.Number, first, last, c.First/sector, c.End/sector-1)
		}
		p.Start, p.Size = int64(first)*sector, int64(last-first+1)*sector
		for _, o := range c.Partitions {
			if p.Start < o.Start+o.Size && o.Start < p.Start+p.Size {
				return fmt.Errorf("partition %d overlaps partition %d", p.Number, o.Number)
			}
		}
		c.Partitions = append(c.Partitions, p)
	}
	return nil
}

// agree compares the copies.
func (t *Table) agree() error {
	p, b := t.Primary, t.Backup
	if p == nil || b == nil {
		return nil // said of the copy
	}
	switch {
	case !bytes.Equal(p.raw, b.raw):
		i := 0
		for i < len(p.raw) && i < len(b.raw) && p.raw[i] == b.raw[i] {
			i++
		}
		return fmt.Errorf("their entries differ: bytes %d and %d", p.EntriesAt+int64(i), b.EntriesAt+int64(i))
	case p.Disk != b.Disk:
		return fmt.Errorf("the disk is %s in one and %s in the other", p.Disk, b.Disk)
	case p.First != b.First || p.End != b.End:
		return errors.New("they do not agree on which sectors may be used")
	case p.other != uint64(b.At/t.Sector) || b.other != uint64(p.At/t.Sector):
		return fmt.Errorf("one says that the other is sector %d, and is sector %d in that", p.other, b.other)
	}
	return nil
}

// checkProtective looks at the table that keeps tools off which know no other: one partition of type ee from sector 1 on.
func checkProtective(disk io.ReaderAt) error {
	mbr := make([]byte, 512)
	if _, err := disk.ReadAt(mbr, 0); err != nil {
		return fmt.Errorf("cannot read the first sector: %w", err)
	}
	if mbr[510] != 0x55 || mbr[511] != 0xaa {
		return errors.New("the first sector has no signature")
	}
	e := mbr[446:462]
	switch {
	case e[4] != 0xee || le.Uint32(e[8:]) != 1:
		return fmt.Errorf("its first entry is of type %02x from sector %d on, want ee from 1", e[4], le.Uint32(e[8:]))
	case !allZero(mbr[462:510]):
		return errors.New("it has a second entry")
	}
	return nil
}

// MBRCode finds the first byte of the boot sector that is not zero and not of the protective entry.
func MBRCode(disk io.ReaderAt) (int64, bool) {
	mbr := make([]byte, 440)
	if _, err := disk.ReadAt(mbr, 0); err != nil {
		return 0, false
	}
	i := slices.IndexFunc(mbr, func(b byte) bool { return b != 0 })
	return int64(i), i >= 0
}

func allZero(b []byte) bool { return !slices.ContainsFunc(b, func(c byte) bool { return c != 0 }) }

// guid writes the mixed order of bytes that UEFI has.
func guid(b []byte) string {
	return fmt.Sprintf("%08x-%04x-%04x-%x-%x", le.Uint32(b), le.Uint16(b[4:]), le.Uint16(b[6:]), b[8:10], b[10:16])
}

func label(b []byte) string {
	var units []uint16
	for i := 0; i+1 < len(b); i += 2 {
		u := le.Uint16(b[i:])
		if u == 0 {
			break
		}
		units = append(units, u)
	}
	return string(utf16.Decode(units))
}
