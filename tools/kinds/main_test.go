package main

import (
	"os"
	"strings"
	"testing"

	"github.com/strongroom/strongroom/internal/resource"
)

// The reference in the tree is what the code says now.
func TestReferenceOfKindsIsFresh(t *testing.T) {
	committed, err := os.ReadFile("../../docs/kinds.md")
	if err != nil {
		t.Fatal(err)
	}
	var out strings.Builder
	if err := write(&out, "../.."); err != nil {
		t.Fatal(err)
	}
	if out.String() != string(committed) {
		t.Error("docs/kinds.md is stale: run make generate")
	}
	for _, kind := range resource.Kinds {
		if !strings.Contains(out.String(), "\n## `"+kind.Name+"`\n") {
			t.Errorf("no section for %s", kind.Name)
		}
	}
	for _, want := range []string{"| `optional` | `true` or `false` |", "| `require` | map of texts |", "The fields of `inbound`:"} {
		if !strings.Contains(out.String(), want) {
			t.Errorf("the reference lacks %q", want)
		}
	}
}
