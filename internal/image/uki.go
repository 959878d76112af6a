package image

import (
	"context"
	"debug/pe"
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
	"strings"
)

// UnifiedKernel makes the unified kernel image of the disk.
func (a *Assembly) UnifiedKernel(ctx context.Context) error {
	return a.step(ctx, stepUnifiedKernel, stepInitrd, func(ctx context.Context) error {
		a.result.CommandLine = commandLine(a.result.RootHash, a.kernel.commandLine)
		if err := a.makeUKI(ctx, uki{name: diskUKI, commandLine: a.result.CommandLine, initrd: []string{initrdFile}}); err != nil {
			return fmt.Errorf("cannot make the unified kernel image: %w", err)
		}
		return nil
	})
}

// Files of the work directory.
const (
	initrdFile = "initrd.img"
	kernelFile = "vmlinuz"
	diskUKI    = "linux.efi"
)

// uki is one unified kernel image of a bake. What the images of one bake differ in is all here.
type uki struct {
	name        string   // of the file in the work directory; files beside it start with this name
	commandLine string   // of the kernel
	initrd      []string // files of the work directory, each an archive of its own; a later one adds to the earlier ones
}

// makeUKI joins boot stub, os-release, command line, initrd and kernel in one EFI program.
func (a *Assembly) makeUKI(ctx context.Context, u uki) error {
	initrd, err := a.joinInitrd(ctx, u)
	if err != nil {
		return err
	}
	// The kernel comes last: it unpacks itself to the memory behind it.
	sections := []section{
		{name: ".osrel", file: u.name + ".osrel"}, {name: ".cmdline", file: u.name + ".cmdline"}, {name: ".uname", file: u.name + ".uname"},
		{name: ".initrd", file: initrd}, {name: ".linux", file: kernelFile},
	}
	for name, text := range map[string]string{".osrel": a.kernel.osRelease, ".cmdline": u.commandLine, ".uname": a.kernel.release} {
		if err := a.box.files.WriteFile(u.name+name, []byte(text), 0o644); err != nil {
			return err
		}
	}
	if sections, err = a.addPolicies(ctx, u, sections); err != nil {
		return err
	}
	if err := a.addSections(ctx, u.name, sections); err != nil {
		return err
	}
	if err := a.signUKI(u); err != nil {
		return err
	}
	return a.measureUKI(u)
}

// addSections writes the boot stub with the sections, whose files are in the work directory.
func (a *Assembly) addSections(ctx context.Context, name string, sections []section) error {
	stub, err := a.box.files.Open("stub.efi")
	if err != nil {
		return err
	}
	defer stub.Close()
	layout, err := readStub(stub)
	if err != nil {
		return fmt.Errorf("the boot stub of systemd is not usable: %w", err)
	}
	sections = slices.Clone(sections)
	for i := range sections {
		s := &sections[i]
		st, err := a.box.files.Stat(s.file)
		if err != nil {
			return err
		}
		s.size, s.file = st.Size(), a.box.path(s.file)
	}
	return a.box.run(a.box.command(ctx, objcopyArgs(layout.place(sections), a.box.path("stub.efi"), a.box.path(name))...))
}

// joinInitrd names the file with all archives of a unified kernel image's initrd.
func (a *Assembly) joinInitrd(ctx context.Context, u uki) (string, error) {
	if len(u.initrd) == 1 {
		return u.initrd[0], nil
	}
	name := u.name + ".initrd"
	out, err := a.box.files.Create(name)
	if err != nil {
		return "", err
	}
	defer out.Close()
	for _, part := range u.initrd {
		if err := ctx.Err(); err != nil {
			return "", err
		}
		if err := appendArchive(out, a.box.files, part); err != nil {
			return "", err
		}
	}
	return name, out.Close()
}

// appendArchive copies an archive behind another, at a multiple of four bytes: elsewhere the kernel does not know
// an uncompressed one.
func appendArchive(out io.Writer, files *os.Root, name string) error {
	in, err := files.Open(name)
	if err != nil {
		return err
	}
	defer in.Close()
	n, err := io.Copy(out, in)
	if err != nil {
		return err
	}
	_, err = out.Write(make([]byte, alignUp(n, 4)-n))
	return err
}

// commandLine is the kernel's: where the root is, and the pieces of the tree.
func commandLine(rootHash string, pieces []string) string {
	return strings.Join(append([]string{
		"roothash=" + rootHash, "root=/dev/mapper/root", "ro", "rootfstype=squashfs",
		"systemd.verity_root_options=panic-on-corruption",
		"systemd.gpt_auto=no", // the disk's partitions are mounted by the units of the image, not by what a disk offers
	}, pieces...), " ")
}

// section is a section to add to the stub.
type section struct {
	name string
	file string
	size int64
	vma  int64
}

// stubLayout is what placing sections needs of the stub.
type stubLayout struct {
	imageBase int64
	end       int64 // first address behind the stub's own sections, relative to the image base
	alignment int64
}

// readStub reads the layout and refuses a stub that cannot take the sections.
func readStub(r io.ReaderAt) (stubLayout, error) {
	f, err := pe.NewFile(r)
	if err != nil {
		return stubLayout{}, err
	}
	defer f.Close()
	h, ok := f.OptionalHeader.(*pe.OptionalHeader64)
	if !ok || f.Machine != pe.IMAGE_FILE_MACHINE_AMD64 {
		return stubLayout{}, errors.New("it is no x86-64 EFI program")
	}
	l := stubLayout{imageBase: int64(h.ImageBase), alignment: max(int64(h.SectionAlignment), 4096)}
	for _, s := range f.Sections {
		switch s.Name {
		case ".linux", ".initrd", ".cmdline", ".osrel", ".uname", ".pcrpkey", ".pcrsig":
			return stubLayout{}, fmt.Errorf("it has a section %s already", s.Name)
		}
		l.end = max(l.end, int64(s.VirtualAddress)+int64(s.VirtualSize))
	}
	return l, nil
}

// place gives each section the next free address.
func (l stubLayout) place(sections []section) []section {
	next := alignUp(l.end, l.alignment)
	out := make([]section, len(sections))
	for i, s := range sections {
		s.vma = l.imageBase + next
		next = alignUp(next+s.size, l.alignment)
		out[i] = s
	}
	return out
}

// objcopyArgs is the argv that adds placed sections to the stub. Without preserved dates the PE header tells
// the time of the bake.
func objcopyArgs(sections []section, stub, out string) []string {
	args := []string{"objcopy", "--preserve-dates"}
	for _, s := range sections {
		args = append(args, "--add-section", s.name+"="+s.file, "--change-section-vma", fmt.Sprintf("%s=%#x", s.name, s.vma))
	}
	return append(args, stub, out)
}
