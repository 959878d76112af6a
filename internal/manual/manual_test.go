package manual

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/spf13/cobra"
)

// A page has what the help has, and what is a table in a terminal is one on the page.
func TestWrite(t *testing.T) {
	program := func() *cobra.Command {
		root := &cobra.Command{Use: "prog", Short: "Do things", Long: "prog does things.\n\nExit codes:\n  0    done\n  64   wrong use", Version: "1.2.3"}
		child := &cobra.Command{Use: "sub", Short: "Do one thing", Example: "  prog sub --word x", Run: func(*cobra.Command, []string) {}}
		child.Flags().String("word", "", "the `WORD` to say")
		root.AddCommand(child, &cobra.Command{Use: "inner", Hidden: true, Run: func(*cobra.Command, []string) {}})
		return root
	}
	pages := func() map[string]string {
		dir := t.TempDir()
		if err := Write(program(), dir, time.Date(2026, 3, 4, 0, 0, 0, 0, time.UTC)); err != nil {
			t.Fatal(err)
		}
		found := map[string]string{}
		names, _ := filepath.Glob(filepath.Join(dir, "*"))
		for _, name := range names {
			text, err := os.ReadFile(name)
			if err != nil {
				t.Fatal(err)
			}
			found[filepath.Base(name)] = string(text)
		}
		return found
	}
	got, again := pages(), pages()
	if len(got) != 2 || got["prog.1"] != again["prog.1"] {
		t.Errorf("%d pages, or not the same twice", len(got))
	}
	for page, wants := range map[string][]string{
		"prog.1":     {"0    done\n64   wrong use\n", "Mar 2026", "Strongroom 1.2.3", "prog-sub(1)"},
		"prog-sub.1": {"--word", "prog sub --word x"},
	} {
		for _, want := range wants {
			if !strings.Contains(strings.ReplaceAll(got[page], `\-`, "-"), want) && !strings.Contains(got[page], want) {
				t.Errorf("%s lacks %q:\n%s", page, want, got[page])
			}
		}
	}
	if err := Write(program(), filepath.Join(t.TempDir(), "none"), time.Now()); err == nil {
		t.Error("pages are written into no directory")
	}
}
