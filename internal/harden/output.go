package harden

import (
	"bytes"
	"errors"
	"iter"
	"log/slog"
	"maps"
	"strings"
)

// fact is a line that a script has for the plugin: "strongroom: KEY=VALUE".
type fact struct{ key, value string }

// output takes what a script writes: its facts, and everything else for the log and, when it fails, for the error.
type output struct {
	log   *slog.Logger
	part  []byte
	facts []fact
	last  []string
}

const (
	maxLine   = 64 << 10 // of a line that never ends
	maxFacts  = 20000
	lastLines = 8
)

func (o *output) Write(p []byte) (int, error) {
	o.part = append(o.part, p...)
	for {
		i := bytes.IndexByte(o.part, '\n')
		if i < 0 {
			if len(o.part) > maxLine {
				return 0, errors.New("the machine writes a line without end")
			}
			return len(p), nil
		}
		o.line(string(o.part[:i]))
		o.part = o.part[i+1:]
	}
}

func (o *output) close() {
	if len(o.part) > 0 {
		o.line(string(o.part))
		o.part = nil
	}
}

func (o *output) line(s string) {
	s = strings.TrimRight(s, "\r ")
	if text, ours := strings.CutPrefix(s, "strongroom: "); ours {
		if key, value, ok := strings.Cut(text, "="); ok && len(o.facts) < maxFacts {
			o.facts = append(o.facts, fact{key, value})
			return
		}
	}
	if s == "" {
		return
	}
	o.log.Debug(s, "from", "the machine")
	if o.last = append(o.last, s); len(o.last) > lastLines {
		o.last = o.last[1:]
	}
}

// all gives the values of a key in order.
func (o *output) all(key string) []string {
	var out []string
	for _, f := range o.facts {
		if f.key == key {
			out = append(out, f.value)
		}
	}
	return out
}

// first gives the first value of a key.
func (o *output) first(key string) string {
	for _, f := range o.facts {
		if f.key == key {
			return f.value
		}
	}
	return ""
}

func mapKeys[V any](m map[string]V) iter.Seq[string] { return maps.Keys(m) }
