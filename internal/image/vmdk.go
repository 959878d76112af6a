package image

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"os"
	"regexp"
	"slices"
)

// The header of a sparse VMDK extent, in little endian: VMware Virtual Disk Format 1.1.
const (
	vmdkMagic            = "KDMV"
	vmdkDescriptorOffset = 28 // sectors, 8 bytes
	vmdkDescriptorSize   = 36 // sectors, 8 bytes
)

// settleVMDK replaces the content id, which qemu-img draws at random, in the descriptor inside the file.
func (c conversion) settleVMDK(f *os.File) error {
	header := make([]byte, sector)
	if _, err := f.ReadAt(header, 0); err != nil {
		return fmt.Errorf("cannot read the header: %w", err)
	}
	at := binary.LittleEndian.Uint64(header[vmdkDescriptorOffset:])
	size := binary.LittleEndian.Uint64(header[vmdkDescriptorSize:])
	if string(header[:len(vmdkMagic)]) != vmdkMagic || at == 0 || at > mebibyte || size == 0 || size > mebibyte/sector {
		return errors.New("qemu-img wrote no VMDK with a descriptor inside")
	}
	descriptor := make([]byte, size*sector)
	if _, err := f.ReadAt(descriptor, int64(at*sector)); err != nil {
		return fmt.Errorf("cannot read the descriptor: %w", err)
	}
	settled, err := c.settleDescriptor(descriptor)
	if err != nil {
		return err
	}
	_, err = f.WriteAt(settled, int64(at*sector))
	return err
}

var contentID = regexp.MustCompile(`\nCID=[0-9a-f]{1,8}\n`)

// settleDescriptor returns the descriptor with our content id, in the same room. qemu-img writes as many digits as
// the number has, and leaves what was there behind the end of the text; we write all eight, and zeros.
func (c conversion) settleDescriptor(descriptor []byte) ([]byte, error) {
	text, _, _ := bytes.Cut(descriptor, []byte{0})
	at := contentID.FindIndex(text)
	if at == nil {
		return nil, errors.New("the descriptor names no content id")
	}
	// The leading 0 keeps off ffffffff and fffffffe, which mean "no parent" and "not known".
	id := "\nCID=0" + derive("vmdk", []byte(c.rootHash))[:7] + "\n"
	settled := slices.Concat(text[:at[0]], []byte(id), text[at[1]:])
	if len(settled) > len(descriptor) {
		return nil, errors.New("the descriptor has no room for a content id")
	}
	return append(settled, make([]byte, len(descriptor)-len(settled))...), nil
}
