package snapshot

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"time"

	"github.com/strongroom/strongroom/internal/node"
)

// tries of one request to a store that answers "later", or not at all.
const tries = 4

// patiently sends a request until it is answered with something else than "later", and gives an answer that is a success. The caller
// closes it. pause waits before another try; attempt counts from 1. Nil: a second, four, sixteen.
func patiently(ctx context.Context, pause func(ctx context.Context, attempt int) error, once func() (*http.Response, error)) (*http.Response, error) {
	for attempt := 1; ; attempt++ {
		answer, err := once()
		var said *refused
		if err == nil || ctx.Err() != nil || attempt == tries || errors.Is(err, ErrMissing) || errors.As(err, &said) && !said.passing() {
			return answer, err
		}
		if pause == nil {
			pause = wait
		}
		if pause(ctx, attempt) != nil {
			return nil, err
		}
	}
}

func wait(ctx context.Context, attempt int) error {
	t := time.NewTimer(time.Second << (2 * (attempt - 1)))
	defer t.Stop()
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-t.C:
		return nil
	}
}

// send gives whatever answer there is.
func send(client *http.Client, request *http.Request) (*http.Response, error) {
	answer, err := client.Do(request)
	if err != nil {
		var where *url.Error // the whole URL again
		if errors.As(err, &where) {
			err = where.Err
		}
		return nil, err
	}
	return answer, nil
}

// bearer asks a store that takes a token of the machine's identity: Google Cloud Storage and Azure Blob.
type bearer struct {
	HTTP  *http.Client                               // follows no redirect
	Token func(context.Context) (node.Secret, error) // asked for each request: a token ends
	Pause func(ctx context.Context, attempt int) error
	// refusal reads the store's words.
	refusal func(body []byte) *refused
	hint    func(*refused) error
}

// question is one request. go on with a status outside 200 to 299 that is named in also.
type question struct {
	method, url string
	header      http.Header
	body        []byte
	also        int
}

func (b *bearer) ask(ctx context.Context, q question) (*http.Response, error) {
	return patiently(ctx, b.Pause, func() (*http.Response, error) { return b.once(ctx, q) })
}

func (b *bearer) once(ctx context.Context, q question) (*http.Response, error) {
	token, err := b.Token(ctx)
	if err != nil {
		return nil, err
	}
	request, err := http.NewRequestWithContext(ctx, q.method, q.url, bytes.NewReader(q.body))
	if err != nil {
		return nil, errors.New("the place is no URL") // the error has the URL of an upload, which is worth a token
	}
	for name, values := range q.header {
		request.Header[name] = values
	}
	request.Header.Set("Authorization", "Bearer "+string(token.Reveal()))
	answer, err := send(b.HTTP, request)
	if err != nil {
		return nil, err
	}
	if answer.StatusCode/100 == 2 || q.also != 0 && answer.StatusCode == q.also {
		return answer, nil
	}
	defer answer.Body.Close()
	content, _ := io.ReadAll(io.LimitReader(answer.Body, maxRefusal))
	said := b.refusal(content)
	said.status = answer.StatusCode
	if said.status == http.StatusNotFound && said.code != "NoSuchBucket" && said.code != "ContainerNotFound" {
		return nil, fmt.Errorf("%w: %w", ErrMissing, said)
	}
	return nil, b.hint(said)
}

// remove deletes an object; one that is gone is as good.
func (b *bearer) remove(ctx context.Context, place string, header http.Header) error {
	answer, err := b.ask(ctx, question{method: http.MethodDelete, url: place, header: header})
	if errors.Is(err, ErrMissing) {
		return nil
	}
	if err != nil {
		return err
	}
	return answer.Body.Close()
}
