// Package cloudapi asks the HTTP APIs of clouds, and of what is compatible with them: authorized for each request, patient with one that answers
// "later", and with the refusals in the service's own words. The clouds' libraries would do it too: docs/decisions/small-agent.md.
package cloudapi

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strings"
	"time"
	"unicode"

	"github.com/strongroom/strongroom/internal/node"
)

// ErrMissing says that there is no such object.
var ErrMissing = errors.New("it is not there")

// Asker asks one service.
type Asker struct {
	HTTP  *http.Client                                 // follows no redirect
	Pause func(ctx context.Context, attempt int) error // before another try, counted from 1. Nil: a second, four, sixteen
	// Authorize puts on a request who asks. It is called for each: tokens and keys end.
	Authorize func(ctx context.Context, request *http.Request, body []byte) error
	Refusal   func(body []byte) *Refused // reads the service's words
	Hint      func(*Refused) error       // nil: none
}

// Question is one request.
type Question struct {
	Method, URL string
	Header      http.Header
	Body        []byte
	Also        int // a status outside 200 to 299 that is a success too
}

// Refused is an answer that is no success, in the service's words.
type Refused struct {
	Status     int
	Code, Said string // one line each
}

func (r *Refused) Error() string {
	text := fmt.Sprintf("HTTP status %d", r.Status)
	for _, more := range []string{r.Code, r.Said} {
		if more != "" {
			text += ": " + more
		}
	}
	return text
}

// Code is the service's own name of a refusal; empty: the error is another one.
func Code(err error) string {
	var r *Refused
	if errors.As(err, &r) {
		return r.Code
	}
	return ""
}

func (r *Refused) passing() bool {
	return r.Status == http.StatusTooManyRequests || r.Status >= 500 || r.Code == "RequestTimeout"
}

// OneLine keeps a service's words short.
func OneLine(text string) string {
	text = strings.Join(strings.FieldsFunc(text, func(r rune) bool { return unicode.IsSpace(r) || !unicode.IsPrint(r) }), " ")
	if runes := []rune(text); len(runes) > 200 {
		return string(runes[:200]) + "…"
	}
	return text
}

// Bearer shows a token.
func Bearer(token func(context.Context) (node.Secret, error)) func(context.Context, *http.Request, []byte) error {
	return func(ctx context.Context, request *http.Request, _ []byte) error {
		secret, err := token(ctx)
		if err == nil {
			request.Header.Set("Authorization", "Bearer "+string(secret.Reveal()))
		}
		return err
	}
}

const (
	// tries of one request to a service that answers "later", or not at all.
	tries      = 4
	maxRefusal = 16 << 10
)

// Ask sends a request until it is answered with something else than "later", and gives an answer that is a success. The caller closes it.
func (a *Asker) Ask(ctx context.Context, q Question) (*http.Response, error) {
	for attempt := 1; ; attempt++ {
		answer, err := a.once(ctx, q)
		var said *Refused
		if err == nil || ctx.Err() != nil || attempt == tries || errors.Is(err, ErrMissing) || errors.As(err, &said) && !said.passing() {
			return answer, err
		}
		pause := a.Pause
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

func (a *Asker) once(ctx context.Context, q Question) (*http.Response, error) {
	request, err := http.NewRequestWithContext(ctx, q.Method, q.URL, bytes.NewReader(q.Body))
	if err != nil {
		return nil, errors.New("the place is no URL") // the error has the URL of an upload, which is worth a token
	}
	for name, values := range q.Header {
		request.Header[name] = values
	}
	if err := a.Authorize(ctx, request, q.Body); err != nil {
		return nil, err
	}
	request.Header.Set("User-Agent", "strongroom-hostcheck") // no part of a signature
	answer, err := a.HTTP.Do(request)
	if err != nil {
		var where *url.Error // the whole URL again
		if errors.As(err, &where) {
			err = where.Err
		}
		return nil, node.Hinted(err, "may this node reach "+request.URL.Host+"? (firewall.egress)")
	}
	if answer.StatusCode/100 == 2 || q.Also != 0 && answer.StatusCode == q.Also {
		return answer, nil
	}
	defer answer.Body.Close()
	content, _ := io.ReadAll(io.LimitReader(answer.Body, maxRefusal))
	said := a.Refusal(content)
	said.Status = answer.StatusCode
	switch {
	case said.Status == http.StatusNotFound && said.Code != "NoSuchBucket" && said.Code != "ContainerNotFound":
		return nil, fmt.Errorf("%w: %w", ErrMissing, said)
	case a.Hint == nil:
		return nil, said
	}
	return nil, a.Hint(said)
}

// Remove deletes an object; one that is gone is as good.
func (a *Asker) Remove(ctx context.Context, place string, header http.Header) error {
	answer, err := a.Ask(ctx, Question{Method: http.MethodDelete, URL: place, Header: header})
	if errors.Is(err, ErrMissing) {
		return nil
	}
	if err != nil {
		return err
	}
	return answer.Body.Close()
}
