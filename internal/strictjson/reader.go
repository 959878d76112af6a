package strictjson

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"slices"
	"strconv"
	"unicode/utf16"
	"unicode/utf8"
)

// Reader goes through one JSON document that lies in memory, once and value by value, and checks the grammar as it goes.
// encoding/json looks at each byte once more on every level at which a value is passed on as it is; in a recording
// that holds a baseline, that was most of the time of a verification.
type Reader struct {
	raw []byte
	at  int
}

// NewReader reads raw, which must not change any more.
func NewReader(raw []byte) *Reader { return &Reader{raw: raw} }

// maxDepth bounds the recursion, as encoding/json does.
const maxDepth = 10000

// maxMembers is more than any object has of which all fields are known.
const maxMembers = 100

// Object reads an object. member is called at each value and must read it. A name that comes twice is an error; one
// that is not known is for member to refuse, with [Unknown].
func (r *Reader) Object(member func(name string) error) error {
	if err := r.open('{', "an object"); err != nil {
		return err
	}
	var few [16]string
	seen := few[:0]
	for first := true; ; first = false {
		if done, err := r.next(first, '}'); done || err != nil {
			return err
		}
		name, err := r.name()
		if err != nil {
			return err
		}
		if slices.Contains(seen, name) {
			return fmt.Errorf("json: field %q comes twice", name)
		}
		if len(seen) == maxMembers {
			return fmt.Errorf("json: more than %d fields", maxMembers)
		}
		seen = append(seen, name)
		if err := member(name); err != nil {
			return fmt.Errorf("%s: %w", name, err)
		}
	}
}

// Unknown refuses a member of an object.
func Unknown(name string) error { return fmt.Errorf("json: unknown field %q", name) }

// Array reads an array. element is called at each value and must read it.
func (r *Reader) Array(element func() error) error {
	if err := r.open('[', "an array"); err != nil {
		return err
	}
	for i := 0; ; i++ {
		done, err := r.next(i == 0, ']')
		if done {
			return nil
		}
		if err == nil {
			err = element()
		}
		if err != nil {
			return fmt.Errorf("element %d: %w", i, err)
		}
	}
}

// String reads a string.
func (r *Reader) String() (string, error) {
	quoted, escaped, err := r.quoted()
	if err != nil {
		return "", err
	}
	if inner := quoted[1 : len(quoted)-1]; !escaped && utf8.Valid(inner) {
		return string(inner), nil
	}
	b, err := unquote(quoted)
	return string(b), err
}

// Bytes reads a string, into bytes of its own.
func (r *Reader) Bytes() ([]byte, error) {
	quoted, _, err := r.quoted()
	if err != nil {
		return nil, err
	}
	return unquote(quoted)
}

// Strings reads an array of strings.
func (r *Reader) Strings() ([]string, error) {
	var out []string
	err := r.Array(func() error {
		s, err := r.String()
		out = append(out, s)
		return err
	})
	return out, err
}

// StringMap reads an object of strings, of any number of members. A name that comes twice is an error. null is no map.
func (r *Reader) StringMap() (map[string]string, error) {
	r.space()
	if rest := r.raw[r.at:]; bytes.HasPrefix(rest, []byte("null")) {
		_, err := r.Raw()
		return nil, err
	}
	ahead := *r
	object, err := ahead.Raw()
	if err != nil {
		return nil, err
	}
	out := make(map[string]string, bytes.Count(object, []byte(`":`)))
	if err := r.open('{', "an object"); err != nil {
		return nil, err
	}
	for first := true; ; first = false {
		if done, err := r.next(first, '}'); done || err != nil {
			return out, err
		}
		name, err := r.name()
		if err != nil {
			return nil, err
		}
		if _, twice := out[name]; twice {
			return nil, fmt.Errorf("json: field %q comes twice", name)
		}
		if out[name], err = r.String(); err != nil {
			return nil, fmt.Errorf("%s: %w", name, err)
		}
	}
}

// Raw reads a value of any kind and gives the bytes of the document that it is written with.
func (r *Reader) Raw() ([]byte, error) {
	r.space()
	start := r.at
	if err := r.skip(0); err != nil {
		return nil, err
	}
	return r.raw[start:r.at:r.at], nil
}

// End is an error if anything follows the values that were read.
func (r *Reader) End() error {
	if r.space(); r.at < len(r.raw) {
		return r.unexpected("after the document")
	}
	return nil
}

func (r *Reader) open(delimiter byte, what string) error {
	r.space()
	if r.at == len(r.raw) {
		return io.ErrUnexpectedEOF
	}
	if r.raw[r.at] != delimiter {
		return fmt.Errorf("json: not %s", what)
	}
	r.at++
	return nil
}

// next goes to the next entry of an object or array, or past its end.
func (r *Reader) next(first bool, end byte) (done bool, err error) {
	r.space()
	if r.at == len(r.raw) {
		return false, io.ErrUnexpectedEOF
	}
	switch c := r.raw[r.at]; {
	case c == end:
		r.at++
		return true, nil
	case first:
		return false, nil
	case c != ',':
		return false, r.unexpected("where a comma or an end is due")
	}
	r.at++
	if r.space(); r.at < len(r.raw) && r.raw[r.at] == end {
		return false, r.unexpected("after a comma")
	}
	return false, nil
}

