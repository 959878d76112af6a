// Package strictjson decodes JSON documents of which every field is known: one that is not known is an error,
// since to skip it could be to skip a statement. It goes through large ones in place, and decodes many small
// values through one decoder, for hostcheck's time and memory are counted.
package strictjson

import (
	"bytes"
	"encoding/json"
)

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
