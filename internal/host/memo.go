package host

import (
	"context"
	"errors"
	"sync"
)

// memo asks once and keeps the answer, an error included. What it does not keep is the end of the
// asker's own patience: one check that ran out of time says nothing about the host.
type memo[T any] struct {
	mu    sync.Mutex
	done  bool
	value T
	err   error
}

func (m *memo[T]) get(ask func() (T, error)) (T, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.done {
		return m.value, m.err
	}
	value, err := ask()
	if errors.Is(err, context.Canceled) || errors.Is(err, context.DeadlineExceeded) {
		return value, err
	}
	m.value, m.err, m.done = value, err, true
	return value, err
}