// name reads the name of a member and its colon.
func (r *Reader) name() (string, error) {
	name, err := r.String()
	if err != nil {
		return "", err
	}
	return name, r.open(':', "a colon after a name")
}

// skip goes over one value.
func (r *Reader) skip(depth int) error {
	r.space()
	if r.at == len(r.raw) {
		return io.ErrUnexpectedEOF
	}
	switch c := r.raw[r.at]; c {
	case '"':
		_, _, err := r.quoted()
		return err
	case '{', '[':
		if depth == maxDepth {
			return errors.New("json: nested too deep")
		}
		r.at++
		for first := true; ; first = false {
			if done, err := r.next(first, c+2); done || err != nil { // both ends are two after their beginnings
				return err
			}
			if c == '{' {
				if _, _, err := r.quoted(); err != nil {
					return err
				}
				if err := r.open(':', "a colon after a name"); err != nil {
					return err
				}
			}
			if err := r.skip(depth + 1); err != nil {
				return err
			}
		}
	}
	// Numbers, true, false and null are short, so encoding/json may say what they are.
	start := r.at
	for r.at < len(r.raw) && bytes.IndexByte([]byte(" \t\r\n,:]}"), r.raw[r.at]) < 0 {
		r.at++
	}
	if !json.Valid(r.raw[start:r.at]) {
		r.at = start
		return r.unexpected("where a value is due")
	}
	return nil
}

// quoted goes over a string and gives it with its quotation marks, and says whether anything in it is escaped.
func (r *Reader) quoted() (quoted []byte, escaped bool, err error) {
	if err := r.open('"', "a string"); err != nil {
		return nil, false, err
	}
	start := r.at - 1
	for r.at < len(r.raw) {
		switch c := r.raw[r.at]; {
		case c == '"':
			r.at++
			return r.raw[start:r.at], escaped, nil
		case c < ' ':
			return nil, false, r.unexpected("in a string")
		case c == '\\':
			escaped = true
			r.at++
			if err := r.escape(); err != nil {
				return nil, false, err
			}
		default:
			r.at++
		}
	}
	return nil, false, io.ErrUnexpectedEOF
}

// escape goes over what follows a backslash.
func (r *Reader) escape() error {
	if r.at == len(r.raw) {
		return io.ErrUnexpectedEOF
	}
	c := r.raw[r.at]
	switch c {
	case '"', '\\', '/', 'b', 'f', 'n', 'r', 't', 'u':
		r.at++
	default:
		return r.unexpected("in a string escape")
	}
	for digits := 0; c == 'u' && digits < 4; digits++ {
		if r.at == len(r.raw) {
			return io.ErrUnexpectedEOF
		}
		if !hexadecimal(r.raw[r.at]) {
			return r.unexpected("in a string escape")
		}
		r.at++
	}
	return nil
}

func hexadecimal(c byte) bool {
	return '0' <= c && c <= '9' || 'a' <= c && c <= 'f' || 'A' <= c && c <= 'F'
}

func (r *Reader) space() {
	for r.at < len(r.raw) && (r.raw[r.at] == ' ' || r.raw[r.at] == '\n' || r.raw[r.at] == '\t' || r.raw[r.at] == '\r') {
		r.at++
	}
}

func (r *Reader) unexpected(where string) error {
	return fmt.Errorf("json: invalid character %q at byte %d %s", r.raw[r.at], r.at, where)
}

// unquote gives the value of a string whose grammar has been checked.
func unquote(quoted []byte) ([]byte, error) {
	in := quoted[1 : len(quoted)-1]
	if !utf8.Valid(in) {
		return unquoteSlowly(quoted)
	}
	out := make([]byte, 0, len(in)-bytes.Count(in, []byte(`\`))/2) // each escape takes at least one byte more than its value
	for {
		plain := bytes.IndexByte(in, '\\')
		if plain < 0 {
			return append(out, in...), nil
		}
		out = append(out, in[:plain]...)
		c := in[plain+1]
		in = in[plain+2:]
		switch c {
		case 'n':
			out = append(out, '\n')
		case 't':
			out = append(out, '\t')
		case 'r':
			out = append(out, '\r')
		case 'b':
			out = append(out, '\b')
		case 'f':
			out = append(out, '\f')
		case 'u':
			unit, err := strconv.ParseUint(string(in[:4]), 16, 16)
			if err != nil {
				return nil, err
			}
			if utf16.IsSurrogate(rune(unit)) {
				return unquoteSlowly(quoted)
			}
			out = utf8.AppendRune(out, rune(unit))
			in = in[4:]
		default: // a quotation mark, a backslash or a slash, which stand for themselves
			out = append(out, c)
		}
	}
}

// unquoteSlowly leaves to encoding/json what is rare: halves of a pair, and bytes that are not UTF-8.
func unquoteSlowly(quoted []byte) ([]byte, error) {
	var s string
	err := json.Unmarshal(quoted, &s)
	return []byte(s), err
}
