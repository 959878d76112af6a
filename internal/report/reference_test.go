package report_test

import (
	"encoding/json"
	"fmt"
	"maps"
	"os"
	"slices"
	"strings"
	"testing"
)

// member is what a schema says of one.
type member struct {
	Description string            `json:"description"`
	Type        any               `json:"type"`
	Const       any               `json:"const"`
	Enum        []any             `json:"enum"`
	Required    []string          `json:"required"`
	Properties  map[string]member `json:"properties"`
	Items       *member           `json:"items"`
	Ref         string            `json:"$ref"`
	Additional  json.RawMessage   `json:"additionalProperties"`
	Definitions map[string]member `json:"$defs"`
}

// The reference of a report's fields is made from its schema, which a test of its own holds to be what is written.
func TestReferenceOfReports(t *testing.T) {
	text, err := os.ReadFile("../../docs/schema/report-v1.json")
	if err != nil {
		t.Fatal(err)
	}
	var root member
	if err := json.Unmarshal(text, &root); err != nil {
		t.Fatal(err)
	}
	var b strings.Builder
	fmt.Fprintf(&b, "<!-- Made from docs/schema/report-v1.json: make generate. -->\n\n# Report: fields\n\n%s\n\n| field | is | meaning |\n|---|---|---|\n", root.Description)
	resolve := func(m member) member {
		if name, ok := strings.CutPrefix(m.Ref, "#/$defs/"); ok {
			found := root.Definitions[name]
			if m.Description != "" {
				found.Description = m.Description
			}
			return found
		}
		return m
	}
	var rows func(prefix string, m member)
	rows = func(prefix string, m member) {
		for _, name := range slices.Sorted(maps.Keys(m.Properties)) {
			p, path := resolve(m.Properties[name]), prefix+name
			kind := fmt.Sprint(p.Type)
			var words []string
			for _, w := range p.Enum {
				words = append(words, fmt.Sprintf("`%v`", w))
			}
			switch {
			case p.Const != nil:
				kind = fmt.Sprintf("`%v`", p.Const)
			case len(words) > 0:
				kind = strings.Join(words, ", ")
			case p.Items != nil:
				kind = "list"
			}
			if !slices.Contains(m.Required, name) {
				kind += ", optional"
			}
			fmt.Fprintf(&b, "| `%s` | %s | %s |\n", path, kind, strings.ReplaceAll(p.Description, "|", "\\|"))
			if p.Items != nil {
				rows(path+"[].", resolve(*p.Items))
			} else {
				rows(path+".", p)
			}
		}
	}
	rows("", root)
	const file = "../../docs/reference/report.md"
	if *update {
		if err := os.WriteFile(file, []byte(b.String()), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	if got, err := os.ReadFile(file); err != nil || string(got) != b.String() {
		t.Errorf("docs/reference/report.md is not what the schema says (%v): make generate", err)
	}
}
