package image

import (
	"archive/tar"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path"
	"slices"

	"github.com/strongroom/strongroom/internal/sbom"
)

// bootChain are packages of which nothing is left in the root, and something in the unified kernel image: the boot stub, and
// scripts of the initrd.
var bootChain = []string{"dracut-core", "systemd-boot-efi"}

// writeBill makes the bill of materials and puts it into the tree, while the documentation of the packages is there.
func (a *Assembly) writeBill(ctx context.Context) error {
	bill := sbom.Bill{Name: a.spec.Name, Version: a.spec.Version, Distribution: a.spec.Distribution, Created: a.spec.Epoch}
	licenses, err := a.readLicenses(ctx)
	if err != nil {
		return err
	}
	for _, p := range a.result.Packages {
		bill.Packages = append(bill.Packages, sbom.Package{
			Name: p.Name, Version: p.Version, Architecture: p.Architecture, Source: p.Source, SourceVersion: p.SourceVersion,
			License: licenses[p.Source], Tool: p.Sealed && !slices.Contains(bootChain, p.Name),
		})
	}
	for i, b := range a.spec.Binaries {
		program, err := readProgram(b.Source, a.result.Binaries[i])
		if err != nil {
			return err
		}
		bill.Programs = append(bill.Programs, program)
	}
	if a.bill, err = bill.Documents(); err != nil {
		return err
	}
	for name, text := range a.bill {
		if err := a.Upload(ctx, path.Join(sbom.Dir, name), 0o644, bytes.NewReader(text)); err != nil {
			return err
		}
	}
	return nil
}

func readProgram(source string, installed InstalledBinary) (sbom.Program, error) {
	f, err := os.Open(source)
	if err != nil {
		return sbom.Program{}, err
	}
	defer f.Close()
	return sbom.ReadProgram(f, installed.Path, installed.SHA256), nil
}

// maxCopyright is more than any copyright file has.
const maxCopyright = 4 << 20

// readLicenses reads what packages say of their licences, by source package: a binary package may have a link in the place of the
// file, and another one of the same source has it.
func (a *Assembly) readLicenses(ctx context.Context) (map[string]*sbom.License, error) {
	sources := map[string]string{}
	for _, p := range a.result.Packages {
		sources[p.Name] = p.Source
	}
	var archive bytes.Buffer
	if err := a.DownloadTar(ctx, documentation, &archive); err != nil {
		return nil, err
	}
	licenses := map[string]*sbom.License{}
	for r := tar.NewReader(&archive); ; {
		h, err := r.Next()
		if errors.Is(err, io.EOF) {
			return licenses, nil
		}
		if err != nil {
			return nil, err
		}
		dir, file := path.Split(path.Clean(h.Name))
		source := sources[path.Clean(dir)]
		if h.Typeflag != tar.TypeReg || file != "copyright" || source == "" || licenses[source] != nil {
			continue
		}
		text, err := io.ReadAll(io.LimitReader(r, maxCopyright))
		if err != nil {
			return nil, fmt.Errorf("the copyright file of %s: %w", dir, err)
		}
		licenses[source] = sbom.ReadCopyright(source, text)
	}
}
