package image

import (
	"bytes"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"syscall"
)

// hinted is an error with a way out.
type hinted struct {
	error
	hint string
}

// WithHint gives an error a way out, for Hint.
func WithHint(err error, hint string) error { return withHint(err, hint) }

func withHint(err error, hint string) error {
	if hint == "" {
		return err
	}
	return &hinted{err, hint}
}

func (h *hinted) Unwrap() error { return h.error }

// Hint is the way out of an error, for a line of its own below the error; "" when there is none to give.
func Hint(err error) string {
	var h *hinted
	if errors.As(err, &h) {
		return h.hint
	}
	return ""
}

// toolError is a tool that failed, with what it said last.
type toolError struct {
	Tool   string
	Output string
	Err    error
}

func (e *toolError) Error() string {
	if e.Output == "" {
		return fmt.Sprintf("%s: %v", e.Tool, e.Err)
	}
	return fmt.Sprintf("%s: %v: %s", e.Tool, e.Err, e.Output)
}

func (e *toolError) Unwrap() error { return e.Err }

// noSpace reports whether an error is a full file system, in our own writes or in a tool's.
func noSpace(err error) bool {
	var tool *toolError
	return errors.Is(err, syscall.ENOSPC) || errors.As(err, &tool) && strings.Contains(tool.Output, "No space left on device")
}

// tail passes a tool's output to the log line by line and keeps the last lines for an error.
type tail struct {
	log   *slog.Logger
	name  string
	part  []byte
	lines []string
}

const tailLines = 12

func (t *tail) Write(p []byte) (int, error) {
	t.part = append(t.part, p...)
	for {
		i := bytes.IndexAny(t.part, "\r\n")
		if i < 0 {
			return len(p), nil
		}
		t.line(string(t.part[:i]))
		t.part = t.part[i+1:]
	}
}

func (t *tail) line(s string) {
	if s = strings.TrimSpace(s); s == "" {
		return
	}
	t.log.Debug(s, "tool", t.name)
	t.lines = append(t.lines, s)
	if len(t.lines) > tailLines {
		t.lines = t.lines[1:]
	}
}

func (t *tail) flush() {
	t.line(string(t.part))
	t.part = nil
}

func (t *tail) text() string { return strings.Join(t.lines, "; ") }
