package docstest

import (
	"fmt"
	"os"
	"strings"
	"testing"

	"github.com/spf13/cobra"
)

// CheckReference holds a page of the reference to be what the commands of a program say of themselves, or writes it.
func CheckReference(t testing.TB, root *cobra.Command, file string, update bool) {
	t.Helper()
	want := reference(root)
	if update {
		if err := os.WriteFile(file, []byte(want), 0o644); err != nil {
			t.Fatal(err)
		}
		return
	}
	if got, err := os.ReadFile(file); err != nil || string(got) != want {
		t.Errorf("%s is not what the commands say (%v): make generate", file, err)
	}
}

func reference(root *cobra.Command) string {
	var b strings.Builder
	fmt.Fprintf(&b, "<!-- Made from the program's own commands: make generate. -->\n\n# %s: commands\n", root.Name())
	block := func(text string) {
		b.WriteString("\n")
		for line := range strings.Lines(strings.Trim(text, "\n") + "\n") {
			if strings.TrimSpace(line) == "" {
				b.WriteString("\n")
				continue
			}
			b.WriteString("    " + strings.TrimRight(line, " \n") + "\n")
		}
	}
	var visit func(c *cobra.Command)
	visit = func(c *cobra.Command) {
		if c.Hidden || c.Name() == "help" || c.Name() == "completion" {
			return
		}
		fmt.Fprintf(&b, "\n## %s\n\n%s.\n", c.CommandPath(), strings.TrimSuffix(c.Short, "."))
		c.InitDefaultHelpFlag()
		if c.Runnable() {
			block(c.UseLine())
		}
		block(c.Long)
		if c.Example != "" {
			b.WriteString("\nFor example:\n")
			block(strings.ReplaceAll(c.Example, "\n  ", "\n")[2:])
		}
		if flags := c.NonInheritedFlags().FlagUsagesWrapped(0); flags != "" {
			b.WriteString("\nFlags:\n")
			block(flags)
		}
		for _, child := range c.Commands() {
			visit(child)
		}
	}
	visit(root)
	return b.String()
}
