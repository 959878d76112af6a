package main

import (
	"context"
	"fmt"
	"io"
	"os"

	"github.com/spf13/cobra"

	"github.com/strongroom/strongroom/internal/atomicfile"
	"github.com/strongroom/strongroom/internal/baseline"
	"github.com/strongroom/strongroom/internal/check"
	"github.com/strongroom/strongroom/internal/control"
	"github.com/strongroom/strongroom/internal/host"
)

func captureCommand() *cobra.Command {
	var stageName, root, path, output string
	cmd := &cobra.Command{
		Use:   "capture",
		Short: "Record what a check of this host reads, for replay elsewhere",
		Long: `capture runs a check and writes down every answer of the host. Private keys, tokens and password
hashes are replaced before anything is written. Judge the recording with verify --capture.`,
		Example: "  hostcheck capture --stage boot --output node-1.json",
		Args:    cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			stage, err := control.ParseStage(stageName)
			if err != nil {
				return &exit{exitUsage, err}
			}
			return capture(cmd.Context(), stage, root, path, output)
		},
	}
	cmd.Flags().StringVar(&stageName, "stage", "run", "`STAGE` whose reads are recorded: image, boot, run or member")
	cmd.Flags().StringVar(&root, "root", "/", "`DIR` that holds the host's files")
	cmd.Flags().StringVar(&path, "baseline", "", "`FILE` with another baseline than the host's own, "+baseline.Path)
	cmd.Flags().StringVarP(&output, "output", "o", "-", "`FILE` to write, - for standard output")
	return cmd
}

func capture(ctx context.Context, stage control.Stage, root, path, output string) error {
	h, closeHost, err := openHost(ctx, verifyFlags{root: root}, stage)
	if err != nil {
		return &exit{exitUnknown, err}
	}
	defer closeHost()
	recorder := host.NewRecorder(h)
	b, digest, err := loadBaseline(recorder, path)
	if err != nil {
		return &exit{exitOf(err), err}
	}
	check.Run(ctx, b, digest, recorder, stage, check.Options{})
	if output == "-" {
		if _, err := recorder.WriteTo(os.Stdout); err != nil {
			return &exit{exitUnknown, fmt.Errorf("cannot write capture: %w", err)}
		}
		return nil
	}
	// For its owner alone: redaction knows many secrets and not all.
	err = atomicfile.Write(output, 0o600, func(w io.Writer) error {
		_, err := recorder.WriteTo(w)
		return err
	})
	if err != nil {
		return &exit{exitUnknown, fmt.Errorf("cannot write capture: %w", err)}
	}
	return nil
}
