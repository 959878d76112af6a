package inspect_test

import (
	"bytes"
	"encoding/json"
	"strings"
	"testing"

	"github.com/santhosh-tekuri/jsonschema/v6"

	"github.com/strongroom/strongroom/internal/inspect"
)

// matches validates a document against a published schema.
func matches(t *testing.T, published string, document any) {
	t.Helper()
	schema, err := jsonschema.NewCompiler().Compile(published)
	if err != nil {
		t.Fatal(err)
	}
	var out bytes.Buffer
	if err := inspect.WriteJSON(&out, document); err != nil {
		t.Fatal(err)
	}
	value, err := jsonschema.UnmarshalJSON(bytes.NewReader(out.Bytes()))
	if err != nil {
		t.Fatal(err)
	}
	if err := schema.Validate(value); err != nil {
		t.Errorf("%v\n%s", err, out.Bytes())
	}
	var object map[string]any
	if err := json.Unmarshal(out.Bytes(), &object); err != nil {
		t.Fatal(err)
	}
	object["more"] = 1
	if schema.Validate(object) == nil {
		t.Error("the schema takes anything")
	}
}

func TestInspectionsMatchThePublishedSchema(t *testing.T) {
	s := build(t, recipe{version: "1.0.0"})
	good := look(t, s.disk, s.options())
	matches(t, "../../docs/schema/inspection-v1.json", good)
	s.write(t, s.at["root"]+96, []byte{0xff, 0xff})
	broken := look(t, s.disk, inspect.Options{})
	matches(t, "../../docs/schema/inspection-v1.json", broken)
	for _, i := range []*inspect.Inspection{good, broken} {
		var out bytes.Buffer
		if err := inspect.WriteText(&out, i, false); err != nil {
			t.Fatal(err)
		}
		if want := "verdict " + strings.ToUpper(string(i.Verdict)) + ":"; !strings.Contains(out.String(), want) {
			t.Errorf("want %q in\n%s", want, out.String())
		}
	}
}
