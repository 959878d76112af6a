package main

import (
	"fmt"

	"github.com/spf13/cobra"

	"github.com/strongroom/strongroom/internal/atomicfile"
)

func newOverlayCommand() *cobra.Command {
	var flags profileFlags
	var output string
	c := &cobra.Command{
		Use:   "overlay",
		Short: "Write the hardening of a profile as a tar",
		Long: `overlay writes the files that hardening adds to an image as a tar: drop-ins, units, the
firewall, and the baseline that hostcheck judges the node by. The programs are not in it.

The tar is deterministic: the same profile gives the same bytes on every machine and at
any time. Its SHA-256 is printed, and recorded in the manifest of every image as
overlay_sha256.`,
		Example: `  imagebuild overlay --output overlay.tar
  imagebuild overlay --profile vault/metal --output - | tar -tv
  imagebuild overlay --controls controls/site.yaml --waivers waivers.yaml`,
		Args: noArguments,
		RunE: func(c *cobra.Command, _ []string) error {
			b, _, err := flags.compile(c)
			if err != nil {
				return err
			}
			tree, err := b.Overlay()
			if err != nil {
				return fmt.Errorf("cannot render the overlay: %w", err)
			}
			digest, err := tree.Digest()
			if err != nil {
				return err
			}
			if output == "-" {
				return tree.WriteTar(c.OutOrStdout())
			}
			if err := atomicfile.Write(output, 0o644, tree.WriteTar); err != nil {
				return fmt.Errorf("cannot write the overlay: %w", err)
			}
			_, err = fmt.Fprintf(c.OutOrStdout(), "%s  %s\n", digest, output)
			return err
		},
	}
	flags.register(c)
	c.Flags().StringVarP(&output, "output", "o", "overlay.tar", "`file` to write, - for standard output")
	return c
}
