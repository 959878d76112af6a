package house

import (
	"encoding/json"
	"net/url"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/hashicorp/hcl/v2"
	"github.com/hashicorp/hcl/v2/hclsyntax"
	"go.yaml.in/yaml/v3"
	"mvdan.cc/sh/v3/syntax"

	"github.com/strongroom/strongroom/internal/docstest"
)

var (
	links    = regexp.MustCompile(`\]\(([^)\s]+)\)`)
	headings = regexp.MustCompile(`(?m)^#{1,6} (.+)$`)
	dropped  = regexp.MustCompile("[^a-z0-9 _-]")
	linked   = regexp.MustCompile(`\[([^\]]*)\]\([^)]*\)`)
)

// anchors are what a page's headings can be linked as.
func anchors(text string) map[string]bool {
	all := map[string]bool{}
	for _, m := range headings.FindAllStringSubmatch(text, -1) {
		heading := linked.ReplaceAllString(m[1], "$1")
		all[strings.ReplaceAll(dropped.ReplaceAllString(strings.ToLower(heading), ""), " ", "-")] = true
	}
	return all
}

// Every link of the documentation leads to a file that is there, and to a heading that is in it; every page is in the index.
func TestLinks(t *testing.T) {
	pages := docstest.Pages(t, "../..")
	text := map[string]string{}
	for _, p := range pages {
		text[p.Name] = p.Text
	}
	index := map[string]bool{}
	for _, p := range pages {
		for _, m := range links.FindAllStringSubmatch(p.Text, -1) {
			u, err := url.Parse(m[1])
			if err != nil {
				t.Errorf("%s: %s: %v", p.Name, m[1], err)
				continue
			}
			if u.Scheme != "" {
				continue
			}
			target := p.Name
			if u.Path != "" {
				target = filepath.Join(filepath.Dir(p.Name), u.Path)
			}
			if p.Name == "docs/README.md" {
				index[target] = true
			}
			if _, err := os.Stat(filepath.Join("../..", target)); err != nil {
				t.Errorf("%s links to %s, which is not there", p.Name, m[1])
				continue
			}
			if u.Fragment != "" && strings.HasSuffix(target, ".md") && !anchors(text[target])[u.Fragment] && text[target] != "" {
				t.Errorf("%s links to %s, and %s has no such heading", p.Name, m[1], target)
			}
		}
	}
	for _, p := range pages {
		if p.Name != "README.md" && p.Name != "docs/README.md" && !strings.HasPrefix(p.Name, "docs/decisions/") && !index[p.Name] {
			t.Errorf("%s is not in docs/README.md", p.Name)
		}
	}
}

// Code in the documentation is code: what says its language is parsed in it, and what does not and looks like a shell's too.
func TestSnippets(t *testing.T) {
	parsed := map[string]int{}
	for _, p := range docstest.Pages(t, "../..") {
		if strings.HasPrefix(p.Name, "docs/reference/") {
			continue // calls of the program's own examples, which its help is held to
		}
		for _, b := range p.Blocks() {
			var err error
			switch b.Language {
			case "hcl", "hcl policy":
				_, problems := hclsyntax.ParseConfig([]byte(b.Text), p.Name, hcl.InitialPos)
				if problems.HasErrors() {
					err = problems
				}
			case "yaml":
				err = yaml.Unmarshal([]byte(b.Text), new(any))
			case "json":
				err = json.Unmarshal([]byte(b.Text), new(any))
			case "sh", "bash", "shell":
				_, err = syntax.NewParser().Parse(strings.NewReader(b.Text), p.Name)
			case "ini", "haproxy", "text", "": // commands, which the programs' own tests read; pictures; what a test beside its subject runs
				continue
			default:
				t.Errorf("%s:%d: nobody looks at code in %q", p.Name, b.Line, b.Language)
			}
			parsed[b.Language]++
			if err != nil {
				t.Errorf("%s:%d: %v", p.Name, b.Line, err)
			}
		}
	}
	if parsed["hcl"] < 10 || parsed["yaml"] < 3 {
		t.Errorf("parsed %v: the documentation has more", parsed)
	}
}

// Every target of make that the documentation tells to call is there.
func TestMakeTargets(t *testing.T) {
	makefile, err := os.ReadFile("../../Makefile")
	if err != nil {
		t.Fatal(err)
	}
	call, called := regexp.MustCompile("(?m)(?:`|^|^    |[;&|] )make ([a-z-]+)"), 0
	for _, p := range docstest.Pages(t, "../..") {
		for _, m := range call.FindAllStringSubmatch(p.Text, -1) {
			called++
			if !regexp.MustCompile("(?m)^" + m[1] + ":").Match(makefile) {
				t.Errorf("%s says make %s, and there is no such target", p.Name, m[1])
			}
		}
	}
	if called < 10 {
		t.Errorf("only %d calls of make were found", called)
	}
}
