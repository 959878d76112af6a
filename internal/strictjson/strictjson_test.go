package strictjson_test

import (
	"bytes"
	"encoding/json"
	"fmt"
	"maps"
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
	var d strictjson.Decoder
	r := strictjson.NewReader([]byte(text))
	err := r.Object(func(field string) (err error) {
		switch field {
		case "name":
			name, err = r.String()
			return err
		case "list":
			return r.Array(func() error {
				raw, err := r.Raw()
				if err != nil {
					return err
				}
				var e element
				err = d.Decode(raw, &e)
				list = append(list, e)
				return err
			})
		}
		return strictjson.Unknown(field)
	})
	if err == nil {
		err = r.End()
	}
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
		`{"name": "x",}`:                 "invalid character '}'",
		`{"name" "x"}`:                   "not a colon",
		`{"name": "x"} {}`:               "after the document",
		`{"list": [{"a": 1},]}`:          "invalid character ']'",
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

func TestManyFieldsAreRefused(t *testing.T) {
	r := strictjson.NewReader([]byte(`{"x": 1` + manyFields(200) + "}"))
	err := r.Object(func(string) error {
		_, err := r.Raw()
		return err
	})
	if err == nil || !strings.Contains(err.Error(), "more than 100 fields") {
		t.Error(err)
	}
}

func TestDeepNestingIsRefused(t *testing.T) {
	for depth, want := range map[int]bool{10000: true, 10001: false} {
		text := []byte(strings.Repeat("[", depth) + strings.Repeat("]", depth))
		if _, err := strictjson.NewReader(text).Raw(); (err == nil) != want || json.Valid(text) != want {
			t.Errorf("%d: %v", depth, err)
		}
	}
}

func manyFields(n int) string {
	var b strings.Builder
	for i := range n {
		fmt.Fprintf(&b, `, "f%d": 1`, i)
	}
	return b.String()
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

// FuzzReader: a value is taken if and only if encoding/json takes it, and a string is the one that encoding/json reads.
func FuzzReader(f *testing.F) {
	for _, seed := range []string{
		`{"a": [1, -2.5e+3, true, false, null, {}, []], "b": {"c": "d"}}`, ` "x" `, ``, `{`, `[1,]`, `{"a":1,}`, `{"a" 1}`, `{1: 2}`, `[1 2]`, `01`, `1x`, `nul`, `[}`, `{]`, `,`, `"`,
		`"\n\t\r\b\f\"\\\/\u00e9\u0000"`, `"\ud83d\ude00"`, `"\ud83d"`, `"\ude00x"`, `"\u12"`, `"\u1\u0010 34"`, `"\x"`, `"\`, `"\\"`, "\"\x10\"", "\"\\u\x10\x11\x12\x13\"", "\"\xff\\n\"", "\"\xed\xa0\x80\"", "\"\u2028é\"",
	} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, raw []byte) {
		r := strictjson.NewReader(raw)
		value, err := r.Raw()
		if err == nil {
			err = r.End()
		}
		if (err == nil) != json.Valid(raw) {
			t.Fatalf("%q: %v, and encoding/json says %t", raw, err, json.Valid(raw))
		}
		if err == nil && !bytes.Equal(value, bytes.Trim(raw, " \t\r\n")) {
			t.Errorf("%q: %q", raw, value)
		}
		if err != nil || value[0] != '"' {
			return
		}
		var want string
		if err := json.Unmarshal(raw, &want); err != nil {
			t.Fatal(err)
		}
		s, err := strictjson.NewReader(raw).String()
		b, bytesErr := strictjson.NewReader(raw).Bytes()
		if err != nil || bytesErr != nil || s != want || string(b) != want {
			t.Errorf("%q: %q %v, %q %v, and encoding/json says %q", raw, s, err, b, bytesErr, want)
		}
	})
}

// FuzzStringMap: what is accepted is what encoding/json reads from the same bytes.
func FuzzStringMap(f *testing.F) {
	for _, seed := range []string{`{}`, ` {"a": "b", "c\n": "\":"}`, ` null`, `nul`, `{"a": "1", "a": "2"}`, `{"a": null}`, `{"a": 1}`, `{"a": "b",}`, `{"a" "b"}`, `["a"]`, `{"a`} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, raw []byte) {
		r := strictjson.NewReader(raw)
		got, err := r.StringMap()
		if err == nil {
			err = r.End()
		}
		if err != nil {
			return
		}
		var want map[string]string
		if err := json.Unmarshal(raw, &want); err != nil || !maps.Equal(got, want) || (got == nil) != (want == nil) {
			t.Errorf("%q: %v, and encoding/json says %v, %v", raw, got, want, err)
		}
	})
}

func TestStringMapIsStrict(t *testing.T) {
	for _, text := range []string{`{"a": "1", "a": "2"}`, `{"a": null}`, `{"a": 1}`, `[]`, `"a"`, ``, `{"a": "b"`} {
		if got, err := strictjson.NewReader([]byte(text)).StringMap(); err == nil {
			t.Errorf("%s: %v", text, got)
		}
	}
	if got, err := strictjson.NewReader([]byte(`{"a": "b", "c": "\n"}`)).StringMap(); err != nil || !maps.Equal(got, map[string]string{"a": "b", "c": "\n"}) {
		t.Error(got, err)
	}
}
