package strictjson_test

import (
	"bytes"
	"encoding/json"
	"reflect"
	"strings"
	"testing"

	"github.com/strongroom/strongroom/internal/strictjson"
)

type element struct {
	A int    `json:"a"`
	B string `json:"b"`
}

func object(text string) (string, []element, error) {
	var name string
	var list []element
	err := strictjson.Object(strings.NewReader(text), map[string]any{
		"name": &name,
		"list": strictjson.Each(func(d *json.Decoder) error {
			var e element
			err := d.Decode(&e)
			list = append(list, e)
			return err
		}),
	})
	return name, list, err
}

func TestObject(t *testing.T) {
	name, list, err := object(`{"list": [{"a": 1}, {"b": "x", "a": 2}], "name": "n"}`)
	if err != nil || name != "n" || !reflect.DeepEqual(list, []element{{A: 1}, {2, "x"}}) {
		t.Errorf("%q, %v, %v", name, list, err)
	}
	if _, list, err := object(`{"list": []}`); err != nil || list != nil {
		t.Errorf("an empty array: %v, %v", list, err)
	}
	for text, want := range map[string]string{
		``:                               "unexpected EOF",
		`{`:                              "EOF",
		`[]`:                             "not an object",
		`"x"`:                            "not an object",
		`{"other": 1}`:                   `unknown field "other"`,
		`{"Name": "x"}`:                  `unknown field "Name"`,
		`{"list": [{"a": 1, "c": 2}]}`:   `unknown field "c"`,
		`{"list": {}}`:                   "list: json: not an array",
		`{"list": null}`:                 "list: json: not an array",
		`{"list": [{"a": "x"}]}`:         "element 0",
		`{"list": [{"a": 1}`:             "EOF",
		`{"name": "x", "name": "y"}`:     `"name" comes twice`,
		`{"name": 1}`:                    "name: ",
		`{"name": "x"`:                   "EOF",
		`{"name": "x" "list": []}`:       "invalid character",
		`{"list": [{"a": 1}, {"a": 1]]}`: "element 1",
	} {
		if _, _, err := object(text); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v, want %q", text, err, want)
		}
	}
}

func TestDecoder(t *testing.T) {
	var d strictjson.Decoder
	for _, c := range []struct {
		text  string
		want  element
		fails bool
	}{
		{`{"a": 1}`, element{A: 1}, false},
		{`{"a": 2, "c": 3}`, element{}, true},
		{`{"b": "after an error"}`, element{B: "after an error"}, false},
		{`{"a": `, element{}, true},
		{``, element{}, true},
		{`{"a": 3} {"a": 4}`, element{A: 3}, false},
		{`{"a": 5}`, element{A: 5}, false},
		{`{"a": 6}  `, element{A: 6}, false},
		{`{"b": "` + strings.Repeat("x", 5000) + `"}`, element{B: strings.Repeat("x", 5000)}, false},
		{`{"a": 7}`, element{A: 7}, false},
	} {
		var got element
		if err := d.Decode([]byte(c.text), &got); (err != nil) != c.fails || err == nil && got != c.want {
			t.Errorf("%.40s: %v, %v", c.text, got, err)
		}
	}
}

// FuzzObject: what is accepted is what encoding/json reads from the same bytes.
func FuzzObject(f *testing.F) {
	for _, seed := range []string{`{"list": [{"a": 1}, {"b": "x"}], "name": "n"}`, `{}`, `{"name": "x"} trailing`, `{"list": [], "list": []}`, `{"name": null}`, "{\"name\": \"\xff\"}"} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, raw []byte) {
		name, list, err := object(string(raw))
		if err != nil {
			return
		}
		var want struct {
			Name string    `json:"name"`
			List []element `json:"list"`
		}
		d := json.NewDecoder(bytes.NewReader(raw))
		d.DisallowUnknownFields()
		if err := d.Decode(&want); err != nil {
			t.Fatalf("%q: accepted, and encoding/json says %v", raw, err)
		}
		if name != want.Name || len(list) != len(want.List) {
			t.Errorf("%q: %q %v, and encoding/json says %+v", raw, name, list, want)
		}
		for i := range list {
			if list[i] != want.List[i] {
				t.Errorf("%q: %v, and encoding/json says %v", raw, list[i], want.List[i])
			}
		}
	})
}
