package strictjson

import (
	"bytes"
	"encoding/json"
	"errors"
	"io"
)

// Document decodes text that is one value and nothing behind it.
func Document(text []byte, target any) error {
	decoder := json.NewDecoder(bytes.NewReader(text))
	decoder.DisallowUnknownFields()
	if err := decoder.Decode(target); err != nil {
		return err
	}
	if _, err := decoder.Token(); !errors.Is(err, io.EOF) {
		return errors.New("something follows it")
	}
	return nil
}
