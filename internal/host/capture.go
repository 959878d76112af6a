package host

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"strings"
	"unicode/utf8"
)

// CaptureSchema names the format of a recording.
const CaptureSchema = "strongroom.capture/v1"

// capture is a recording of a host: what was asked, and what the host answered.
type capture struct {
	Schema  string      `json:"schema"`
	Host    CaptureHost `json:"host"`
	Answers []answer    `json:"answers"` // by method, then by argument
}

// CaptureHost says which machine was recorded, for the reader of a fixture.
type CaptureHost struct {
	Kernel       string `json:"kernel,omitempty"`
	Distribution string `json:"distribution,omitempty"` // PRETTY_NAME of os-release
	ImageVersion string `json:"image_version,omitempty"`
}

// answer is one question with a value or an error.
type answer struct {
	question
	Value json.RawMessage `json:"value,omitempty"`
	Error *recordedError  `json:"error,omitempty"`
}

// question is a method of Host with its argument; none has more than one.
type question struct {
	Method   string `json:"method"`
	Argument string `json:"argument,omitempty"`
}

func (q question) String() string { return q.Method + "(" + q.Argument + ")" }

func compareQuestions(a, b question) int {
	if c := strings.Compare(a.Method, b.Method); c != 0 {
		return c
	}
	return strings.Compare(a.Argument, b.Argument)
}

// recordedError is an error of a recorded host. Kind keeps the distinctions that checks make.
type recordedError struct {
	Kind string `json:"kind"`
	Text string `json:"text"`
}

func (e *recordedError) Error() string { return e.Text }

// Is answers for the error that the recorded host gave.
func (e *recordedError) Is(target error) bool {
	kind, ok := errorKinds[e.Kind]
	return ok && errors.Is(kind, target)
}

var errorKinds = map[string]error{
	"not-exist":   fs.ErrNotExist,
	"permission":  fs.ErrPermission,
	"invalid":     fs.ErrInvalid,
	"not-running": ErrNotRunning,
	"too-large":   ErrTooLarge,
	"no-token":    ErrNoToken,
	"sealed":      ErrSealed,
}

func recordError(err error) *recordedError {
	out := &recordedError{Kind: "other", Text: redactText(err.Error())}
	for kind, target := range errorKinds {
		if errors.Is(err, target) {
			out.Kind = kind
		}
	}
	return out
}

// fileContent is the value of ReadFile: text where the bytes are text, so that a person can
// read and review a fixture.
type fileContent struct {
	Text   *string `json:"text,omitempty"`
	Base64 []byte  `json:"base64,omitempty"`
}

func newFileContent(b []byte) fileContent {
	if utf8.Valid(b) {
		s := string(b)
		return fileContent{Text: &s}
	}
	return fileContent{Base64: b}
}

// redactValue replaces secrets in every string of a value, whatever its type: a new field of a
// fact is covered without anybody thinking of it.
func redactValue(v any) (json.RawMessage, error) {
	b, err := json.Marshal(v)
	if err != nil {
		return nil, err
	}
	var tree any
	decoder := json.NewDecoder(bytes.NewReader(b))
	decoder.UseNumber() // limits need all 64 bits
	if err := decoder.Decode(&tree); err != nil {
		return nil, err
	}
	return json.Marshal(redactTree("", tree))
}

// secretProperties are unit properties that carry values of credentials.
var secretProperties = map[string]bool{"SetCredential": true, "SetCredentialEncrypted": true}

func redactTree(key string, v any) any {
	switch v := v.(type) {
	case string:
		if secretProperties[key] && v != "" && v != "[]" {
			return redacted
		}
		if key == "base64" { // not text, and a match inside would break it
			return v
		}
		return redactText(v)
	case []any:
		for i := range v {
			v[i] = redactTree(key, v[i])
		}
	case map[string]any:
		for k := range v {
			v[k] = redactTree(k, v[k])
		}
	}
	return v
}

func errBadCapture(err error) error {
	return fmt.Errorf("cannot read capture: %w", err)
}
