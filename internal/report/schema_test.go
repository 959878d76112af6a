package report_test

import (
	"bytes"
	"encoding/json"
	"os"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/santhosh-tekuri/jsonschema/v6"

	"github.com/strongroom/strongroom/internal/check"
	"github.com/strongroom/strongroom/internal/report"
)

// published is the schema that consumers of the JSON read.
const published = "../../docs/schema/report-v1.json"

func schema(t testing.TB) *jsonschema.Schema {
	t.Helper()
	c := jsonschema.NewCompiler()
	c.AssertFormat()
	s, err := c.Compile(published)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func write(t testing.TB, d *report.Document, f report.Format, o report.Options) []byte {
	t.Helper()
	var b bytes.Buffer
	if err := report.Write(&b, d, f, o); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

func decode(t testing.TB, content []byte) any {
	t.Helper()
	v, err := jsonschema.UnmarshalJSON(bytes.NewReader(content))
	if err != nil {
		t.Fatal(err)
	}
	return v
}

func TestJSONValidates(t *testing.T) {
	s := schema(t)
	joining := report.New(good(), "1.2.3")
	joining.Join = &report.Join{State: "refused", Since: time.Unix(1_700_000_000, 0).UTC(), Reason: "another seal", Hint: "give it the cluster's"}
	if err := s.Validate(decode(t, write(t, joining, report.JSON, report.Options{}))); err != nil {
		t.Errorf("joining: %v", err)
	}
	page := string(write(t, joining, report.HTML, report.Options{}))
	for _, want := range []string{"refused", "another seal", "give it the cluster&#39;s"} {
		if !strings.Contains(page, want) {
			t.Errorf("the page does not say %q", want)
		}
	}
	for name, r := range map[string]*check.Report{"fail": result(), "good": good(), "empty": {Verdict: check.Unknown}} {
		if err := s.Validate(decode(t, write(t, report.New(r, "1.2.3"), report.JSON, report.Options{}))); err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// A schema that says yes to everything would say yes to the reports too.
func TestSchemaRefuses(t *testing.T) {
	s := schema(t)
	whole := string(write(t, report.New(result(), "1.2.3"), report.JSON, report.Options{}))
	for name, change := range map[string][2]string{
		"another schema":  {`"strongroom.report/v1"`, `"strongroom.report/v2"`},
		"no verdict":      {`"verdict": "fail",`, ``},
		"a verdict":       {`"verdict": "fail"`, `"verdict": "waived"`},
		"a stage":         {`"stage": "boot"`, `"stage": "noon"`},
		"an outcome":      {`"outcome": "unknown"`, `"outcome": "fine"`},
		"a severity":      {`"severity": "must"`, `"severity": "may"`},
		"a layer":         {`"layer": "on-disk"`, `"layer": "off-disk"`},
		"a level":         {`"level": "extended"`, `"level": "extreme"`},
		"a time":          {`"2026-03-04T05:06:07Z"`, `"yesterday"`},
		"a waiver's end":  {`"2026-06-01T12:30:00Z"`, `"never"`},
		"a duration":      {`"seconds": 0.01234`, `"seconds": "0.01234"`},
		"a count":         {`"waived": 1`, `"waived": -1`},
		"a counted word":  {`"waived": 1`, `"wavering": 1`},
		"an id":           {`"id": "clock-waived"`, `"id": "Clock"`},
		"no waiver owner": {`"owner": "lab & co",`, ``},
		"null":            {`"refs": []`, `"refs": null`},
	} {
		mutated := strings.Replace(whole, change[0], change[1], 1)
		if mutated == whole {
			t.Errorf("%s: %s does not occur", name, change[0])
		} else if err := s.Validate(decode(t, []byte(mutated))); err == nil {
			t.Errorf("%s: valid", name)
		}
	}
}

// Every member that is written is described, and nothing else: by the types, not by an example.
func TestSchemaFollowsTheTypes(t *testing.T) {
	content, err := os.ReadFile(published)
	if err != nil {
		t.Fatal(err)
	}
	var root map[string]any
	if err := json.Unmarshal(content, &root); err != nil {
		t.Fatal(err)
	}
	follow(t, root, root, reflect.TypeFor[report.Document](), "report")
}

func follow(t *testing.T, root, s map[string]any, typ reflect.Type, at string) {
	t.Helper()
	if ref, ok := s["$ref"].(string); ok {
		s = root["$defs"].(map[string]any)[strings.TrimPrefix(ref, "#/$defs/")].(map[string]any)
	}
	switch {
	case typ.Kind() == reflect.Pointer:
		follow(t, root, s, typ.Elem(), at)
	case typ.Kind() == reflect.Slice:
		items, ok := s["items"].(map[string]any)
		if !ok {
			t.Errorf("%s: a list without items", at)
			return
		}
		follow(t, root, items, typ.Elem(), at+"[]")
	case typ.Kind() == reflect.Struct && typ.String() != "time.Time":
		described, _ := s["properties"].(map[string]any)
		var required, members []string
		for _, f := range reflect.VisibleFields(typ) {
			name, options, _ := strings.Cut(f.Tag.Get("json"), ",")
			members = append(members, name)
			if options != "omitempty" {
				required = append(required, name)
			}
			if p, ok := described[name].(map[string]any); ok {
				follow(t, root, p, f.Type, at+"."+name)
			} else {
				t.Errorf("%s.%s is written and not described", at, name)
			}
		}
		for name := range described {
			if !slices.Contains(members, name) {
				t.Errorf("%s.%s is described and never written", at, name)
			}
		}
		var asked []string
		for _, name := range asList(s["required"]) {
			asked = append(asked, name.(string))
		}
		slices.Sort(asked)
		slices.Sort(required)
		if !slices.Equal(asked, required) {
			t.Errorf("%s: required are %v, always written are %v", at, asked, required)
		}
	}
}

func asList(v any) []any {
	list, _ := v.([]any)
	return list
}
