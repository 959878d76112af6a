package main

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"time"

	"github.com/spf13/cobra"

	"github.com/strongroom/strongroom/internal/lab"
	"github.com/strongroom/strongroom/internal/report"
)

func newProveCommand() *cobra.Command {
	var dir string
	var options lab.Options
	c := &cobra.Command{
		Use:   "prove",
		Short: "Boot a baked image and show what the node reports",
		Long: `prove boots an image with UEFI firmware in QEMU, on a throw-away copy of its disk, with a
certificate authority made for this boot. It waits for the verdict that the running node sends over
its telemetry port, prints that report, and presses the power button.

It fails unless the node comes up, every must control passes, and the node shuts down in order.
The report stays beside the image as report.json, the serial console as console.log. With a usable
/dev/kvm it takes seconds; without one QEMU emulates the processor, which takes a minute or two.`,
		Example: `  imagebuild prove --image out/image`,
		Args:    noArguments,
		RunE: func(c *cobra.Command, _ []string) error {
			options.Log = slog.New(slog.NewTextHandler(c.ErrOrStderr(), &slog.HandlerOptions{ReplaceAttr: withoutTime}))
			// What an earlier boot said must not pass for what this one says.
			node := filepath.Join(dir, "report.json")
			if err := os.Remove(node); err != nil && !errors.Is(err, fs.ErrNotExist) {
				return fmt.Errorf("cannot remove the report of an earlier boot: %w", err)
			}
			var summary bytes.Buffer
			err := lab.ProveImage(c.Context(), dir, options, &summary)
			out := c.OutOrStdout()
			return errors.Join(err, printReport(out, node), writeAll(out, summary.Bytes()))
		},
	}
	c.Flags().StringVar(&dir, "image", "out/image", "output `directory` of the bake")
	c.Flags().IntVar(&options.MemoryMiB, "memory", 2048, "memory of the machine in MiB")
	c.Flags().IntVar(&options.CPUs, "cpus", 2, "processors of the machine")
	c.Flags().DurationVar(&options.Timeout, "timeout", 10*time.Minute, "how long the node may take to its verdict")
	return c
}

// withoutTime leaves the clock out of progress lines: the steps say how long they took.
func withoutTime(groups []string, a slog.Attr) slog.Attr {
	if len(groups) == 0 && (a.Key == slog.TimeKey || a.Key == slog.LevelKey) {
		return slog.Attr{}
	}
	return a
}

// printReport shows the node's report; a node that sent none has nothing to show.
func printReport(out io.Writer, name string) error {
	if _, err := os.Stat(name); errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	document, err := openReport(nil, name)
	if err != nil {
		return err
	}
	if err := report.Write(out, document, report.Text, report.Options{Color: wantsColor(out)}); err != nil {
		return err
	}
	return writeAll(out, []byte("\n"))
}

func writeAll(out io.Writer, b []byte) error {
	_, err := out.Write(b)
	return err
}
