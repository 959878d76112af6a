package node

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"io"
	"net/http"
	"time"
)

// stallTimeout is how long a server may say nothing in the middle of a long answer.
const stallTimeout = 30 * time.Second

// Stream reads what an HTTPS URL gives, and hands it on as it comes: what is too large to hold. It asks once; whoever takes it knows how much
// has come, and whether to ask again. What is trusted is as for [Fetcher.HTTPS], and an answer of another length than size is refused.
func (f Fetcher) Stream(ctx context.Context, rawURL string, roots *x509.CertPool, size int64, take func(io.Reader) error) (err error) {
	u, err := ParseHTTPS(rawURL)
	if err != nil {
		return err
	}
	if roots == nil {
		return fmt.Errorf("cannot fetch %s: no authority is given that its certificate could lead to", shown(u))
	}
	cannot := func(err error) error { return fmt.Errorf("cannot fetch %s: %w", shown(u), err) }
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	stalled := time.AfterFunc(stallTimeout, func() { cancel(fmt.Errorf("nothing came for %v", stallTimeout)) })
	defer stalled.Stop()

	addresses, err := f.lookup(ctx, u.Hostname())
	if err != nil {
		return cannot(because(ctx, err))
	}
	if f.Admit != nil {
		restore, err := f.Admit(addresses)
		if err != nil {
			return cannot(fmt.Errorf("cannot open the firewall: %w", err))
		}
		defer func() {
			if failed := restore(); failed != nil && err == nil {
				err = cannot(fmt.Errorf("cannot close the firewall again: %w", failed))
			}
		}()
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, u.String(), nil)
	if err != nil {
		return cannot(err)
	}
	resp, err := f.client(ctx, exchange{
		addresses: addresses,
		tls:       &tls.Config{RootCAs: roots, MinVersion: tls.VersionTLS12, ServerName: u.Hostname(), Certificates: f.Certificates},
	}).Do(req)
	if err != nil {
		return cannot(trustError(because(ctx, err)))
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		return cannot(answer{status: resp.StatusCode}.refusal())
	}
	if resp.ContentLength >= 0 && resp.ContentLength != size {
		return cannot(fmt.Errorf("the server has %d bytes there, and %d are wanted", resp.ContentLength, size))
	}
	return take(readerFunc(func(p []byte) (int, error) {
		n, err := resp.Body.Read(p)
		stalled.Reset(stallTimeout)
		if err != nil && err != io.EOF {
			err = because(ctx, err)
		}
		return n, err
	}))
}

type readerFunc func([]byte) (int, error)

func (f readerFunc) Read(p []byte) (int, error) { return f(p) }
