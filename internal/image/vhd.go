package image

import (
	"encoding/binary"
	"encoding/hex"
	"errors"
	"fmt"
	"os"
	"time"
)

// The footer of a VHD, its last sector, in big endian: Virtual Hard Disk Image Format Specification 1.0.
const (
	vhdFooter    = 512
	vhdCookie    = "conectix"
	vhdTimestamp = 24 // seconds since vhdEpoch, 4 bytes
	vhdType      = 60 // 4 bytes
	vhdChecksum  = 64 // ones' complement of the sum of all other bytes, 4 bytes
	vhdUniqueID  = 68 // 16 bytes
	vhdTypeFixed = 2
)

var vhdEpoch = time.Date(2000, 1, 1, 0, 0, 0, 0, time.UTC)

// settleVHD replaces what qemu-img takes from the clock and at random: the time of creation and the unique
// id. With them each conversion of one disk would have a digest of its own.
func (c conversion) settleVHD(f *os.File) error {
	st, err := f.Stat()
	if err != nil {
		return err
	}
	at := st.Size() - vhdFooter
	footer := make([]byte, vhdFooter)
	if _, err := f.ReadAt(footer, at); err != nil {
		return fmt.Errorf("cannot read the footer: %w", err)
	}
	if err := c.settleFooter(footer); err != nil {
		return err
	}
	_, err = f.WriteAt(footer, at)
	return err
}

func (c conversion) settleFooter(footer []byte) error {
	if string(footer[:len(vhdCookie)]) != vhdCookie || binary.BigEndian.Uint32(footer[vhdType:]) != vhdTypeFixed {
		return errors.New("qemu-img wrote no fixed VHD")
	}
	id, err := hex.DecodeString(derive("vhd", []byte(c.rootHash))[:32])
	if err != nil {
		return err
	}
	copy(footer[vhdUniqueID:], id)
	// The format knows no time before 2000.
	binary.BigEndian.PutUint32(footer[vhdTimestamp:], uint32(max(0, c.epoch.Unix()-vhdEpoch.Unix())))
	binary.BigEndian.PutUint32(footer[vhdChecksum:], footerChecksum(footer))
	return nil
}

func footerChecksum(footer []byte) uint32 {
	var sum uint32
	for i, b := range footer {
		if i < vhdChecksum || i >= vhdChecksum+4 {
			sum += uint32(b)
		}
	}
	return ^sum
}
