package node

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"fmt"
	"io"
	"math/big"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"
)

// certificate makes a self-signed server certificate; it is its own authority.
func certificate(t *testing.T, from, until time.Time, host string) (certPEM, keyPEM []byte, roots *x509.CertPool) {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "test"}, DNSNames: []string{host}, NotBefore: from, NotAfter: until,
		IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageDigitalSignature | x509.KeyUsageCertSign,
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth},
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		t.Fatal(err)
	}
	pkcs8, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	certPEM = pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der})
	roots = x509.NewCertPool()
	roots.AppendCertsFromPEM(certPEM)
	return certPEM, pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: pkcs8}), roots
}

func TestFetchHTTPS(t *testing.T) {
	const url, address = "https://config.example/node?token=hush", "192.0.2.1:443"
	document := func(w http.ResponseWriter, _ *http.Request) { fmt.Fprint(w, "document") }
	cases := map[string]struct {
		answer   func(attempt int) http.HandlerFunc // nil: document
		cert     string                             // its name; "": the right one
		from     time.Duration                      // when the certificate begins to be valid, from now
		until    time.Duration
		foreign  bool // the certificate leads to another authority
		want     string
		wantErr  string
		attempts int // at least
		most     int
	}{
		"answered":            {want: "document", attempts: 1, most: 1},
		"another name":        {cert: "other.example", wantErr: "the server cannot be trusted: x509: certificate is valid for other.example, not config.example", attempts: 1, most: 1},
		"another authority":   {foreign: true, wantErr: "the server cannot be trusted", attempts: 1, most: 1},
		"expired":             {until: -time.Minute, wantErr: "the server cannot be trusted: x509: certificate has expired", attempts: 1, most: 1},
		"clock put right":     {from: 8 * time.Second, want: "document", attempts: 4},
		"clock stays behind":  {from: time.Hour, wantErr: "is the clock behind?", attempts: 5},
		"5xx that passes":     {answer: statuses(500, 503, 429), want: "document", attempts: 4, most: 4},
		"5xx that stays":      {answer: always(502), wantErr: "given up: the server answered 502 Bad Gateway", attempts: 5},
		"404":                 {answer: always(404), wantErr: "the server answered 404 Not Found", attempts: 1, most: 1},
		"empty":               {answer: always(204), wantErr: "the server answered 204", attempts: 1, most: 1},
		"redirect":            {answer: redirect, wantErr: "redirects are not followed", attempts: 1, most: 1},
		"too long":            {answer: huge, wantErr: "the answer has more than 100 bytes", attempts: 1, most: 1},
		"compressed":          {answer: compressed, want: "\x1f\x8b", attempts: 1, most: 1},
		"hangs":               {answer: hangs, wantErr: "given up: no answer within 5s", attempts: 3},
		"drips":               {answer: drips, wantErr: "given up: the answer broke off: no answer within 5s", attempts: 3},
		"hangs up, then well": {answer: breaks, want: "document", attempts: 2, most: 2},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				if c.cert == "" {
					c.cert = "config.example"
				}
				if c.until == 0 {
					c.until = 24 * time.Hour
				}
				begin := time.Now()
				if c.from == 0 {
					c.from = -time.Hour
				}
				cert, key, roots := certificate(t, begin.Add(c.from), begin.Add(c.until), c.cert)
				if c.foreign {
					_, _, roots = certificate(t, begin, begin.Add(time.Hour), "config.example")
				}
				net := newWire()
				var asked atomic.Int32
				net.https(t, address, cert, key, func(w http.ResponseWriter, r *http.Request) {
					attempt := int(asked.Add(1))
					if r.Host != "config.example" || r.URL.RequestURI() != "/node?token=hush" {
						t.Errorf("asked %s for %s", r.Host, r.URL)
					}
					if c.answer != nil {
						if h := c.answer(attempt); h != nil {
							h(w, r)
							return
						}
					}
					document(w, r)
				})
				f := Fetcher{Lookup: lookup("config.example", "192.0.2.1"), Dial: net.dial}
				body, err := f.HTTPS(t.Context(), url, roots, 100)
				if string(body) != c.want {
					t.Errorf("got %q, want %q", body, c.want)
				}
				switch {
				case c.wantErr == "" && err != nil, c.wantErr != "" && (err == nil || !strings.Contains(err.Error(), c.wantErr)):
					t.Errorf("got error %v, want one with %q", err, c.wantErr)
				case err != nil && (strings.Contains(err.Error(), "hush") || !strings.HasPrefix(err.Error(), "cannot fetch https://config.example/node?…: ")):
					t.Errorf("error %q tells the query, or not the URL", err)
				}
				if n := net.dials(); n < c.attempts || c.most > 0 && n > c.most {
					t.Errorf("%d attempts, want from %d to %d", n, c.attempts, c.most)
				}
				if took := time.Since(begin); took > 30*time.Second {
					t.Errorf("took %v", took)
				}
			})
		})
	}
}

