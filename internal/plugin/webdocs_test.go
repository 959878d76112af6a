//go:build bake

package plugin_test

import (
	"encoding/json"
	"maps"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/hashicorp/hcl/v2/hclsimple"
)

// The portal of integrations shows the components that the plugin has, each with a page.
func TestWebDocs(t *testing.T) {
	w := setUp(t)
	out, err := exec.Command(w.plugin, "describe").Output()
	if err != nil {
		t.Fatal(err)
	}
	var described struct {
		Builders       []string `json:"builders"`
		Provisioners   []string `json:"provisioners"`
		PostProcessors []string `json:"post_processors"`
		DataSources    []string `json:"datasources"`
	}
	if err := json.Unmarshal(out, &described); err != nil {
		t.Fatal(err)
	}
	want := map[string]bool{}
	for kind, names := range map[string][]string{
		"builder": described.Builders, "provisioner": described.Provisioners, "post-processor": described.PostProcessors, "data-source": described.DataSources,
	} {
		for _, name := range names {
			want[kind+"/"+name] = true
		}
	}
	var metadata struct {
		Integration struct {
			Name        string `hcl:"name"`
			Description string `hcl:"description"`
			Identifier  string `hcl:"identifier"`
			Docs        struct {
				ProcessDocs    bool   `hcl:"process_docs"`
				ReadmeLocation string `hcl:"readme_location"`
				ExternalURL    string `hcl:"external_url"`
			} `hcl:"docs,block"`
			Components []struct {
				Type string `hcl:"type"`
				Name string `hcl:"name"`
				Slug string `hcl:"slug"`
			} `hcl:"component,block"`
		} `hcl:"integration,block"`
	}
	const dir = "../../.web-docs"
	if err := hclsimple.DecodeFile(filepath.Join(dir, "metadata.hcl"), nil, &metadata); err != nil {
		t.Fatal(err)
	}
	got := map[string]bool{}
	relative := regexp.MustCompile(`\]\(\.{0,2}/?[a-z][^):]*\.md`)
	for _, c := range metadata.Integration.Components {
		got[c.Type+"/"+c.Slug] = true
		page := readFile(t, filepath.Join(dir, "components", c.Type, c.Slug, "README.md"))
		if strings.HasPrefix(page, "# ") || !strings.Contains(page, "strongroom-"+c.Slug) {
			t.Errorf("the page of %s/%s is headed, or is about something else", c.Type, c.Slug)
		}
		if dead := relative.FindString(page); dead != "" {
			t.Errorf("the page of %s/%s links to a file that the portal does not have: %s", c.Type, c.Slug, dead)
		}
		if readme := readFile(t, filepath.Join(dir, "README.md")); !strings.Contains(readme, "/components/"+c.Type+"/"+c.Slug+")") {
			t.Errorf("README.md does not name %s/%s", c.Type, c.Slug)
		}
	}
	if !maps.Equal(got, want) {
		t.Errorf("the plugin has %q, .web-docs %q", slices.Sorted(maps.Keys(want)), slices.Sorted(maps.Keys(got)))
	}
	pages, err := filepath.Glob(filepath.Join(dir, "components/*/*/README.md"))
	if err != nil || len(pages) != len(want) {
		t.Errorf("pages %q (%v)", pages, err)
	}
}
