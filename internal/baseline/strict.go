package baseline

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"maps"
	"reflect"
	"slices"
	"strings"

	"go.yaml.in/yaml/v3"
)

// lineError carries the line of a mistake up to where the file's name is known.
type lineError struct {
	line int
	err  error
}

func (e *lineError) Error() string { return fmt.Sprintf("line %d: %v", e.line, e.err) }
func (e *lineError) Unwrap() error { return e.err }

// inFile puts the file's name before a mistake.
func inFile(file string, err error) error {
	var le *lineError
	if errors.As(err, &le) {
		return fmt.Errorf("%s: %w", place(file, le.line), le.err)
	}
	return fmt.Errorf("%s: %w", file, err)
}

// document gives the root of a file that holds exactly one YAML document. The library would pass over a second
// one without a word.
func document(file string, content []byte) (*yaml.Node, error) {
	d := yaml.NewDecoder(bytes.NewReader(content))
	var doc, second yaml.Node
	switch err := d.Decode(&doc); {
	case errors.Is(err, io.EOF) || err == nil && len(doc.Content) == 0:
		return nil, fmt.Errorf("%s: empty file", place(file, 1))
	case err != nil:
		return nil, syntaxError(file, err)
	}
	switch err := d.Decode(&second); {
	case err == nil:
		return nil, fmt.Errorf("%s: a second document in one file", place(file, second.Line))
	case !errors.Is(err, io.EOF):
		return nil, syntaxError(file, err)
	}
	return doc.Content[0], nil
}

// syntaxError puts the library's "yaml: line 3: …" in the form of our own errors.
func syntaxError(file string, err error) error {
	text := strings.TrimPrefix(err.Error(), "yaml: ")
	var line int
	if n, scanErr := fmt.Sscanf(text, "line %d:", &line); scanErr == nil && n == 1 {
		_, text, _ = strings.Cut(text, ": ")
		return fmt.Errorf("%s: %s", place(file, line), text)
	}
	return fmt.Errorf("%s: %s", file, text)
}

// decodeStrict is yaml.Node.Decode that refuses keys which the target does not have. The library
// offers that for whole documents only, and we need it below a node, with its line.
func decodeStrict(node *yaml.Node, target any) error {
	if err := knownKeys(node, reflect.TypeOf(target)); err != nil {
		return err
	}
	if err := node.Decode(target); err != nil {
		var te *yaml.TypeError
		if errors.As(err, &te) {
			return &lineError{node.Line, errors.New(strings.Join(te.Errors, "; "))}
		}
		return &lineError{node.Line, err}
	}
	return nil
}

var nodeType = reflect.TypeFor[yaml.Node]()

func knownKeys(node *yaml.Node, t reflect.Type) error {
	for t.Kind() == reflect.Pointer {
		t = t.Elem()
	}
	if t == nodeType {
		return nil
	}
	switch {
	case node.Kind == yaml.AliasNode:
		return &lineError{node.Line, errors.New("aliases are not allowed: a control must be readable in one place")}
	case node.Kind == yaml.SequenceNode && t.Kind() == reflect.Slice:
		for _, item := range node.Content {
			if item.ShortTag() == "!!null" { // which the library drops, and with it the order
				return &lineError{item.Line, errors.New("an empty entry of a list")}
			}
			if err := knownKeys(item, t.Elem()); err != nil {
				return err
			}
		}
	case node.Kind == yaml.MappingNode && t.Kind() == reflect.Map:
		for i := 1; i < len(node.Content); i += 2 {
			if err := knownKeys(node.Content[i], t.Elem()); err != nil {
				return err
			}
		}
	case node.Kind == yaml.MappingNode && t.Kind() == reflect.Struct:
		fields := map[string]reflect.Type{}
		for i := range t.NumField() {
			name, _, _ := strings.Cut(t.Field(i).Tag.Get("yaml"), ",")
			fields[name] = t.Field(i).Type
		}
		for i := 0; i+1 < len(node.Content); i += 2 {
			key := node.Content[i]
			ft, ok := fields[key.Value]
			if !ok {
				return &lineError{key.Line, fmt.Errorf("unknown key %q (known: %s)", key.Value,
					strings.Join(slices.Sorted(maps.Keys(fields)), ", "))}
			}
			if err := knownKeys(node.Content[i+1], ft); err != nil {
				return err
			}
		}
	}
	return nil
}