func statuses(list ...int) func(int) http.HandlerFunc {
	return func(attempt int) http.HandlerFunc {
		if attempt > len(list) {
			return nil
		}
		return func(w http.ResponseWriter, _ *http.Request) {
			w.WriteHeader(list[attempt-1])
			fmt.Fprint(w, strings.Repeat("sorry ", 1000))
		}
	}
}

func always(status int) func(int) http.HandlerFunc {
	return func(int) http.HandlerFunc {
		return func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(status) }
	}
}

func redirect(int) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		http.Redirect(w, r, "https://config.example/elsewhere", http.StatusFound)
	}
}

func huge(int) http.HandlerFunc {
	return func(w http.ResponseWriter, _ *http.Request) {
		for range 1 << 10 {
			if _, err := io.WriteString(w, strings.Repeat("x", 1<<10)); err != nil {
				return
			}
		}
	}
}

func compressed(int) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		if r.Header.Get("Accept-Encoding") != "" {
			w.WriteHeader(http.StatusTeapot)
		}
		w.Header().Set("Content-Encoding", "gzip")
		fmt.Fprint(w, "\x1f\x8b")
	}
}

func hangs(int) http.HandlerFunc {
	return func(_ http.ResponseWriter, r *http.Request) { <-r.Context().Done() }
}

func drips(int) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Length", "90")
		for range 90 {
			if _, err := io.WriteString(w, "x"); err != nil {
				return
			}
			w.(http.Flusher).Flush()
			select {
			case <-r.Context().Done():
				return
			case <-time.After(time.Second):
			}
		}
	}
}

func breaks(attempt int) http.HandlerFunc {
	if attempt > 1 {
		return nil
	}
	return func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Length", "90")
		_, _ = io.WriteString(w, "half a docu")
		panic(http.ErrAbortHandler)
	}
}

// A network in which nothing answers costs a node its patience and no more.
func TestFetchEnds(t *testing.T) {
	for name, prepare := range map[string]func(*wire){
		"refused":   func(*wire) {},
		"silent":    func(w *wire) { w.silent("192.0.2.1:443"); w.silent("[2001:db8::1]:443") },
		"swallowed": func(w *wire) { w.swallowed("192.0.2.1:443"); w.swallowed("[2001:db8::1]:443") },
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				net, begin := newWire(), time.Now()
				prepare(net)
				var told int
				f := Fetcher{Lookup: lookup("config.example", "2001:db8::1", "192.0.2.1"), Dial: net.dial, Retried: func(error) { told++ }}
				_, err := f.HTTPS(t.Context(), "https://config.example/", x509.NewCertPool(), 100)
				if err == nil || !strings.Contains(err.Error(), "given up: ") {
					t.Errorf("got error %v", err)
				}
				if took := time.Since(begin); took > 30*time.Second || took < 20*time.Second {
					t.Errorf("took %v", took)
				}
				if told < 4 {
					t.Errorf("told of %d attempts", told)
				}
			})
		})
	}
}

