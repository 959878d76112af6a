package plugin

import (
	"io"
	"sync"
)

// lateWriter passes on what is written to it, one write at a time, until it is closed. What comes later goes nowhere.
type lateWriter struct {
	mu  sync.Mutex
	out io.Writer
}

func (w *lateWriter) Write(p []byte) (int, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.out == nil {
		return len(p), nil
	}
	return w.out.Write(p)
}

func (w *lateWriter) close() {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.out = nil
}

// writeAll writes bytes where a function that writes is asked for.
func writeAll(content []byte) func(io.Writer) error {
	return func(w io.Writer) error {
		_, err := w.Write(content)
		return err
	}
}
