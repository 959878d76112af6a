package main

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"time"

	"github.com/spf13/cobra"

	"github.com/strongroom/strongroom/internal/overlayfile"
	"github.com/strongroom/strongroom/internal/sign"
)

func newOverlayCommand() *cobra.Command {
	var flags profileFlags
	var key keyFlags
	var output string
	c := &cobra.Command{
		Use:   "overlay",
		Short: "Write the hardening of a profile as a tar, with digest and signature",
		Long: `overlay writes the files that hardening adds to an image as a tar: drop-ins, units, the
firewall, and the baseline that hostcheck judges the node by. The programs are not in it.

The tar is deterministic: the same profile gives the same bytes on every machine and at
any time. Its SHA-256 is printed, written beside it (.sha256), and recorded in the
manifest of every image as overlay_sha256. A name that ends in .zst is compressed; sum
and signature are then of the compressed file.

With --sign-key a detached OpenPGP signature is written too (.sig), which gpgv verifies
in any installer. The same key gives the same signature.`,
		Example: `  imagebuild overlay --output overlay.tar
  imagebuild overlay --layout installed --output overlay.tar.zst --sign-key builder.key
  imagebuild overlay --layout installed --distribution debian/bookworm --output overlay.tar
  imagebuild overlay --profile vault/metal --output - | tar -tv
  imagebuild overlay --controls controls/site.yaml --waivers waivers.yaml`,
		Args: noArguments,
		RunE: func(c *cobra.Command, _ []string) error {
			signer, err := key.signer(c)
			if err != nil {
				return err
			}
			b, _, err := flags.compile(c)
			if err != nil {
				return err
			}
			tree, err := b.Overlay()
			if err != nil {
				return fmt.Errorf("cannot render the overlay: %w", err)
			}
			if output == "-" {
				if signer != nil {
					return &usageError{c.CommandPath(), errors.New("a stream has no file beside it for the signature: give --output a name")}
				}
				return tree.WriteTar(c.OutOrStdout())
			}
			digest, err := overlayfile.Write(output, tree, signer)
			if err != nil {
				return fmt.Errorf("cannot write the overlay: %w", err)
			}
			_, err = fmt.Fprintf(c.OutOrStdout(), "%s  %s\n", digest, output)
			return err
		},
	}
	flags.register(c)
	key.register(c)
	c.Flags().StringVarP(&output, "output", "o", "overlay.tar", "`file` to write, - for standard output")
	return c
}

// keyFlags name the key that signs.
type keyFlags struct{ key, passphrase string }

func (f *keyFlags) register(c *cobra.Command) {
	c.Flags().StringVar(&f.key, "sign-key", "", "`file` with one OpenPGP secret key, as gpg --export-secret-keys writes it")
	c.Flags().StringVar(&f.passphrase, "sign-passphrase-file", "", "`file` with the passphrase of that key")
}

// signer is nil when nothing is to be signed.
func (f *keyFlags) signer(c *cobra.Command) (sign.Signer, error) {
	if f.key == "" {
		if f.passphrase != "" {
			return nil, &usageError{c.CommandPath(), errors.New("--sign-passphrase-file needs --sign-key")}
		}
		return nil, nil
	}
	text, err := os.ReadFile(f.key)
	if err != nil {
		return nil, fmt.Errorf("cannot read the signing key: %w", err)
	}
	var passphrase []byte
	if f.passphrase != "" {
		if passphrase, err = os.ReadFile(f.passphrase); err != nil {
			return nil, fmt.Errorf("cannot read the passphrase: %w", err)
		}
		passphrase = bytes.TrimRight(passphrase, "\r\n")
	}
	signer, err := sign.ReadKey(text, passphrase, time.Now())
	if err != nil {
		return nil, fmt.Errorf("--sign-key %s: %w", f.key, err)
	}
	return signer, nil
}
