package main

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"go.yaml.in/yaml/v3"
)

// Recipes that people copy: YAML, on templates that are there, without privileges, and with the caches kept.
func TestRecipesForCI(t *testing.T) {
	recipes, err := filepath.Glob("../../docs/ci/*.yml")
	if err != nil || len(recipes) != 2 {
		t.Fatalf("recipes %q (%v)", recipes, err)
	}
	workflows, err := filepath.Glob("../../.github/workflows/*.yml")
	if err != nil || len(workflows) != 1 {
		t.Fatalf("workflows %q (%v)", workflows, err)
	}
	for _, name := range append(recipes, workflows...) {
		text, err := os.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		var document map[string]any
		if err := yaml.Unmarshal(text, &document); err != nil {
			t.Errorf("%s: %v", name, err)
		}
		if strings.HasPrefix(name, "../../.github") {
			continue
		}
		for _, want := range []string{"packer init", "packer build", "cache", "seccomp=unconfined", "systempaths=unconfined", "docs/ci/Containerfile"} {
			if !strings.Contains(string(text), want) {
				t.Errorf("%s: no %q", name, want)
			}
		}
		if strings.Contains(string(text), "--privileged") {
			t.Errorf("%s: a privileged container", name)
		}
		_, template, _ := strings.Cut(string(text), "TEMPLATE: ")
		template, _, _ = strings.Cut(template, "\n")
		if _, err := os.Stat(filepath.Join("../..", template)); err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
}
