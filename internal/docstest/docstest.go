// Package docstest reads the documentation for tests: its pages, their code, and the commands in it.
package docstest

import (
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/spf13/cobra"
	"mvdan.cc/sh/v3/syntax"
)

// Page is one Markdown file.
type Page struct {
	Name string // from the root of the project: "docs/lab.md"
	Text string
}

// Pages gives the pages that people read: README.md and everything below docs.
func Pages(t testing.TB, root string) []Page {
	t.Helper()
	names := []string{"README.md"}
	err := filepath.WalkDir(filepath.Join(root, "docs"), func(path string, d fs.DirEntry, err error) error {
		if err == nil && strings.HasSuffix(path, ".md") {
			name, _ := filepath.Rel(root, path)
			names = append(names, name)
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	var pages []Page
	for _, name := range names {
		text, err := os.ReadFile(filepath.Join(root, name))
		if err != nil {
			t.Fatal(err)
		}
		pages = append(pages, Page{name, string(text)})
	}
	return pages
}

// Block is a piece of code on a page: fenced, with its language, or indented, without one.
type Block struct {
	Line     int // of its first line, from 1
	Language string
	Text     string
}

// Blocks gives the code of a page.
func (p Page) Blocks() []Block {
	var blocks []Block
	var now *Block
	fence := ""
	blank := true // an indented block begins after an empty line
	for i, line := range strings.Split(p.Text, "\n") {
		trimmed := strings.TrimLeft(line, " ")
		switch {
		case fence != "" && strings.HasPrefix(trimmed, fence):
			blocks, now, fence = append(blocks, *now), nil, ""
		case fence != "":
			now.Text += line + "\n"
		case strings.HasPrefix(trimmed, "```"):
			if now != nil {
				blocks = append(blocks, *now)
			}
			fence, now = "```", &Block{Line: i + 2, Language: strings.TrimSpace(trimmed[3:])}
		case strings.HasPrefix(line, "    ") && (blank || now != nil):
			if now == nil {
				now = &Block{Line: i + 1}
			}
			now.Text += line[4:] + "\n"
		default:
			if now != nil {
				blocks, now = append(blocks, *now), nil
			}
		}
		blank = trimmed == ""
	}
	if now != nil {
		blocks = append(blocks, *now)
	}
	return blocks
}

// Call is a command line of a program on a page.
type Call struct {
	Text string
	Args []string // without the program; what the shell would make of a variable is "x"
}

var (
	continued = regexp.MustCompile(`\\\n\s*`)
	inline    = regexp.MustCompile("`([^`\n]+)`")
)

// Calls gives the command lines of a program: in code, wherever the shell would run it, and in the text between backquotes.
func (p Page) Calls(t testing.TB, program string) []Call {
	t.Helper()
	if strings.HasPrefix(p.Name, "docs/reference/") {
		return nil // made from the commands themselves
	}
	var calls []Call
	take := func(line string) {
		if !strings.Contains(line, program+" ") {
			return
		}
		file, err := syntax.NewParser().Parse(strings.NewReader(line), "")
		if err != nil {
			if strings.HasPrefix(line, program+" ") {
				t.Errorf("%s: %s: %v", p.Name, line, err)
			}
			return // a picture, a sentence, another language
		}
		syntax.Walk(file, func(node syntax.Node) bool {
			call, ok := node.(*syntax.CallExpr)
			if !ok {
				return true
			}
			var words []string
			for _, w := range call.Args {
				word := w.Lit()
				if word == "" {
					word = "x"
				}
				words = append(words, word)
			}
			if len(words) > 1 && words[0] == "sudo" {
				words = words[1:]
			}
			if len(words) > 1 && filepath.Base(words[0]) == program && words[1] != "=" {
				calls = append(calls, Call{line, words[1:]})
			}
			return true
		})
	}
	for _, b := range p.Blocks() {
		if b.Language == "hcl" {
			continue
		}
		for line := range strings.Lines(continued.ReplaceAllString(b.Text, " ")) {
			take(strings.TrimPrefix(strings.TrimSpace(line), "$ "))
		}
	}
	for _, m := range inline.FindAllStringSubmatch(p.Text, -1) {
		if strings.HasPrefix(m[1], program+" ") && !strings.ContainsAny(m[1], "…[]|<>*{") {
			take(m[1])
		}
	}
	return calls
}

// Check says what a program would not take of a call: a command or a flag that it has not. A word in capitals stands for a value
// of the reader's own.
func (c Call) Check(t testing.TB, page string, root *cobra.Command) {
	t.Helper()
	command, rest, err := root.Find(c.Args)
	if err != nil {
		t.Errorf("%s: %s: %v", page, c.Text, err)
		return
	}
	if command == root && len(rest) > 0 && !strings.HasPrefix(rest[0], "-") {
		t.Errorf("%s: %s: no command %s", page, c.Text, rest[0])
		return
	}
	for _, word := range rest {
		if word == "--" {
			return
		}
		if word == "--help" || word == "--version" || !strings.HasPrefix(word, "--") {
			continue
		}
		name, _, _ := strings.Cut(strings.TrimPrefix(word, "--"), "=")
		if command.Flags().Lookup(name) == nil && command.InheritedFlags().Lookup(name) == nil {
			t.Errorf("%s: %s: %s has no flag --%s", page, c.Text, command.CommandPath(), name)
		}
	}
}

// Teaches says what the help of a program's commands leaves out: each says at length what it does, and shows how it is called.
// The examples are calls as the program takes them.
func Teaches(t testing.TB, root *cobra.Command) {
	t.Helper()
	var visit func(c *cobra.Command)
	visit = func(c *cobra.Command) {
		for _, child := range c.Commands() {
			visit(child)
		}
		if c.Hidden || c.Name() == "help" || c.Name() == "completion" || c.HasParent() && c.Parent().Name() == "completion" {
			return
		}
		if c.Short == "" || c.Long == "" || c.Example == "" && !c.HasSubCommands() {
			t.Errorf("%s --help does not teach: it needs a Short, a Long and an Example", c.CommandPath())
		}
		for _, call := range (Page{c.CommandPath() + " --help", "\n    " + strings.ReplaceAll(c.Example, "\n", "\n    ")}).Calls(t, root.Name()) {
			call.Check(t, c.CommandPath()+" --help", root)
		}
	}
	visit(root)
}
