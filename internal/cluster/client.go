package cluster

import (
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strings"
	"time"

	"github.com/strongroom/strongroom/internal/serverapi"
)

const (
	// askTime bounds one question to a server.
	askTime = 5 * time.Second
	// changeTime bounds one order: to join, to step down, to log in. A join waits for the leader, which writes to its disks
	// and asks a key management service.
	changeTime = 45 * time.Second
	// maxAnswer holds the configuration of any cluster.
	maxAnswer = 1 << 20
)

// trust says whom a connection believes and who it is.
type trust struct {
	authorities *x509.CertPool
	serverName  string                           // empty: the host of the address
	certificate func() (*tls.Certificate, error) // the node's own, for a login by certificate; nil: none
}

func (t trust) config() *tls.Config {
	c := serverapi.TLS(t.authorities, t.serverName)
	if t.certificate != nil {
		c.GetClientCertificate = func(*tls.CertificateRequestInfo) (*tls.Certificate, error) { return t.certificate() }
	}
	return c
}

// client asks one server. It is not hashicorp/vault/api: that library and what it links cost every verb of hostcheck 1.6 MiB
// of memory, and a dozen endpoints are asked here.
type client struct {
	address string // URL without a slash at its end
	http    *http.Client
}

func newClient(address string, t trust) *client {
	return &client{strings.TrimSuffix(address, "/"), serverapi.NewClient(t.config(), changeTime, 2)}
}

// answerError is a server's refusal in its own words.
type answerError struct {
	path   string
	status int
	said   string // on one line; may be empty
}

func (e *answerError) Error() string {
	if e.said == "" {
		return fmt.Sprintf("%s: HTTP status %d", e.path, e.status)
	}
	return fmt.Sprintf("%s: HTTP status %d: %s", e.path, e.status, e.said)
}

// ask sends one request and decodes the answer. The token may be nil, and so may in and out.
func (c *client) ask(ctx context.Context, method, path string, token []byte, in, out any) error {
	return c.askWith(ctx, method, path, nil, token, in, out)
}

// askWith adds headers. The answer is wiped, as far as it lies in a buffer of our own: it may hold a secret.
func (c *client) askWith(ctx context.Context, method, path string, headers http.Header, token []byte, in, out any) error {
	var body io.Reader
	if in != nil {
		b, err := json.Marshal(in)
		if err != nil {
			return err
		}
		body = bytes.NewReader(b)
	}
	request, err := http.NewRequestWithContext(ctx, method, c.address+"/v1/"+path, body)
	if err != nil {
		return err
	}
	for name, values := range headers {
		request.Header[name] = values
	}
	request.Header.Set("X-Vault-Request", "true")
	if len(token) > 0 {
		request.Header.Set("X-Vault-Token", string(bytes.TrimSpace(token)))
	}
	path, _, _ = strings.Cut(path, "?")
	answer, err := c.http.Do(request)
	if err != nil {
		var where *url.Error // the whole URL again
		if errors.As(err, &where) {
			err = where.Err
		}
		return fmt.Errorf("%s: %w", path, err)
	}
	defer answer.Body.Close()
	b, err := io.ReadAll(io.LimitReader(answer.Body, maxAnswer+1))
	defer clear(b)
	switch {
	case err != nil:
		return fmt.Errorf("%s: %w", path, err)
	case len(b) > maxAnswer:
		return fmt.Errorf("%s: the answer has more than %d bytes", path, maxAnswer)
	case answer.StatusCode != http.StatusOK && answer.StatusCode != http.StatusNoContent:
		return &answerError{path, answer.StatusCode, refusalWords(b)}
	}
	if out == nil {
		return nil
	}
	if err := json.Unmarshal(b, out); err != nil {
		return fmt.Errorf("%s: cannot read the answer: %w", path, err)
	}
	return nil
}

// refusalWords are the server's own reasons, on one line. What is no JSON says nothing but its status.
func refusalWords(body []byte) string {
	var said struct {
		Errors []string `json:"errors"`
	}
	_ = json.Unmarshal(body, &said)
	return strings.Join(strings.Fields(strings.Join(said.Errors, "; ")), " ")
}

// words are the server's own reasons without the path, or the error itself.
func words(err error) string {
	var answer *answerError
	if errors.As(err, &answer) && answer.said != "" {
		return answer.said
	}
	return err.Error()
}

// denied reports whether the server knows no such token, or the token may not ask this.
func denied(err error) bool {
	var answer *answerError
	return errors.As(err, &answer) && answer.status == http.StatusForbidden
}

// unready reports whether the server could not hand the request on just now.
func unready(err error) bool {
	var answer *answerError
	return errors.As(err, &answer) && (answer.status == http.StatusTemporaryRedirect || answer.status == http.StatusServiceUnavailable)
}
