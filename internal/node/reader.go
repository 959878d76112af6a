package node

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"time"
)

// Limits of one https reference. A server that hangs must not hang the boot: the unit has 60 seconds.
const (
	fetchTimeout  = 5 * time.Second
	fetchAttempts = 3
)

// errNoAttempt is about an answer that another attempt would not change.
type errNoAttempt struct{ error }

// Reader reads what references name.
type Reader struct {
	Credentials string            // $CREDENTIALS_DIRECTORY
	Root        string            // where / is, for files; empty: /
	Authorities *x509.CertPool    // that must have signed the certificate of an https server; nil: the image's
	Certificate []tls.Certificate // shown to an https server that asks for one: the node's, when it has one
	Pause       time.Duration     // between attempts; 0: one second
}

// Read gives the value, of at most limit bytes. Errors name the reference and never the value.
func (r Reader) Read(ctx context.Context, ref Reference, limit int64) ([]byte, error) {
	kind, target := ref.Split()
	var b []byte
	var err error
	switch kind {
	case "credential":
		b, err = r.credential(target, limit)
	case "file":
		b, err = readLimited(filepath.Join("/", r.Root, target), limit)
	case "https":
		b, err = r.fetch(ctx, target, limit)
	default:
		return nil, errors.New("a value is not a reference")
	}
	if err != nil {
		return nil, fmt.Errorf("cannot read %s: %w", ref.Name(), err)
	}
	if len(b) == 0 {
		return nil, fmt.Errorf("cannot read %s: it is empty", ref.Name())
	}
	return b, nil
}

// Name is the reference as messages show it: what follows the path of a URL may be a secret.
func (r Reference) Name() string {
	kind, target := r.Split()
	switch kind {
	case "https":
		u, err := url.Parse(target)
		if err != nil {
			return "a URL"
		}
		return "https://" + u.Host + u.Path
	case "credential":
		return "credential " + target
	}
	return target
}

func (r Reader) credential(name string, limit int64) ([]byte, error) {
	handOver := "hand it to the node by SMBIOS type 11 (io.systemd.credential.binary:" + name + "=BASE64) " +
		"or on the ESP (loader/credentials/" + name + ".cred)"
	if r.Credentials == "" {
		return nil, Hinted(errors.New("$CREDENTIALS_DIRECTORY is not set"), "start hostcheck-configure.service, and "+handOver)
	}
	b, err := readLimited(filepath.Join(r.Credentials, name), limit)
	if errors.Is(err, os.ErrNotExist) {
		return nil, Hinted(errors.New("it is missing"), handOver)
	}
	return b, err
}

// fetch asks a server a few times, since at boot the network may still be settling. It follows no redirect and no proxy: the
// operator has named the server.
func (r Reader) fetch(ctx context.Context, target string, limit int64) ([]byte, error) {
	transport := &http.Transport{
		TLSClientConfig:     &tls.Config{MinVersion: tls.VersionTLS12, RootCAs: r.Authorities, Certificates: r.Certificate},
		TLSHandshakeTimeout: fetchTimeout,
	}
	defer transport.CloseIdleConnections()
	client := &http.Client{
		Transport: transport, Timeout: fetchTimeout,
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}
	pause := r.Pause
	if pause == 0 {
		pause = time.Second
	}
	for attempt := 1; ; attempt++ {
		b, err := get(ctx, client, target, limit)
		var final errNoAttempt
		if err == nil || attempt == fetchAttempts || errors.As(err, &final) {
			return b, err
		}
		select {
		case <-ctx.Done():
			return nil, err
		case <-time.After(pause * time.Duration(attempt)):
		}
	}
}

func get(ctx context.Context, client *http.Client, target string, limit int64) ([]byte, error) {
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, target, nil)
	if err != nil {
		return nil, errNoAttempt{errors.New("it is not a URL")}
	}
	response, err := client.Do(request)
	if err != nil {
		var inner *url.Error // repeats the whole URL
		if errors.As(err, &inner) {
			err = inner.Err
		}
		return nil, err
	}
	defer response.Body.Close()
	switch {
	case response.StatusCode >= 500:
		return nil, fmt.Errorf("the server answers %s", response.Status)
	case response.StatusCode != http.StatusOK:
		return nil, errNoAttempt{fmt.Errorf("the server answers %s", response.Status)}
	}
	b, err := io.ReadAll(io.LimitReader(response.Body, limit+1))
	if err != nil {
		return nil, err
	}
	if int64(len(b)) > limit {
		return nil, errNoAttempt{fmt.Errorf("it has more than %d bytes", limit)}
	}
	return b, nil
}
