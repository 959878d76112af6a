package release

import (
	"context"
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"os"
	"time"
)

// What a vendor's file may weigh, in bytes: several times what they do.
const (
	maxIndex     = 64 << 20
	maxSums      = 1 << 20
	maxSignature = 64 << 10
	maxArchive   = 1 << 30
	maxProgram   = 2 << 30
	maxRedirects = 5
)

// errNotFound is a file that the server does not have.
var errNotFound = errors.New("404 Not Found")

// client fetches over HTTPS only, redirects included.
type client struct{ http *http.Client }

func newClient(authorities []byte) (client, error) {
	config := &tls.Config{MinVersion: tls.VersionTLS12}
	if len(authorities) > 0 {
		config.RootCAs = x509.NewCertPool()
		if !config.RootCAs.AppendCertsFromPEM(authorities) {
			return client{}, errors.New("the file of the mirror's authorities holds no certificate in PEM")
		}
	}
	return client{&http.Client{
		Transport: &http.Transport{
			Proxy: http.ProxyFromEnvironment, TLSClientConfig: config, ForceAttemptHTTP2: true,
			TLSHandshakeTimeout: 15 * time.Second, ResponseHeaderTimeout: 30 * time.Second,
		},
		CheckRedirect: func(r *http.Request, via []*http.Request) error {
			if r.URL.Scheme != "https" {
				return fmt.Errorf("it redirects to %s, which is not HTTPS", r.URL.Redacted())
			}
			if len(via) > maxRedirects {
				return fmt.Errorf("it redirects more than %d times", maxRedirects)
			}
			return nil
		},
	}}, nil
}

// checkURL refuses what is not a plain HTTPS address to which names can be appended.
func checkURL(text string) error {
	u, err := url.Parse(text)
	if err != nil {
		return err
	}
	if u.Scheme != "https" || u.Host == "" || u.RawQuery != "" || u.Fragment != "" {
		return fmt.Errorf("%q is not an https:// address without query and fragment", text)
	}
	return nil
}

func (c client) open(ctx context.Context, address string, limit int64) (*http.Response, error) {
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, address, nil)
	if err != nil {
		return nil, err
	}
	response, err := c.http.Do(request)
	if err != nil {
		var wrapped *url.Error // it repeats the address
		if errors.As(err, &wrapped) {
			err = wrapped.Err
		}
		return nil, fmt.Errorf("cannot fetch %s: %w", address, err)
	}
	switch {
	case response.StatusCode == http.StatusNotFound:
		err = errNotFound
	case response.StatusCode != http.StatusOK:
		err = errors.New(response.Status)
	case response.ContentLength > limit:
		err = fmt.Errorf("it has %d bytes, and %d are allowed", response.ContentLength, limit)
	}
	if err != nil {
		response.Body.Close()
		return nil, fmt.Errorf("cannot fetch %s: %w", address, err)
	}
	return response, nil
}

// get fetches a small file.
func (c client) get(ctx context.Context, address string, limit int64) ([]byte, error) {
	response, err := c.open(ctx, address, limit)
	if err != nil {
		return nil, err
	}
	defer response.Body.Close()
	text, err := io.ReadAll(io.LimitReader(response.Body, limit+1))
	if err == nil && int64(len(text)) > limit {
		err = fmt.Errorf("it has more than the %d bytes that are allowed", limit)
	}
	if err != nil {
		return nil, fmt.Errorf("cannot fetch %s: %w", address, err)
	}
	return text, nil
}

// download fetches a large file to a new file at path and gives its SHA-256.
func (c client) download(ctx context.Context, address, path string, limit int64) (sum string, err error) {
	response, err := c.open(ctx, address, limit)
	if err != nil {
		return "", err
	}
	defer response.Body.Close()
	f, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o644)
	if err != nil {
		return "", err
	}
	defer func() { err = errors.Join(err, f.Close()) }()
	h := sha256.New()
	n, err := io.Copy(io.MultiWriter(f, h), io.LimitReader(response.Body, limit+1))
	switch {
	case errors.Is(err, io.ErrUnexpectedEOF):
		return "", fmt.Errorf("cannot fetch %s: it was cut off after %d of %d bytes", address, n, response.ContentLength)
	case err == nil && n > limit:
		err = fmt.Errorf("it has more than the %d bytes that are allowed", limit)
	}
	if err != nil {
		return "", fmt.Errorf("cannot fetch %s: %w", address, err)
	}
	return hex.EncodeToString(h.Sum(nil)), f.Sync()
}
