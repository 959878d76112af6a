package node

import (
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/netip"
	"strings"
	"testing"
	"testing/synctest"
	"time"
)

func TestStream(t *testing.T) {
	const url, address = "https://images.example/disk.img", "192.0.2.1:443"
	long := strings.Repeat("0123456789abcdef", 1<<16) // 1 MiB
	send := func(parts int, pause time.Duration) http.HandlerFunc {
		return func(w http.ResponseWriter, r *http.Request) {
			for i := range parts {
				if _, err := io.WriteString(w, long[i<<16:(i+1)<<16]); err != nil {
					return
				}
				w.(http.Flusher).Flush()
				select {
				case <-r.Context().Done():
					return
				case <-time.After(pause):
				}
			}
		}
	}
	refuses := errors.New("the disk is full")
	for name, c := range map[string]struct {
		answer  http.HandlerFunc
		foreign bool
		refuse  bool
		want    int
		wantErr string
	}{
		"at once":             {answer: send(16, 0), want: 1 << 20},
		"slow":                {answer: send(16, 29*time.Second), want: 1 << 20},
		"stalled":             {answer: send(16, 31*time.Second), want: 1 << 16, wantErr: "nothing came for 30s"},
		"never answered":      {answer: func(_ http.ResponseWriter, r *http.Request) { <-r.Context().Done() }, wantErr: "nothing came for 30s"},
		"broken off":          {answer: func(w http.ResponseWriter, r *http.Request) { send(3, 0)(w, r); panic(http.ErrAbortHandler) }, want: 3 << 16, wantErr: "EOF"},
		"404":                 {answer: always(404)(1), wantErr: "the server answered 404 Not Found"},
		"redirect":            {answer: redirect(1), wantErr: "redirects are not followed"},
		"another length":      {answer: func(w http.ResponseWriter, _ *http.Request) { fmt.Fprint(w, "short") }, wantErr: "the server has 5 bytes there, and 1048576 are wanted"},
		"another authority":   {answer: send(16, 0), foreign: true, wantErr: "the server cannot be trusted"},
		"the taker's failure": {answer: send(16, 0), refuse: true, wantErr: "the disk is full"},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				cert, key, roots := certificate(t, time.Now().Add(-time.Hour), time.Now().Add(time.Hour), "images.example")
				if c.foreign {
					_, _, roots = certificate(t, time.Now(), time.Now().Add(time.Hour), "images.example")
				}
				net := newWire()
				net.https(t, address, cert, key, c.answer)
				open, admitted := 0, 0
				f := Fetcher{
					Lookup: lookup("images.example", "192.0.2.1"), Dial: net.dial,
					Admit: func(a []netip.Addr) (func() error, error) {
						open++
						admitted = len(a)
						return func() error { open--; return nil }, nil
					},
				}
				got := 0
				err := f.Stream(t.Context(), url, roots, 1<<20, func(r io.Reader) error {
					if c.refuse {
						return refuses
					}
					n, err := io.Copy(io.Discard, r)
					got = int(n)
					return err
				})
				if got != c.want || (err == nil) != (c.wantErr == "") || err != nil && !strings.Contains(err.Error(), c.wantErr) {
					t.Errorf("%d bytes, error %v, want %d and %q", got, err, c.want, c.wantErr)
				}
				if open != 0 || admitted != 1 {
					t.Errorf("%d addresses admitted, the firewall is open %d times", admitted, open)
				}
			})
		})
	}
}
