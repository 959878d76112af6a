package node

import (
	"fmt"
	"io"
	"log/slog"
)

const redacted = "[redacted]"

// Secret is a value that must not be seen: it prints, logs and encodes as a placeholder. Only
// Reveal gives it away, so that every place where it can leak is found by that name.
type Secret struct {
	// A closure, because fmt calls no method of an unexported field: it would print the bytes
	// of a slice, and for some verbs those behind a pointer; of a function it prints the address.
	reveal func() []byte
}

// NewSecret wraps a value. The caller must not change it afterwards.
func NewSecret(value []byte) Secret { return Secret{func() []byte { return value }} }

// Reveal gives the value itself.
func (s Secret) Reveal() []byte {
	if s.reveal == nil {
		return nil
	}
	return s.reveal()
}

// Format covers every verb of fmt, %x and %#v included.
func (Secret) Format(f fmt.State, _ rune) { _, _ = io.WriteString(f, redacted) }

// String gives the placeholder.
func (Secret) String() string { return redacted }

// LogValue gives the placeholder to log/slog.
func (Secret) LogValue() slog.Value { return slog.StringValue(redacted) }

// MarshalText gives the placeholder to encoders of text: JSON, YAML, XML, flags.
func (Secret) MarshalText() ([]byte, error) { return []byte(redacted), nil }

// MarshalJSON gives the placeholder to encoding/json.
func (Secret) MarshalJSON() ([]byte, error) { return []byte(`"` + redacted + `"`), nil }
