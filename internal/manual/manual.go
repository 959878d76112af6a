// Package manual writes manual pages from a program's own commands.
package manual

import (
	"fmt"
	"os"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"
	"github.com/spf13/cobra/doc"
)

// Main writes the pages of a program into the directory that is its one argument, of the day that SOURCE_DATE_EPOCH says, and ends.
func Main(root *cobra.Command) {
	seconds, err := strconv.ParseInt(os.Getenv("SOURCE_DATE_EPOCH"), 10, 64)
	if err == nil && len(os.Args) == 2 {
		err = Write(root, os.Args[1], time.Unix(seconds, 0).UTC())
	} else {
		err = fmt.Errorf("usage: SOURCE_DATE_EPOCH=seconds go run -tags manual ./cmd/%s DIR", root.Name())
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

// Write writes the pages of a program and of each of its commands into a directory: hostcheck.1, hostcheck-verify.1. The same
// program and day give the same bytes.
func Write(root *cobra.Command, dir string, day time.Time) error {
	root.DisableAutoGenTag = true // no line that names the generator and today
	prepare(root)
	header := &doc.GenManHeader{
		Section: "1", Date: &day, Source: "Strongroom " + root.Version, Manual: "Strongroom",
	}
	if err := doc.GenManTree(root, header, dir); err != nil {
		return fmt.Errorf("cannot write manual pages: %w", err)
	}
	return nil
}

// prepare makes Markdown of the texts, which are written for a terminal: what is indented there is kept line by line.
func prepare(c *cobra.Command) {
	c.Long = verbatim(c.Long)
	for _, child := range c.Commands() {
		prepare(child)
	}
}

func verbatim(text string) string {
	var b strings.Builder
	inside := false
	for line := range strings.Lines(text) {
		indented := strings.HasPrefix(line, "  ")
		if indented != inside && strings.TrimSpace(line) != "" {
			b.WriteString("\n")
			inside = indented
		}
		if indented {
			b.WriteString("  ")
		}
		b.WriteString(line)
	}
	return b.String()
}
