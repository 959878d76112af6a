package docstest

import (
	"bytes"
	"strings"
	"testing"

	"github.com/spf13/cobra"
)

// Program is one of ours, for tests of what is written about it. Root makes its commands anew: a call leaves its flags in them.
type Program struct {
	Name string
	Root func() *cobra.Command
}

// Documented holds each call in the documentation, whose pages lie below a root, to be one that the program takes.
func (p Program) Documented(t *testing.T, root string) {
	t.Helper()
	n := 0
	for _, page := range Pages(t, root) {
		for _, call := range page.Calls(t, p.Name) {
			call.Check(t, page.Name, p.Root())
			n++
		}
	}
	if n < 20 {
		t.Errorf("only %d calls of %s were found in the documentation", n, p.Name)
	}
}

// Completes holds what a shell is told behind each line to have a word.
func (p Program) Completes(t *testing.T, words map[string]string) {
	t.Helper()
	for line, want := range words {
		var out bytes.Buffer
		c := p.Root()
		c.SetOut(&out)
		c.SetArgs(append(append([]string{"__complete"}, strings.Fields(line)...), ""))
		if err := c.Execute(); err != nil || !strings.Contains(out.String(), want) {
			t.Errorf("%s %s <Tab>: %v %s", p.Name, line, err, out.String())
		}
	}
}
