package bootstrap

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strings"

	"github.com/strongroom/strongroom/internal/node"
)

// Clouds is how the secret stores of clouds are asked: as the instance that this node is.
type Clouds struct {
	HTTP *http.Client // believes the image's authorities
	// AWS signs a request to a service in a region.
	AWS    func(ctx context.Context, request *http.Request, body []byte, region, service string) error
	Google func(ctx context.Context) (node.Secret, error)
	Azure  func(ctx context.Context, resource, client string) (node.Secret, error)
}

// maxAnswer holds an envelope in base64, with what is around it.
const maxAnswer = 1 << 20

// cloudError is a refusal in the store's own words.
type cloudError struct {
	status     int
	code, said string
}

func (e *cloudError) Error() string {
	text := fmt.Sprintf("HTTP status %d", e.status)
	for _, more := range []string{e.code, e.said} {
		if more = strings.Join(strings.Fields(more), " "); more != "" {
			text += ": " + more[:min(len(more), 200)]
		}
	}
	return text
}

// code is the store's own name of a refusal; empty: the error is another one.
func code(err error) string {
	var e *cloudError
	if errors.As(err, &e) {
		return e.code
	}
	return ""
}

// ask sends JSON and reads JSON. authorize puts on the request who asks; explain finds code and words in a refusal.
func (c Clouds) ask(ctx context.Context, method, address string, in, out any, authorize func(*http.Request, []byte) error, explain func([]byte) (code, said string)) error {
	var body []byte
	if in != nil {
		var err error
		if body, err = json.Marshal(in); err != nil {
			return err
		}
	}
	request, err := http.NewRequestWithContext(ctx, method, address, bytes.NewReader(body))
	if err != nil {
		return err
	}
	if in != nil {
		request.Header.Set("Content-Type", "application/json")
	}
	if err := authorize(request, body); err != nil {
		return err
	}
	request.Header.Set("User-Agent", "strongroom-hostcheck") // no part of a signature
	answer, err := c.HTTP.Do(request)
	if err != nil {
		var where *url.Error // the whole URL once more
		if errors.As(err, &where) {
			err = where.Err
		}
		return node.Hinted(err, "may this node reach "+request.URL.Host+"? (firewall.egress)")
	}
	defer answer.Body.Close()
	b, err := io.ReadAll(io.LimitReader(answer.Body, maxAnswer))
	if err != nil {
		return err
	}
	if answer.StatusCode != http.StatusOK {
		code, said := explain(b)
		return &cloudError{answer.StatusCode, code, said}
	}
	if out == nil {
		return nil
	}
	if json.Unmarshal(b, out) != nil {
		return errors.New("cannot read the answer")
	}
	return nil
}

// needs says of a refusal what the instance lacks.
func needs(err error, may string) error {
	var e *cloudError
	if errors.As(err, &e) && (e.status == http.StatusForbidden || e.status == http.StatusUnauthorized || strings.HasPrefix(e.code, "AccessDenied")) {
		return node.Hinted(err, "the identity of this instance must be able to do "+may)
	}
	return err
}

func bearer(token node.Secret) func(*http.Request, []byte) error {
	return func(r *http.Request, _ []byte) error {
		r.Header.Set("Authorization", "Bearer "+string(token.Reveal()))
		return nil
	}
}
