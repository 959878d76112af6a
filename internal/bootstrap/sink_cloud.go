package bootstrap

import (
	"context"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"strings"

	"github.com/strongroom/strongroom/internal/cloudapi"
	"github.com/strongroom/strongroom/internal/node"
)

// Clouds is how the secret stores of clouds are asked: as the instance that this node is.
type Clouds struct {
	HTTP  *http.Client                                 // believes the image's authorities
	Pause func(ctx context.Context, attempt int) error // before another try; nil outside tests
	// AWS signs a request to a service in a region.
	AWS    func(ctx context.Context, request *http.Request, body []byte, region, service string) error
	Google func(ctx context.Context) (node.Secret, error)
	Azure  func(ctx context.Context, resource, client string) (node.Secret, error)
}

// maxAnswer holds an envelope in base64, with what is around it.
const maxAnswer = 1 << 20

// ask sends JSON and reads JSON. authorize puts on the request who asks; explain finds code and words in a refusal.
func (c Clouds) ask(ctx context.Context, method, address string, in, out any, authorize func(context.Context, *http.Request, []byte) error, explain func([]byte) (code, said string)) error {
	var body []byte
	header := http.Header{}
	if in != nil {
		var err error
		if body, err = json.Marshal(in); err != nil {
			return err
		}
		header.Set("Content-Type", "application/json")
	}
	asker := &cloudapi.Asker{HTTP: c.HTTP, Pause: c.Pause, Authorize: authorize, Refusal: func(b []byte) *cloudapi.Refused {
		code, said := explain(b)
		return &cloudapi.Refused{Code: cloudapi.OneLine(code), Said: cloudapi.OneLine(said)}
	}}
	answer, err := asker.Ask(ctx, cloudapi.Question{Method: method, URL: address, Header: header, Body: body})
	if err != nil {
		return err
	}
	defer answer.Body.Close()
	b, err := io.ReadAll(io.LimitReader(answer.Body, maxAnswer))
	if err != nil {
		return err
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
	var e *cloudapi.Refused
	if errors.As(err, &e) && (e.Status == http.StatusForbidden || e.Status == http.StatusUnauthorized || strings.HasPrefix(e.Code, "AccessDenied")) {
		return node.Hinted(err, "the identity of this instance must be able to do "+may)
	}
	return err
}
