package node

import (
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"slices"
	"time"
)

// Fetcher reads documents from the network before the node is set up, when nobody can look after it. So it goes where
// it is told and nowhere else: no proxy of the environment, no redirect, no decompression, no connection that is
// kept. Its zero value works.
type Fetcher struct {
	// Admit opens the firewall to the addresses of a server, and gives what closes it again. Nil: there is nothing to open.
	Admit func([]netip.Addr) (restore func() error, err error)
	// Lookup and Dial are the network's; tests have others.
	Lookup func(ctx context.Context, host string) ([]netip.Addr, error)
	Dial   func(ctx context.Context, network, address string) (net.Conn, error)
	// Retried is told of each attempt that failed and is made again. Nil: nobody is.
	Retried func(error)
	// Certificates are shown to a server that asks who the node is.
	Certificates []tls.Certificate
}

// attemptTimeout bounds one request with its answer: a server that accepts and says nothing, or a byte now and then, is
// left and asked again.
const attemptTimeout = 5 * time.Second

// FetchHTTPS reads what an HTTPS URL gives, up to limit bytes, from a server whose certificate leads to one of the
// roots. It asks again while an answer may change (no connection, 429, 5xx), until the context ends; an
// untrusted certificate, a redirect and any other status end it at once. A context without a deadline gets one of 30 s.
// Errors show the URL without its query, which may be a secret.
func FetchHTTPS(ctx context.Context, rawURL string, roots *x509.CertPool, limit int64) ([]byte, error) {
	return Fetcher{}.HTTPS(ctx, rawURL, roots, limit)
}

// HTTPS is [FetchHTTPS] with the means of the fetcher.
func (f Fetcher) HTTPS(ctx context.Context, rawURL string, roots *x509.CertPool, limit int64) ([]byte, error) {
	u, err := ParseHTTPS(rawURL)
	if err != nil {
		return nil, err
	}
	if roots == nil {
		return nil, fmt.Errorf("cannot fetch %s: no authority is given that its certificate could lead to", shown(u))
	}
	ctx, cancel := withDeadline(ctx, 30*time.Second)
	defer cancel()
	body, err := f.https(ctx, exchange{url: u, limit: limit}, roots, http.StatusOK)
	if err != nil {
		return nil, fmt.Errorf("cannot fetch %s: %w", shown(u), err)
	}
	return body, nil
}

// ParseHTTPS reads a URL that may be fetched.
func ParseHTTPS(rawURL string) (*url.URL, error) {
	u, err := url.Parse(rawURL)
	switch {
	case err != nil:
		// The parser's error quotes the whole URL.
		return nil, errors.New("cannot use a URL: it is not one")
	case u.Scheme != "https":
		return nil, Hinted(fmt.Errorf("cannot use URL %s: its scheme is not https", shown(u)), "what a node is told must come from an authenticated server")
	case u.User != nil:
		return nil, fmt.Errorf("cannot use URL %s: it holds a user or a password", shown(u))
	case u.Hostname() == "":
		return nil, fmt.Errorf("cannot use URL %s: it names no host", shown(u))
	case u.Fragment != "":
		return nil, fmt.Errorf("cannot use URL %s: it has a fragment (#), which no server sees", shown(u))
	}
	return u, nil
}

// shown is a URL for logs and messages: neither password nor query.
func shown(u *url.URL) string {
	s := url.URL{Scheme: u.Scheme, Host: u.Host, Path: u.Path}
	if u.RawQuery != "" {
		return s.String() + "?…"
	}
	return s.String()
}

