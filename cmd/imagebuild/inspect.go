package main

import (
	"bytes"
	"crypto/x509"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"os"
	"runtime/debug"
	"strings"

	"github.com/foxboron/go-uefi/efi/signature"
	"github.com/spf13/cobra"

	"github.com/strongroom/strongroom/internal/atomicfile"
	"github.com/strongroom/strongroom/internal/inspect"
	"github.com/strongroom/strongroom/internal/leaks"
	"github.com/strongroom/strongroom/internal/measure"
	"github.com/strongroom/strongroom/internal/secureboot"
)

// exitUnknown is hostcheck's: nothing failed, but of something nothing could be said.
const exitUnknown = 2

// verdictError ends the program with an exit code of its own; what it says is on standard output already.
type verdictError struct {
	code int
	error
}

type inspectFlags struct {
	format, output         string
	certificates           []string
	allowedLeaks           []string
	rootHash, measurements string
}

func newInspectCommand() *cobra.Command {
	var f inspectFlags
	c := &cobra.Command{
		Use:   "inspect IMAGE",
		Short: "Look into an image and verify it, without root, mount or boot",
		Long: `inspect reads an image and says what is in it, and whether it holds together: both copies of the partition table, the file
system that the firmware starts from, the unified kernel image with its signature, the whole hash tree of the root, and the root
against the baseline that it carries (hostcheck's stage image). Nothing is mounted, started or written.

IMAGE is a disk (raw, qcow2, vmdk, fixed vhd, raw.tar.gz), a unified kernel image, a netboot bundle, or the output directory of a
bake, whose files are then compared with its manifest. A disk that somebody else has made is looked at too: what cannot be told is
said to be unknown.

The exit status is 0 when everything holds, 1 when something does not, 2 when of something nothing could be said, 64 on wrong use.`,
		Example: `  imagebuild inspect out/image
  imagebuild inspect out/image/disk.qcow2 --certificate out/image/secure-boot/db.cer
  imagebuild inspect --format json disk.raw | jq '.checks[] | select(.verdict != "pass")'`,
		Args: func(c *cobra.Command, args []string) error {
			if len(args) != 1 {
				return &usageError{c.CommandPath(), fmt.Errorf("want one image, got %d", len(args))}
			}
			return nil
		},
		RunE: func(c *cobra.Command, args []string) error {
			options, err := f.options()
			if err != nil {
				return &usageError{c.CommandPath(), err}
			}
			// The rules of the leak scan and the program itself take half of the 100 MiB that an inspection may have; the collector keeps
			// the rest small, for a twentieth of the time.
			debug.SetGCPercent(25)
			i, err := inspect.Inspect(c.Context(), args[0], options)
			if err != nil {
				return &verdictError{exitUnknown, fmt.Errorf("cannot inspect: %w", err)}
			}
			if err := f.write(c.OutOrStdout(), i); err != nil {
				return err
			}
			switch i.Verdict {
			case inspect.Pass:
				return nil
			case inspect.Fail:
				return &verdictError{exitFailure, errors.New("the image does not hold together")}
			}
			return &verdictError{exitUnknown, errors.New("not everything about the image could be told")}
		},
	}
	c.Flags().StringVar(&f.format, "format", "text", "`FORMAT` to write: text, json ("+inspect.Schema+")")
	complete(c, "format", "text", "json")
	c.Flags().StringVar(&f.output, "output", "", "write to `FILE`, whole or not at all, and not to standard output")
	c.Flags().StringArrayVar(&f.certificates, "certificate", nil, "`FILE` with a certificate whose signature of the kernel is to be believed: PEM, DER, or a signature list (db.esl); can be repeated")
	c.Flags().StringArrayVar(&f.allowedLeaks, "allow-leak", nil, "what may be in the root although it looks like a secret, as `PATH:KIND[:FINGERPRINT]`; can be repeated")
	c.Flags().StringVar(&f.rootHash, "root-hash", "", "the dm-verity root hash that the image is to have, as `HEX`")
	c.Flags().StringVar(&f.measurements, "measurements", "", "what the bake has measured, from `FILE` (measurements.json)")
	return c
}

