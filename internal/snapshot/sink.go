package snapshot

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"

	"github.com/strongroom/strongroom/internal/cloudapi"
)

// Sink is one place that archives are put to. Names have no slash.
type Sink interface {
	Name() string // for messages and metrics; no secret
	// Create begins an object. Nobody finds it before Commit.
	Create(ctx context.Context, name string) (Upload, error)
	// List gives the objects, in any order.
	List(ctx context.Context) ([]Object, error)
	Open(ctx context.Context, name string) (io.ReadCloser, error)
	Remove(ctx context.Context, name string) error
}

// Upload is an object on its way.
type Upload interface {
	io.Writer
	Commit() error // everything is there for good
	Abort()        // nothing is left behind, as far as the place can still be reached
}

// Object is something in a sink.
type Object struct {
	Name string
	Size int64
}

// ErrMissing says that there is no such object.
var ErrMissing = cloudapi.ErrMissing

// ErrThere says that there is one already.
var ErrThere = errors.New("it is there already")

// there tells the refusal of a conditional request from others. S3 refuses one of two at the same time with a word of its own, Azure with 409.
func there(answer *http.Response, err error) error {
	if err == nil {
		return answer.Body.Close()
	}
	var said *cloudapi.Refused
	if errors.As(err, &said) && (said.Status == http.StatusPreconditionFailed || said.Code == "ConditionalRequestConflict" || said.Code == "BlobAlreadyExists") {
		return fmt.Errorf("%w: %w", ErrThere, said)
	}
	return err
}

// put writes a small object.
func put(ctx context.Context, s Sink, name string, content []byte) error {
	u, err := s.Create(ctx, name)
	if err != nil {
		return err
	}
	if _, err := u.Write(content); err != nil {
		u.Abort()
		return err
	}
	if err := u.Commit(); err != nil {
		u.Abort()
		return err
	}
	return nil
}

// fan writes to several uploads. One that fails is left out from then on; when none is left it fails itself.
type fan struct{ branches []*branch }

type branch struct {
	sink   Sink
	upload Upload // nil: it has failed
	err    error
}

func (f *fan) Write(p []byte) (int, error) {
	alive := 0
	for _, b := range f.branches {
		if b.upload == nil {
			continue
		}
		if _, err := b.upload.Write(p); err != nil {
			b.fail(err)
			continue
		}
		alive++
	}
	if alive == 0 {
		return 0, errors.New("no sink takes it")
	}
	return len(p), nil
}

func (b *branch) fail(err error) {
	b.err = err
	if b.upload != nil {
		b.upload.Abort()
		b.upload = nil
	}
}
