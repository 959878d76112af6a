package main

import (
	"bytes"
	"encoding/json"
	"fmt"
	"slices"
	"strings"

	"github.com/strongroom/strongroom/internal/baseline"
	"github.com/strongroom/strongroom/internal/control"
	"github.com/strongroom/strongroom/internal/resource"
)

// describe says what a resource wants in words that an auditor reads, as an entry of a Markdown list. Every kind
// can be told by its fields; some have a better sentence.
func describe(r control.Resource) (string, error) {
	name := "`" + r.Key().Name + "`"
	switch r := r.(type) {
	case *resource.Absent:
		return name + " does not exist", nil
	case *resource.Sysctl:
		if r.Optional {
			return name + " is `" + r.Value + "`, on a kernel that has it", nil
		}
		return name + " is `" + r.Value + "`", nil
	case *resource.KernelModule:
		if r.State == "blocked" {
			return name + " is not loaded and cannot be", nil
		}
		return name + " is " + r.State, nil
	case *resource.UnitState:
		if r.State == "masked" {
			return name + " is masked or absent, and does not run", nil
		}
		return name + " is " + r.State, nil
	case *resource.Procedure:
		return r.Reason, nil
	}
	raw, err := baseline.Fields(r)
	if err != nil {
		return "", err
	}
	d := json.NewDecoder(strings.NewReader(raw))
	d.UseNumber()
	fields, err := fieldsOf(d)
	if err != nil {
		return "", fmt.Errorf("cannot describe %s: %w", r.Key(), err)
	}
	fields = slices.DeleteFunc(fields, func(f field) bool { return f.value == nil || f.names(r.Key()) })
	out := name
	for i, f := range fields {
		separator := ", "
		if i == 0 {
			separator = ": "
		}
		out += separator + f.String()
	}
	for _, f := range fields {
		out += f.block()
	}
	return out, nil
}

// field is one field of a resource in the order of its declaration.
type field struct {
	name  string
	value any // string, json.Number, bool, nil, []any of these, or []field
}

// names reports whether the field only repeats the resource's name, or a part of it.
func (f field) names(key control.Key) bool {
	text, isText := f.value.(string)
	if !isText || text == "" {
		return false
	}
	part := slices.Contains([]string{"name", "unit", "path", "config", "family", "value"}, f.name) && strings.Contains(key.Name, text)
	return text == key.Name || part && f.name != "value" || part && strings.HasSuffix(key.Name, "="+text)
}

// long is a map or a list that reads better line by line.
func (f field) long() bool {
	switch v := f.value.(type) {
	case []field:
		return len(v) > 3
	case []any:
		if len(v) > 0 {
			_, objects := v[0].([]field)
			return objects
		}
	}
	return false
}

// fieldsOf reads one JSON object with its fields in order, which a map would lose.
func fieldsOf(d *json.Decoder) ([]field, error) {
	if _, err := d.Token(); err != nil {
		return nil, err
	}
	var fields []field
	for d.More() {
		token, err := d.Token()
		if err != nil {
			return nil, err
		}
		var raw json.RawMessage
		if err := d.Decode(&raw); err != nil {
			return nil, err
		}
		value, err := valueOf(raw)
		if err != nil {
			return nil, err
		}
		fields = append(fields, field{token.(string), value})
	}
	return fields, nil
}

func valueOf(raw json.RawMessage) (any, error) {
	d := json.NewDecoder(bytes.NewReader(raw))
	d.UseNumber()
	switch raw[0] {
	case '{':
		return fieldsOf(d)
	case '[':
		var list []json.RawMessage
		if err := d.Decode(&list); err != nil {
			return nil, err
		}
		values := make([]any, len(list))
		for i, item := range list {
			var err error
			if values[i], err = valueOf(item); err != nil {
				return nil, err
			}
		}
		return values, nil
	}
	var v any
	err := d.Decode(&v)
	return v, err
}

func (f field) String() string {
	name := strings.ReplaceAll(f.name, "_", " ")
	if f.long() {
		return name + " as below"
	}
	switch v := f.value.(type) {
	case bool:
		if v {
			return name
		}
		return "not " + name
	case string:
		if strings.Contains(v, "\n") {
			return name + " as below"
		}
	case []any:
		if len(v) == 0 {
			return "no " + name
		}
	}
	return name + " " + inline(f.value)
}

// inline writes a value on one line.
func inline(value any) string {
	switch v := value.(type) {
	case []any:
		parts := make([]string, len(v))
		for i, item := range v {
			parts[i] = inline(item)
		}
		return strings.Join(parts, ", ")
	case []field:
		parts := make([]string, len(v))
		for i, f := range v {
			parts[i] = "`" + f.name + "`"
			if text := inline(f.value); text != "``" {
				parts[i] += " = " + text
			} else {
				parts[i] += " empty"
			}
		}
		return strings.Join(parts, ", ")
	case string:
		if v == "" {
			return "empty"
		}
	}
	return fmt.Sprintf("`%v`", value)
}

// block is what does not fit into the line: the text of a file, or a list of rules.
func (f field) block() string {
	var b strings.Builder
	switch v := f.value.(type) {
	case string:
		if strings.Contains(v, "\n") {
			b.WriteString("\n\n  ```\n")
			for line := range strings.Lines(strings.TrimSuffix(v, "\n")) {
				b.WriteString("  " + strings.TrimSuffix(line, "\n") + "\n")
			}
			b.WriteString("  ```\n")
		}
	case []any:
		if !f.long() {
			break
		}
		fmt.Fprintf(&b, "\n  - %s:", strings.ReplaceAll(f.name, "_", " "))
		for _, item := range v {
			var parts []string
			for _, of := range item.([]field) {
				if of.value != "" {
					parts = append(parts, of.String())
				}
			}
			fmt.Fprintf(&b, "\n    - %s", strings.Join(parts, ", "))
		}
	case []field:
		if !f.long() {
			break
		}
		fmt.Fprintf(&b, "\n  - %s:", strings.ReplaceAll(f.name, "_", " "))
		for _, of := range v {
			fmt.Fprintf(&b, "\n    - %s", inline([]field{of}))
		}
	}
	return b.String()
}
