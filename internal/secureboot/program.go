package secureboot

import (
	"crypto"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"

	"github.com/foxboron/go-uefi/authenticode"
)

// SignProgram writes an EFI program with the signature of i behind it. The same program gives the same bytes. A program that
// is signed already is refused: what a bake signs, it has made itself.
func (i Identity) SignProgram(w io.Writer, program io.ReaderAt) error {
	p, err := authenticode.Parse(program)
	if err != nil {
		return fmt.Errorf("cannot sign: it is no EFI program: %w", err)
	}
	if p.Datadir.Size != 0 {
		return errors.New("cannot sign: the program has a signature already")
	}
	content, err := authenticode.CreateSpcIndirectDataContent(p.Hash(crypto.SHA256), crypto.SHA256)
	if err != nil {
		return fmt.Errorf("cannot sign: %w", err)
	}
	signed, err := i.signedData(authenticode.OIDSpcIndirectDataContent, content)
	if err != nil {
		return fmt.Errorf("cannot sign: %w", err)
	}
	signature, err := contentInfo(signed)
	if err != nil {
		return fmt.Errorf("cannot sign: %w", err)
	}
	if err := p.AppendSignature(signature); err != nil {
		return fmt.Errorf("cannot sign: %w", err)
	}
	_, err = io.Copy(w, p.Open())
	return err
}

// Digest is the Authenticode digest of an EFI program: of all but its checksum and its signatures. Firmware compares it with
// the signature and measures it.
func Digest(program io.ReaderAt) ([sha256.Size]byte, error) {
	p, err := authenticode.Parse(program)
	if err != nil {
		return [sha256.Size]byte{}, fmt.Errorf("it is no EFI program: %w", err)
	}
	sum := p.Hash(crypto.SHA256)
	if len(sum) != sha256.Size {
		return [sha256.Size]byte{}, errors.New("the program ends before its sections do")
	}
	return [sha256.Size]byte(sum), nil
}
