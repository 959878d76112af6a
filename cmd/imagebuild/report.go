package main

import (
	"fmt"
	"io"
	"os"
	"strings"

	"github.com/spf13/cobra"
	"golang.org/x/term"

	"github.com/strongroom/strongroom/internal/atomicfile"
	"github.com/strongroom/strongroom/internal/report"
)

func newReportCommand() *cobra.Command {
	var format, output string
	var options report.Options
	c := &cobra.Command{
		Use:   "report FILE",
		Short: "Show a saved report, or convert it for a build server or an auditor",
		Long: `report reads a JSON report and writes it in another format. A report comes from
"hostcheck verify --format json", from a node's telemetry port as /report, or from a bake, which leaves
image-report.json beside the image, and report.json once the image has been booted. "-" is standard input.

It says what the report says and judges nothing: the exit status is 0 for every verdict.`,
		Example: `  imagebuild report out/image/report.json
  imagebuild report --format html --output report.html out/image/report.json
  imagebuild report --format junit - < report.json > junit.xml`,
		Args: func(c *cobra.Command, args []string) error {
			if len(args) != 1 {
				return &usageError{c.CommandPath(), fmt.Errorf("want one report, got %d", len(args))}
			}
			return nil
		},
		RunE: func(c *cobra.Command, args []string) error {
			f, err := report.ParseFormat(format)
			if err != nil {
				return &usageError{c.CommandPath(), err}
			}
			document, err := openReport(c.InOrStdin(), args[0])
			if err != nil {
				return err
			}
			if output != "" {
				return atomicfile.Write(output, 0o644, func(w io.Writer) error { return report.Write(w, document, f, options) })
			}
			out := c.OutOrStdout()
			options.Color = wantsColor(out)
			return report.Write(out, document, f, options)
		},
	}
	c.Flags().StringVar(&format, "format", "text", "`FORMAT` to write: "+report.FormatNames())
	complete(c, "format", strings.Split(report.FormatNames(), ", ")...)
	c.Flags().StringVar(&output, "output", "", "write to `FILE`, whole or not at all, and not to standard output")
	c.Flags().BoolVarP(&options.Verbose, "verbose", "v", false, "also what passes: the facts behind it (text), results of its own (sarif)")
	return c
}

// openReport reads a report from a file, or from in when the name is "-".
func openReport(in io.Reader, name string) (*report.Document, error) {
	if name != "-" {
		f, err := os.Open(name)
		if err != nil {
			return nil, fmt.Errorf("cannot open report: %w", err)
		}
		defer f.Close()
		in = f
	}
	document, err := report.ReadJSON(in)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", name, err)
	}
	return document, nil
}

// wantsColor says whether escape sequences do good there.
func wantsColor(out io.Writer) bool {
	if kind := os.Getenv("TERM"); kind == "" || kind == "dumb" || os.Getenv("NO_COLOR") != "" {
		return false
	}
	f, ok := out.(*os.File)
	return ok && term.IsTerminal(int(f.Fd()))
}
