package plugin

import (
	"strings"
	"testing"

	"github.com/hashicorp/hcl/v2"
	"github.com/hashicorp/hcl/v2/hcldec"
	"github.com/hashicorp/hcl/v2/hclsyntax"

	"github.com/strongroom/strongroom/internal/docstest"
)

// Every attribute and block of ours in the documentation's templates exists. Values are the reader's: variables are not evaluated.
func TestDocumentedAttributes(t *testing.T) {
	specs := map[string]hcldec.ObjectSpec{
		"strongroom-image": new(Builder).ConfigSpec(), "strongroom-harden": new(Provisioner).ConfigSpec(), "strongroom-release": new(Datasource).ConfigSpec(),
		"strongroom-launch-template": new(LaunchTemplate).ConfigSpec(), "strongroom-metal": new(Metal).ConfigSpec(),
	}
	// What Packer itself takes in any component.
	common := map[string]bool{"name": true, "only": true, "except": true, "keep_input_artifact": true, "pause_before": true, "max_retries": true, "timeout": true, "override": true}
	checked := 0
	check := func(page string, text string) {
		file, problems := hclsyntax.ParseConfig([]byte(text), page, hcl.InitialPos)
		if problems.HasErrors() {
			t.Errorf("%s: %v", page, problems)
			return
		}
		var visit func(body *hclsyntax.Body)
		visit = func(body *hclsyntax.Body) {
			for _, block := range body.Blocks {
				spec, ours := hcldec.ObjectSpec(nil), false
				if len(block.Labels) > 0 {
					spec, ours = specs[block.Labels[0]]
				}
				if !ours {
					visit(block.Body)
					continue
				}
				checked++
				for name := range block.Body.Attributes {
					if common[name] {
						delete(block.Body.Attributes, name)
					}
				}
				_, problems := hcldec.Decode(block.Body, spec, nil)
				for _, p := range problems {
					if strings.HasPrefix(p.Summary, "Unsupported") {
						t.Errorf("%s: %s %s: %s", page, block.Type, block.Labels[0], p.Detail)
					}
				}
			}
		}
		visit(file.Body.(*hclsyntax.Body))
	}
	for _, page := range docstest.Pages(t, "../..") {
		for _, b := range page.Blocks() {
			if b.Language == "hcl" {
				check(page.Name, b.Text)
			}
		}
	}
	if checked < 6 {
		t.Errorf("only %d of our components are in the documentation", checked)
	}
}
