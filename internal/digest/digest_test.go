package digest_test

import (
	"context"
	"errors"
	"io"
	"strings"
	"testing"

	"github.com/strongroom/strongroom/internal/digest"
)

func TestOf(t *testing.T) {
	sum, size, err := digest.Of(t.Context(), strings.NewReader("abc"))
	if want := "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"; err != nil || sum != want || size != 3 {
		t.Errorf("%s, %d, %v; want %s of 3 bytes", sum, size, err, want)
	}
}

// A read that never ends does, with its context.
func TestEndsWithItsContext(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	_, _, err := digest.Of(ctx, &endless{left: 5, cancel: cancel})
	if !errors.Is(err, context.Canceled) {
		t.Errorf("%v, want %v", err, context.Canceled)
	}
}

type endless struct {
	left   int
	cancel func()
}

func (e *endless) Read(p []byte) (int, error) {
	if e.left--; e.left == 0 {
		e.cancel()
	}
	if e.left < -5 {
		return 0, io.ErrUnexpectedEOF // it goes on without its context
	}
	return len(p), nil
}
