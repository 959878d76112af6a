package bootstrap

import (
	"bytes"
	"context"
	"errors"
	"io"
	"strings"
	"testing"

	"github.com/strongroom/strongroom/internal/node"
	"github.com/strongroom/strongroom/internal/snapshot"
)

// memory is a store of one object.
type memory struct {
	content []byte
	lax     bool // it does not know the condition
	fails   error
	refuses int // so many writes are refused though nothing is there, as of two at the same time
}

func (m *memory) Name() string { return "memory:" }

func (m *memory) PutNew(_ context.Context, _ string, content []byte) error {
	switch {
	case m.fails != nil:
		return m.fails
	case m.refuses > 0:
		m.refuses--
		return snapshot.ErrThere
	case m.content != nil && !m.lax:
		return snapshot.ErrThere
	}
	m.content = content
	return nil
}

func (m *memory) Open(context.Context, string) (io.ReadCloser, error) {
	if m.content == nil {
		return nil, snapshot.ErrMissing
	}
	return io.NopCloser(bytes.NewReader(m.content)), nil
}

func TestLockStore(t *testing.T) {
	for name, c := range map[string]struct {
		store *memory
		want  string // of the error; empty: the lock is taken
	}{
		"free":            {&memory{}, ""},
		"from before":     {&memory{content: []byte("n1")}, ""},
		"of another":      {&memory{content: []byte("n2")}, `another node ("n2") has the lock memory:initialised-by`},
		"two at once":     {&memory{refuses: 2}, ""},
		"always refused":  {&memory{refuses: 9}, "it is there, and it is not"},
		"no condition":    {&memory{lax: true}, "it is no lock"},
		"not reached":     {&memory{fails: errors.New("no route to host")}, "cannot take the lock memory:initialised-by: no route to host"},
		"written by lies": {&memory{content: []byte{}}, `another node ("") has the lock`},
	} {
		t.Run(name, func(t *testing.T) {
			r := &run{Options: Options{Identity: node.Identity{NodeID: "n1"}, LockStore: c.store}, config: &node.Bootstrap{}}
			err := r.claim(t.Context())
			if c.want == "" && err != nil || c.want != "" && (err == nil || !strings.Contains(err.Error(), c.want)) {
				t.Errorf("got %v, want %q", err, c.want)
			}
			if err == nil && string(c.store.content) != "n1" {
				t.Errorf("the lock says %q", c.store.content)
			}
		})
	}
}