// https sends a request until there is an answer of one of the statuses, and gives its body.
func (f Fetcher) https(ctx context.Context, x exchange, roots *x509.CertPool, good ...int) ([]byte, error) {
	var body []byte
	err := f.untilAnswered(ctx, func(ctx context.Context) error {
		addresses, err := f.lookup(ctx, x.url.Hostname())
		if err != nil {
			return passing{err}
		}
		if f.Admit != nil {
			restore, err := f.Admit(addresses)
			if err != nil {
				return fmt.Errorf("cannot open the firewall: %w", err)
			}
			defer func() {
				if err := restore(); err != nil && f.Retried != nil {
					f.Retried(fmt.Errorf("cannot close the firewall again: %w", err))
				}
			}()
		}
		x.addresses = addresses
		x.tls = &tls.Config{RootCAs: roots, MinVersion: tls.VersionTLS12, ServerName: x.url.Hostname(), Certificates: f.Certificates}
		a, err := f.ask(ctx, x)
		if err != nil {
			return trustError(err)
		}
		if !slices.Contains(good, a.status) {
			return a.refusal()
		}
		body = a.body
		return nil
	})
	return body, err
}

func (f Fetcher) lookup(ctx context.Context, host string) ([]netip.Addr, error) {
	if a, err := netip.ParseAddr(host); err == nil {
		return []netip.Addr{a}, nil
	}
	if f.Lookup != nil {
		return f.Lookup(ctx, host)
	}
	addresses, err := net.DefaultResolver.LookupNetIP(ctx, "ip", host)
	for i := range addresses {
		addresses[i] = addresses[i].Unmap()
	}
	return addresses, err
}

// exchange is one request.
type exchange struct {
	method    string // "": GET
	body      []byte // with PUT and POST
	url       *url.URL
	host      string // "": that of the URL
	header    http.Header
	limit     int64        // bytes of the body
	addresses []netip.Addr // of the host; they are tried in this order
	tls       *tls.Config
}

type answer struct {
	status int
	header http.Header
	body   []byte
}

// ask sends one request and reads the whole answer. An error that may go away by itself is a passing one.
func (f Fetcher) ask(ctx context.Context, x exchange) (answer, error) {
	ctx, cancel := context.WithTimeoutCause(ctx, attemptTimeout, fmt.Errorf("no answer within %v", attemptTimeout))
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, x.method, x.url.String(), bytes.NewReader(x.body))
	if err != nil {
		return answer{}, err
	}
	req.Host = x.host
	if x.header != nil {
		req.Header = x.header.Clone()
	}
	resp, err := f.client(ctx, x).Do(req)
	if err != nil {
		return answer{}, passing{because(ctx, err)}
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		return answer{status: resp.StatusCode, header: resp.Header}, nil // what a server says about its refusal is not shown
	}
	body, err := io.ReadAll(io.LimitReader(resp.Body, x.limit+1))
	switch {
	case err != nil:
		return answer{}, passing{fmt.Errorf("the answer broke off: %w", because(ctx, err))}
	case int64(len(body)) > x.limit:
		return answer{}, fmt.Errorf("the answer has more than %d bytes", x.limit)
	}
	return answer{resp.StatusCode, resp.Header, body}, nil
}

// client is for one request.
func (f Fetcher) client(ctx context.Context, x exchange) *http.Client {
	return &http.Client{
		Transport: &http.Transport{
			Proxy:                  nil,
			DialContext:            f.dialer(ctx, x.addresses),
			TLSClientConfig:        x.tls,
			DisableKeepAlives:      true,
			DisableCompression:     true,
			MaxResponseHeaderBytes: 16 << 10,
		},
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}
}

// dialer goes to the addresses that were admitted, and asks no name server a second time. Its connections end with the
// context: net/http goes on with a handshake that nobody waits for any more.
func (f Fetcher) dialer(ctx context.Context, addresses []netip.Addr) func(context.Context, string, string) (net.Conn, error) {
	dial := f.Dial
	if dial == nil {
		dial = (&net.Dialer{}).DialContext
	}
	return func(_ context.Context, network, hostPort string) (net.Conn, error) {
		_, port, err := net.SplitHostPort(hostPort)
		if err != nil {
			return nil, err
		}
		var errs []error
		for i, a := range addresses {
			one, cancel := shareOf(ctx, len(addresses)-i)
			conn, err := dial(one, network, net.JoinHostPort(a.String(), port))
			cancel()
			if err == nil {
				context.AfterFunc(ctx, func() { conn.Close() })
				return conn, nil
			}
			errs = append(errs, err)
		}
		if len(errs) == 0 {
			return nil, errors.New("the name has no address")
		}
		return nil, errors.Join(errs...)
	}
}

