package image

import (
	"crypto/sha256"
	"debug/elf"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"os"
	"path"
	"strings"
)

// InspectBinaries hashes the binaries and refuses what cannot run in the image, before any
// long step.
func InspectBinaries(binaries []Binary) ([]InstalledBinary, error) {
	var out []InstalledBinary
	var errs []error
	for _, b := range binaries {
		i, err := inspectBinary(b)
		errs = append(errs, err)
		out = append(out, i)
	}
	return out, errors.Join(errs...)
}

func inspectBinary(b Binary) (InstalledBinary, error) {
	f, err := os.Open(b.Source)
	if err != nil {
		return InstalledBinary{}, fmt.Errorf("cannot read the binary for %s: %w", b.Path, err)
	}
	defer f.Close()
	sum := sha256.New()
	size, err := io.Copy(sum, f)
	if err != nil {
		return InstalledBinary{}, fmt.Errorf("cannot read the binary for %s: %w", b.Path, err)
	}
	got := hex.EncodeToString(sum.Sum(nil))
	if want := strings.ToLower(b.SHA256); want != "" && want != got {
		return InstalledBinary{}, withHint(fmt.Errorf("%s has SHA-256 %s, want %s", b.Source, got, want),
			"fetch the file again, or correct the checksum if the file is the one you mean")
	}
	if _, err := interpreter(f); err != nil {
		return InstalledBinary{}, withHint(fmt.Errorf("%s cannot run in the image: %w", b.Source, err), "build it with GOOS=linux GOARCH=amd64")
	}
	return InstalledBinary{Path: b.Path, Size: size, SHA256: got}, nil
}

// Interpreter is the dynamic loader that a program on this machine asks for, "" for a static one.
func Interpreter(source string) (string, error) {
	f, err := os.Open(source)
	if err != nil {
		return "", err
	}
	defer f.Close()
	return interpreter(f)
}

// interpreter is the dynamic loader that an x86-64 program asks for, "" for a static one.
func interpreter(r io.ReaderAt) (string, error) {
	e, err := elf.NewFile(r)
	if err != nil {
		return "", fmt.Errorf("not an ELF program: %w", err)
	}
	if e.Class != elf.ELFCLASS64 || e.Machine != elf.EM_X86_64 {
		return "", fmt.Errorf("it is for %s, the image is for EM_X86_64", e.Machine)
	}
	if e.Type != elf.ET_EXEC && e.Type != elf.ET_DYN {
		return "", fmt.Errorf("it is an ELF file of type %s, not a program", e.Type)
	}
	for _, p := range e.Progs {
		if p.Type != elf.PT_INTERP {
			continue
		}
		b, err := io.ReadAll(io.LimitReader(p.Open(), 4096))
		if err != nil {
			return "", fmt.Errorf("cannot read its interpreter: %w", err)
		}
		loader := strings.TrimRight(string(b), "\x00")
		if !path.IsAbs(loader) {
			return "", fmt.Errorf("its interpreter %q is not an absolute path", loader)
		}
		return loader, nil
	}
	return "", nil
}
