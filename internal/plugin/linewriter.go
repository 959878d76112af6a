package plugin

import (
	"bytes"
	"io"
	"sync"
)

// lineWriter hands on whole lines, so that the two streams of a command do not end up in each other's lines: sudo asks for
// its password on one of them, without a line break, before the first line comes on the other.
type lineWriter struct {
	mu   sync.Mutex
	out  io.Writer
	part []byte
}

// longestPart bounds what is kept of a line that does not end.
const longestPart = 64 << 10

func (w *lineWriter) Write(p []byte) (int, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.part = append(w.part, p...)
	end := bytes.LastIndexByte(w.part, '\n') + 1
	if end == 0 && len(w.part) > longestPart {
		end = len(w.part)
	}
	if end == 0 {
		return len(p), nil
	}
	whole := w.part[:end]
	w.part = bytes.Clone(w.part[end:])
	if _, err := w.out.Write(whole); err != nil {
		return 0, err
	}
	return len(p), nil
}

// flush hands on what is left as a line of its own.
func (w *lineWriter) flush() error {
	w.mu.Lock()
	defer w.mu.Unlock()
	if len(w.part) == 0 {
		return nil
	}
	_, err := w.out.Write(append(w.part, '\n'))
	w.part = nil
	return err
}
