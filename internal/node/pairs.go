package node

import (
	"errors"
	"fmt"
	"strconv"
	"strings"
	"unicode"
)

// parsePairs reads "key=value key=value …" as hashicorp/go-discover does (config.go): what holds a space, a quote, a backslash or an
// equals sign stands in double quotes, and is then a string of Go. The library itself links every cloud's SDK. Errors name keys and
// never a value, which may be a secret in the wrong place.
func parsePairs(text string) (map[string]string, error) {
	// The library splits at spaces only, and trims the rest in some places and not in others.
	if strings.ContainsFunc(text, func(r rune) bool { return r != ' ' && (unicode.IsSpace(r) || unicode.IsControl(r)) }) {
		return nil, errors.New("only plain spaces may stand between the keys")
	}
	pairs := map[string]string{}
	for rest := strings.TrimSpace(text); rest != ""; {
		key, after, err := cutWord(rest)
		if err != nil {
			return nil, fmt.Errorf("where a key should stand: %w", err)
		}
		if _, twice := pairs[key]; twice {
			return nil, fmt.Errorf("%s is there twice", key)
		}
		after, found := strings.CutPrefix(strings.TrimLeft(after, " "), "=")
		if !found {
			return nil, fmt.Errorf("%s has no value: an equals sign is missing", key)
		}
		if pairs[key], rest, err = cutWord(after); err != nil {
			return nil, fmt.Errorf("%s: %w", key, err)
		}
	}
	return pairs, nil
}

// cutWord takes a key or a value off the front.
func cutWord(text string) (word, rest string, err error) {
	text = strings.TrimLeft(text, " ")
	switch {
	case text == "":
		return "", "", errors.New("nothing is there")
	case text[0] == '=':
		return "", "", errors.New("an equals sign is there; a value that has one stands in double quotes")
	case text[0] != '"':
		end := strings.IndexAny(text, "= ")
		if end < 0 {
			end = len(text)
		}
		return text[:end], text[end:], nil
	}
	for i := 1; i < len(text); i++ {
		switch text[i] {
		case '\\':
			i++
		case '"':
			word, err := strconv.Unquote(text[:i+1])
			if err != nil {
				return "", "", errors.New("what stands in quotes has an escape that is none")
			}
			return word, text[i+1:], nil
		}
	}
	return "", "", errors.New("a quote is not closed")
}