// shareOf gives one of several tries its part of the time that is left, so that an address which swallows packets does
// not cost the others theirs.
func shareOf(ctx context.Context, tries int) (context.Context, context.CancelFunc) {
	deadline, ok := ctx.Deadline()
	if !ok || tries < 2 {
		return context.WithCancel(ctx)
	}
	return context.WithTimeout(ctx, time.Until(deadline)/time.Duration(tries))
}

// because takes the URL out of an error of net/http, and says in words that the time was over.
func because(ctx context.Context, err error) error {
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	var u *url.Error
	if errors.As(err, &u) {
		return u.Err
	}
	return err
}

// trustError tells a certificate that will never do from a connection that may come about. A server's certificate that
// is not valid yet is what a good one looks like to a clock that is behind; time servers may correct it meanwhile.
func trustError(err error) error {
	var invalid x509.CertificateInvalidError
	var verification *tls.CertificateVerificationError
	var record tls.RecordHeaderError
	var remote *net.OpError
	switch {
	case errors.As(err, &invalid) && invalid.Reason == x509.Expired && time.Now().Before(invalid.Cert.NotBefore):
		return passing{Hinted(fmt.Errorf("the server's certificate is not valid before %s: is the clock behind? (clock: %s)",
			invalid.Cert.NotBefore.UTC().Format(time.RFC3339), time.Now().UTC().Format(time.RFC3339)), "the time servers must be reachable, or the hardware clock right")}
	case errors.As(err, &verification):
		return fmt.Errorf("the server cannot be trusted: %w", verification.Err)
	case errors.As(err, &record), errors.Is(err, http.ErrSchemeMismatch):
		return errors.New("the server does not speak TLS")
	case errors.As(err, &remote) && remote.Op == "remote error":
		return fmt.Errorf("the server refused TLS: %w", remote.Err)
	}
	return err
}

// refusal is an answer without the document, as an error.
func (a answer) refusal() error {
	err := fmt.Errorf("the server answered %d %s", a.status, http.StatusText(a.status))
	switch {
	case a.status == http.StatusTooManyRequests, a.status >= 500:
		return passing{err}
	case a.status >= 300 && a.status < 400:
		return Hinted(err, "redirects are not followed: give the URL at which the document lies")
	}
	return err
}

// passing is an error that another attempt may not meet.
type passing struct{ error }

func (p passing) Unwrap() error { return p.error }

// untilAnswered asks until there is an answer that will not change, or the time is over; then it gives the last error.
// The pauses double from a quarter of a second to four, which is no burden to a metadata service.
func (f Fetcher) untilAnswered(ctx context.Context, ask func(context.Context) error) error {
	pause := time.Second / 4
	for {
		err := ask(ctx)
		var p passing
		if !errors.As(err, &p) {
			return err
		}
		if deadline, ok := ctx.Deadline(); ctx.Err() != nil || ok && time.Until(deadline) <= pause {
			return fmt.Errorf("given up: %w", err)
		}
		if f.Retried != nil {
			f.Retried(err)
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("given up: %w", err)
		case <-time.After(pause):
		}
		pause = min(2*pause, 4*time.Second)
	}
}

func withDeadline(ctx context.Context, limit time.Duration) (context.Context, context.CancelFunc) {
	if _, ok := ctx.Deadline(); ok {
		return context.WithCancel(ctx)
	}
	return context.WithTimeout(ctx, limit)
}
