package node

import (
	"errors"
	"reflect"
	"slices"
	"strings"
	"testing"

	"github.com/hashicorp/hcl/v2"
	"github.com/hashicorp/hcl/v2/hclsyntax"

	"github.com/strongroom/strongroom/internal/docstest"
)

// Each piece of node.hcl in the documentation has only blocks and keys that node.hcl has. What a piece leaves out, and what it means
// to show, is no mistake of it.
func TestDocumentedPieces(t *testing.T) {
	var blocks []string
	for f := range reflect.TypeFor[fileSpec]().Fields() {
		if name, kind, _ := strings.Cut(f.Tag.Get("hcl"), ","); kind == "block" {
			blocks = append(blocks, name)
		}
	}
	checked := 0
	for _, page := range docstest.Pages(t, "../..") {
		for _, b := range page.Blocks() {
			if b.Language != "hcl" {
				continue
			}
			file, problems := hclsyntax.ParseConfig([]byte(b.Text), page.Name, hcl.InitialPos)
			if problems.HasErrors() {
				t.Errorf("%s:%d: %v", page.Name, b.Line, problems)
				continue
			}
			body := file.Body.(*hclsyntax.Body)
			if len(body.Blocks) == 0 || slices.ContainsFunc(body.Blocks, func(block *hclsyntax.Block) bool { return !slices.Contains(blocks, block.Type) }) {
				continue // a template, a policy, a server's configuration
			}
			checked++
			_, err := Parse(page.Name, []byte(b.Text), Image{})
			var mistakes Mistakes
			if errors.As(err, &mistakes) {
				for _, m := range mistakes {
					if strings.HasPrefix(m.Problem, "unknown ") {
						t.Errorf("%s:%d: %s", page.Name, b.Line-1+m.Line, m.Problem)
					}
				}
			}
		}
	}
	if _, err := Parse("", []byte("telemetry {\n  nonsense = 1\n}\n"), Image{}); err == nil || !strings.Contains(err.Error(), `unknown key "nonsense"`) {
		t.Errorf("what is unknown is called something else: %v", err)
	}
	if checked < 5 {
		t.Errorf("only %d pieces of node.hcl are in the documentation", checked)
	}
}
