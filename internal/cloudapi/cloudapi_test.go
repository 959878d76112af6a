package cloudapi

import (
	"context"
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/strongroom/strongroom/internal/node"
)

func TestAsk(t *testing.T) {
	for name, c := range map[string]struct {
		answers []int // one status after the other; the last one stays
		code    string
		want    string // of the error; empty: a success
		asked   int
	}{
		"at once":           {[]int{200}, "", "", 1},
		"later":             {[]int{503, 429, 200}, "", "", 3},
		"never":             {[]int{500}, "Busy", "HTTP status 500: Busy: word for word", 4},
		"a time-out of its": {[]int{400, 200}, "RequestTimeout", "", 2},
		"refused":           {[]int{403}, "Denied", "HTTP status 403: Denied: word for word", 1},
		"missing":           {[]int{404}, "NoSuchKey", ErrMissing.Error(), 1},
		"no bucket":         {[]int{404}, "NoSuchBucket", "HTTP status 404: NoSuchBucket", 1},
		"named too":         {[]int{308}, "", "", 1},
		"elsewhere":         {[]int{301}, "", "HTTP status 301", 1},
	} {
		t.Run(name, func(t *testing.T) {
			asked := 0
			server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				body, _ := io.ReadAll(r.Body)
				if string(body) != "content" || r.Header.Get("Authorization") != "Bearer token" || r.Header.Get("X-More") != "yes" {
					t.Errorf("asked %q with %v", body, r.Header)
				}
				asked++
				w.WriteHeader(c.answers[min(asked, len(c.answers))-1])
			}))
			defer server.Close()
			a := &Asker{HTTP: &http.Client{CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }},
				Pause:     func(context.Context, int) error { return nil },
				Authorize: Bearer(func(context.Context) (node.Secret, error) { return node.NewSecret([]byte("token")), nil }),
				Refusal:   func([]byte) *Refused { return &Refused{Code: c.code, Said: "word for word"} }}
			answer, err := a.Ask(t.Context(), Question{Method: http.MethodPut, URL: server.URL, Header: http.Header{"X-More": {"yes"}}, Body: []byte("content"), Also: http.StatusPermanentRedirect})
			if err == nil {
				answer.Body.Close()
			}
			if c.want == "" && err != nil || c.want != "" && (err == nil || !strings.Contains(err.Error(), c.want)) || asked != c.asked {
				t.Errorf("asked %d times: %v", asked, err)
			}
			if c.want != "" && Code(err) != c.code {
				t.Errorf("code %q", Code(err))
			}
			if errors.Is(err, ErrMissing) != (name == "missing") {
				t.Errorf("missing: %v", err)
			}
		})
	}
}

// No error repeats an address, which may be worth a token, and none goes out without its authorization.
func TestUnreached(t *testing.T) {
	a := &Asker{HTTP: http.DefaultClient, Pause: func(context.Context, int) error { return errors.New("no patience") },
		Authorize: func(context.Context, *http.Request, []byte) error { return nil }}
	for _, place := range []string{"http://127.0.0.1:1/?upload_id=secret", "http://127.0.0.1:1/%zz?upload_id=secret"} {
		if _, err := a.Ask(t.Context(), Question{Method: http.MethodGet, URL: place}); err == nil || strings.Contains(err.Error(), "secret") {
			t.Errorf("got %v", err)
		}
	}
	a.Authorize = func(context.Context, *http.Request, []byte) error { return errors.New("no role") }
	if _, err := a.Ask(t.Context(), Question{Method: http.MethodGet, URL: "http://127.0.0.1:1/"}); err == nil || err.Error() != "no role" {
		t.Errorf("got %v", err)
	}
}

func TestOneLine(t *testing.T) {
	if got := OneLine(" a\r\nb\x1b[31m \u202e c "); got != "a b [31m c" {
		t.Errorf("%q", got)
	}
	if got := OneLine(strings.Repeat("ä", 300)); len([]rune(got)) != 201 {
		t.Errorf("%d runes", len([]rune(got)))
	}
}
