package node

import (
	"bytes"
	"context"
	"crypto/x509"
	"errors"
	"fmt"
	"net/http"
	"time"
)

// Deposit puts a document to an HTTPS URL and reads it back: when it gives no error, the server gives out what the node has
// given it. It asks again as [Fetcher.HTTPS] does; putting the same document twice does no harm.
func (f Fetcher) Deposit(ctx context.Context, rawURL string, roots *x509.CertPool, document []byte) error {
	u, err := ParseHTTPS(rawURL)
	if err != nil {
		return err
	}
	ctx, cancel := withDeadline(ctx, 30*time.Second)
	defer cancel()
	if _, err := f.https(ctx, exchange{method: http.MethodPut, url: u, body: document}, roots,
		http.StatusOK, http.StatusCreated, http.StatusNoContent); err != nil {
		return fmt.Errorf("cannot put %s: %w", shown(u), err)
	}
	back, err := f.HTTPS(ctx, rawURL, roots, int64(len(document)))
	if err != nil {
		return fmt.Errorf("cannot read back what was put: %w", err)
	}
	if !bytes.Equal(back, document) {
		return Hinted(fmt.Errorf("%s gives out something else than was put there", shown(u)),
			"the server must keep a document as it came, and give it out at the same URL")
	}
	return nil
}

// Deposit is [Fetcher.Deposit] at a server for which the image's authorities or the cluster's vouch; it is shown the node's certificate.
func (r Reader) Deposit(ctx context.Context, rawURL string, document []byte) error {
	if r.Authorities == nil {
		return errors.New("no authority is given that a server's certificate could lead to")
	}
	fetcher := r.Fetcher
	fetcher.Certificates = r.Certificate
	return fetcher.Deposit(ctx, rawURL, r.Authorities, document)
}
