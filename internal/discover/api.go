package discover

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strings"
	"time"

	"github.com/strongroom/strongroom/internal/cloudapi"
	"github.com/strongroom/strongroom/internal/node"
	"github.com/strongroom/strongroom/internal/serverapi"
)

const (
	// askTime bounds one request with its answer: the joiner gives the whole search ten seconds.
	askTime = 5 * time.Second
	// maxPage is a page of Azure, the largest of the three: a thousand interfaces of four kilobytes.
	maxPage = 4 << 20
	// maxRefusal is enough for a code and a sentence.
	maxRefusal = 16 << 10
	// maxMetadata is the largest of the documents about this instance: Azure's holds its user data.
	maxMetadata = 256 << 10
	userAgent   = "strongroom-hostcheck"
)

// api asks a cloud.
type api struct{ http *http.Client }

func (f *Finder) newAPI() api {
	client := serverapi.NewClient(&tls.Config{MinVersion: tls.VersionTLS12, RootCAs: f.Authorities}, askTime, 1)
	if f.Dial != nil {
		client.Transport.(*http.Transport).DialContext = f.Dial
	}
	return api{client}
}

// ask sends one request and has the answer read, as it comes in. explain finds code and words in a refusal.
func (a api) ask(request *http.Request, read func(io.Reader) error, explain func([]byte) (code, said string)) error {
	request.Header.Set("User-Agent", userAgent)
	answer, err := a.http.Do(request)
	if err != nil {
		var where *url.Error // the whole URL once more
		if errors.As(err, &where) {
			if where.Timeout() {
				return errors.New("no answer in time: may this node reach it? (firewall.egress)")
			}
			err = where.Err
		}
		return err
	}
	defer answer.Body.Close()
	if answer.StatusCode != http.StatusOK {
		// A redirect is one too: where the list is, the cloud has documented.
		body, _ := io.ReadAll(io.LimitReader(answer.Body, maxRefusal))
		code, said := explain(body)
		return &cloudapi.Refused{Status: answer.StatusCode, Code: cloudapi.OneLine(code), Said: cloudapi.OneLine(said)}
	}
	if err := read(http.MaxBytesReader(nil, answer.Body, maxPage)); err != nil {
		return fmt.Errorf("cannot read the answer: %w", err)
	}
	return nil
}

// about asks the metadata service for a document that must be there. absent says what it means when it is not.
func (f *Finder) about(ctx context.Context, on node.Platform, path, what, absent string) ([]byte, error) {
	status, content, err := f.Instance.Ask(ctx, on, path, maxMetadata)
	switch {
	case err != nil:
		return nil, fmt.Errorf("cannot learn %s: %w", what, err)
	case status == http.StatusOK && len(content) > 0:
		return content, nil
	case status == http.StatusTooManyRequests, status >= 500:
		absent = "" // it says nothing
	}
	err = fmt.Errorf("cannot learn %s: the metadata service answers with HTTP status %d and %d bytes", what, status, len(content))
	if absent != "" {
		err = node.Hinted(err, absent)
	}
	return nil, err
}

// sameName compares names of instances; Azure's differ in case from answer to answer.
func sameName(a, b string) bool { return a != "" && strings.EqualFold(a, b) }
