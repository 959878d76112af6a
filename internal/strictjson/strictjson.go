// Package strictjson decodes JSON documents of which every field is known: one that is not known is an error,
// since to skip it could be to skip a statement. It decodes large arrays element by element, and many small
// values through one decoder, for hostcheck's memory is counted.
package strictjson

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
)

// Each decodes the elements of an array one at a time.
type Each func(*json.Decoder) error

// Object decodes one JSON object whose fields go to the targets of their names: pointers, or an [Each] for an
// array. A field that has no target or comes twice is an error; one that is missing is not. What follows the object is
// not looked at.
func Object(r io.Reader, targets map[string]any) error {
	d := json.NewDecoder(r)
	d.DisallowUnknownFields()
	if err := expect(d, '{', "an object"); err != nil {
		return err
	}
	seen := map[string]bool{}
	for d.More() {
		token, err := d.Token()
		if err != nil {
			return err
		}
		name, _ := token.(string)
		target, known := targets[name]
		if !known {
			return fmt.Errorf("json: unknown field %q", name)
		}
		if seen[name] {
			return fmt.Errorf("json: field %q comes twice", name)
		}
		seen[name] = true
		if each, isArray := target.(Each); isArray {
			err = elements(d, each)
		} else {
			err = d.Decode(target)
		}
		if err != nil {
			return fmt.Errorf("%s: %w", name, err)
		}
	}
	_, err := d.Token()
	return err
}

func elements(d *json.Decoder, each Each) error {
	if err := expect(d, '[', "an array"); err != nil {
		return err
	}
	for i := 0; d.More(); i++ {
		if err := each(d); err != nil {
			return fmt.Errorf("element %d: %w", i, err)
		}
	}
	_, err := d.Token()
	return err
}

func expect(d *json.Decoder, delimiter json.Delim, what string) error {
	token, err := d.Token()
	if err == io.EOF {
		return io.ErrUnexpectedEOF
	}
	if err == nil && token != delimiter {
		err = fmt.Errorf("json: not %s", what)
	}
	return err
}

// Decoder decodes one value after the other, each from bytes of its own. The zero value is ready for use.
type Decoder struct {
	input   bytes.Reader
	decoder *json.Decoder
}

// Decode decodes the first value in raw.
func (d *Decoder) Decode(raw []byte, target any) error {
	d.input.Reset(raw)
	if d.decoder == nil {
		d.decoder = json.NewDecoder(&d.input)
		d.decoder.DisallowUnknownFields()
	}
	err := d.decoder.Decode(target)
	if err != nil || d.decoder.More() {
		d.decoder = nil // it remembers an error, and what it has read already
	}
	return err
}