// options reads what the flags name. Every mistake is told at once.
func (f *inspectFlags) options() (inspect.Options, error) {
	var o inspect.Options
	var mistakes []error
	if f.format != "text" && f.format != "json" {
		mistakes = append(mistakes, fmt.Errorf("--format: %q is neither text nor json", f.format))
	}
	for _, name := range f.certificates {
		list, err := readCertificates(name)
		if err != nil {
			mistakes = append(mistakes, fmt.Errorf("--certificate: %s: %w", name, err))
		}
		o.Certificates = append(o.Certificates, list...)
	}
	if f.rootHash != "" {
		if b, err := hex.DecodeString(f.rootHash); err != nil || len(b) < 32 {
			mistakes = append(mistakes, fmt.Errorf("--root-hash: %q is no root hash in hex", f.rootHash))
		}
		o.RootHash = f.rootHash
	}
	for _, text := range f.allowedLeaks {
		parts := strings.SplitN(text, ":", 3)
		a := leaks.Allowance{Path: parts[0], Reason: "--allow-leak"}
		if len(parts) > 1 {
			a.Kind = parts[1]
		}
		if len(parts) > 2 {
			a.Fingerprint = parts[2]
		}
		if err := a.Validate(); err != nil {
			mistakes = append(mistakes, fmt.Errorf("--allow-leak: %q is not PATH:KIND[:FINGERPRINT]: %w", text, err))
		}
		o.AllowedLeaks = append(o.AllowedLeaks, a)
	}
	if f.measurements != "" {
		text, err := os.ReadFile(f.measurements)
		if err == nil {
			var statement measure.Statement
			statement, err = measure.Parse(text)
			o.Measurements = &statement
		}
		if err != nil {
			mistakes = append(mistakes, fmt.Errorf("--measurements: %w", err))
		}
	}
	return o, errors.Join(mistakes...)
}

// readCertificates reads a certificate, or those of a signature list.
func readCertificates(name string) ([]*x509.Certificate, error) {
	content, err := os.ReadFile(name)
	if err != nil {
		return nil, err
	}
	if c, err := secureboot.ParseCertificate(content); err == nil {
		return []*x509.Certificate{c}, nil
	} else if !bytes.HasPrefix(content, certificateList) {
		return nil, err
	}
	db, err := signature.ReadSignatureDatabase(bytes.NewReader(content))
	if err != nil {
		return nil, fmt.Errorf("it is no signature list: %w", err)
	}
	var out []*x509.Certificate
	for _, list := range db {
		for _, entry := range list.Signatures {
			if list.SignatureType != signature.CERT_X509_GUID {
				continue
			}
			c, err := x509.ParseCertificate(entry.Data)
			if err != nil {
				return nil, fmt.Errorf("it has a certificate that cannot be read: %w", err)
			}
			out = append(out, c)
		}
	}
	if len(out) == 0 {
		return nil, errors.New("there is no certificate in it")
	}
	return out, nil
}

// certificateList begins an EFI_SIGNATURE_LIST of X.509 certificates.
var certificateList = []byte{0xa1, 0x59, 0xc0, 0xa5, 0xe4, 0x94, 0xa7, 0x4a, 0x87, 0xb5, 0xab, 0x15, 0x5c, 0x2b, 0xf0, 0x72}

func (f *inspectFlags) write(out io.Writer, i *inspect.Inspection) error {
	write := func(w io.Writer) error {
		if f.format == "json" {
			return inspect.WriteJSON(w, i)
		}
		return inspect.WriteText(w, i, f.output == "" && wantsColor(out))
	}
	if f.output != "" {
		return atomicfile.Write(f.output, 0o644, write)
	}
	return write(out)
}
