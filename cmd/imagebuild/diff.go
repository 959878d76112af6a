package main

import (
	"errors"
	"fmt"
	"io"

	"github.com/spf13/cobra"

	"github.com/strongroom/strongroom/internal/atomicfile"
	"github.com/strongroom/strongroom/internal/inspect"
)

func newDiffCommand() *cobra.Command {
	var format, output string
	c := &cobra.Command{
		Use:   "diff A B",
		Short: "Say what two images differ in, without root, mount or boot",
		Long: `diff compares the disks of two images, in any of the formats that inspect takes, or the first disks of two output directories. The
format makes no difference: a qcow2 of a disk is identical to it.

Where they differ it names the first byte, with partition, file and the control that owns the file, the first byte of every other
part of the disk, the packages that came, went or changed, the controls whose files differ, and the files.

The exit status is 0 when the disks are identical, 1 when not, 2 when that could not be told, 64 on wrong use.`,
		Example: `  imagebuild diff out/monday out/tuesday
  imagebuild diff --format json a/disk.raw b/disk.qcow2 | jq .packages`,
		Args: func(c *cobra.Command, args []string) error {
			if len(args) != 2 {
				return &usageError{c.CommandPath(), fmt.Errorf("want two images, got %d", len(args))}
			}
			return nil
		},
		RunE: func(c *cobra.Command, args []string) error {
			if format != "text" && format != "json" {
				return &usageError{c.CommandPath(), fmt.Errorf("--format: %q is neither text nor json", format)}
			}
			d, err := inspect.Compare(c.Context(), args[0], args[1])
			if err != nil {
				return &verdictError{exitUnknown, fmt.Errorf("cannot compare: %w", err)}
			}
			out := c.OutOrStdout()
			write := func(w io.Writer) error {
				if format == "json" {
					return inspect.WriteJSON(w, d)
				}
				return inspect.WriteDiffText(w, d, output == "" && wantsColor(out))
			}
			if output != "" {
				err = atomicfile.Write(output, 0o644, write)
			} else {
				err = write(out)
			}
			if err != nil {
				return err
			}
			if !d.Identical {
				return &verdictError{exitFailure, errors.New("the images differ")}
			}
			return nil
		},
	}
	c.Flags().StringVar(&format, "format", "text", "`FORMAT` to write: text, json ("+inspect.DiffSchema+")")
	complete(c, "format", "text", "json")
	c.Flags().StringVar(&output, "output", "", "write to `FILE`, whole or not at all, and not to standard output")
	return c
}