// An address that swallows packets leaves time for the next one.
func TestFetchTriesEveryAddress(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		cert, key, roots := certificate(t, time.Now(), time.Now().Add(time.Hour), "config.example")
		net := newWire()
		net.swallowed("[2001:db8::1]:8443")
		net.https(t, "192.0.2.1:8443", cert, key, func(w http.ResponseWriter, _ *http.Request) { fmt.Fprint(w, "document") })
		var admitted []netip.Addr
		restored := 0
		f := Fetcher{
			Lookup: lookup("config.example", "2001:db8::1", "192.0.2.1"), Dial: net.dial,
			Admit: func(a []netip.Addr) (func() error, error) {
				admitted = a
				return func() error { restored++; return nil }, nil
			},
		}
		body, err := f.HTTPS(t.Context(), "https://config.example:8443/", roots, 100)
		if err != nil || string(body) != "document" {
			t.Errorf("got %q, %v", body, err)
		}
		want := []netip.Addr{netip.MustParseAddr("2001:db8::1"), netip.MustParseAddr("192.0.2.1")}
		if !slices.Equal(admitted, want) || restored != 1 {
			t.Errorf("the firewall admitted %v and was closed %d times", admitted, restored)
		}
	})
}

func TestFetchIsInterrupted(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithCancel(t.Context())
		net := newWire()
		net.silent("192.0.2.1:443")
		time.AfterFunc(2*time.Second, cancel)
		begin := time.Now()
		_, err := Fetcher{Dial: net.dial}.HTTPS(ctx, "https://192.0.2.1/", x509.NewCertPool(), 100)
		if err == nil || time.Since(begin) != 2*time.Second {
			t.Errorf("error %v after %v", err, time.Since(begin))
		}
	})
}

func TestFetchRefusesURLs(t *testing.T) {
	for rawURL, want := range map[string]string{
		"http://config.example/node":          "its scheme is not https",
		"https://user:hush@config.example/":   "a user or a password",
		"https:///node":                       "names no host",
		"https://config.example/#hush":        "a fragment",
		"config.example":                      "its scheme is not https",
		"https://config.example/%zz?hush":     "it is not one",
		"ftp://user:hush@config.example/hush": "its scheme is not https",
	} {
		_, err := FetchHTTPS(t.Context(), rawURL, x509.NewCertPool(), 100)
		if err == nil || !strings.Contains(err.Error(), want) || rawURL[:4] != "ftp:" && strings.Contains(err.Error(), "hush") || strings.Contains(err.Error(), "user:") {
			t.Errorf("%s: got error %v, want one with %q", rawURL, err, want)
		}
	}
	if _, err := FetchHTTPS(t.Context(), "https://config.example/", nil, 100); err == nil || !strings.Contains(err.Error(), "no authority") {
		t.Errorf("without roots: %v", err)
	}
}

// The environment of a process says nothing about where a node's identity comes from; and against real sockets.
func TestFetchIgnoresProxies(t *testing.T) {
	for _, name := range []string{"HTTPS_PROXY", "https_proxy", "ALL_PROXY"} {
		t.Setenv(name, "http://127.0.0.1:1")
	}
	server := httptest.NewTLSServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { fmt.Fprint(w, "document") }))
	defer server.Close()
	roots := x509.NewCertPool()
	roots.AddCert(server.Certificate())
	body, err := FetchHTTPS(t.Context(), server.URL, roots, 100)
	if err != nil || string(body) != "document" {
		t.Errorf("got %q, %v", body, err)
	}
	plain := httptest.NewServer(http.NotFoundHandler())
	defer plain.Close()
	if _, err := FetchHTTPS(t.Context(), "https"+strings.TrimPrefix(plain.URL, "http"), roots, 100); err == nil || !strings.Contains(err.Error(), "does not speak TLS") {
		t.Errorf("plain HTTP: %v", err)
	}
}
