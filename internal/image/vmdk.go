package image

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"os"
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
	if err := c.settleDescriptor(descriptor); err != nil {
		return err
	}
	_, err := f.WriteAt(descriptor, int64(at*sector))
	return err
}

func (c conversion) settleDescriptor(descriptor []byte) error {
	const key, digits = "\nCID=", 8
	i := bytes.Index(descriptor, []byte(key))
	if i < 0 || len(descriptor) <= i+len(key)+digits || descriptor[i+len(key)+digits] != '\n' {
		return errors.New("the descriptor names no content id")
	}
	// The leading 0 keeps off ffffffff and fffffffe, which mean "no parent" and "not known".
	copy(descriptor[i+len(key):], "0"+derive("vmdk", []byte(c.rootHash))[:digits-1])
	return nil
}
