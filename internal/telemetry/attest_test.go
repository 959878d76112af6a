package telemetry_test

import (
	"bytes"
	"context"
	"errors"
	"net/http/httptest"
	"strings"
	"testing"

	"golang.org/x/crypto/bcrypt"

	"github.com/strongroom/strongroom/internal/attest"
	"github.com/strongroom/strongroom/internal/report"
	"github.com/strongroom/strongroom/internal/telemetry"
)

func TestAttest(t *testing.T) {
	nonce := strings.Repeat("ab", 32)
	entered, leave := make(chan struct{}, 1), make(chan struct{}, 1)
	var asked []byte // read after the answer
	var fails error
	ask := func(_ context.Context, got attest.Hex, text []byte) ([]byte, error) {
		if got.String() != nonce {
			t.Errorf("asked with nonce %s", got)
		}
		asked = bytes.Clone(text)
		entered <- struct{}{}
		<-leave
		return []byte("the document"), fails
	}
	e := telemetry.NewExporter(telemetry.Build{})
	h := e.Handler(telemetry.Probes{Alive: yes, Server: ready, Attest: ask}, nil, quiet)
	if w := get(h, "GET", "/attest?nonce="+nonce); w.Code != 503 {
		t.Errorf("before any report: %d %s", w.Code, w.Body)
	}
	e.Show(document(nil))
	for _, query := range []string{"", "?nonce=", "?nonce=abcd", "?nonce=" + strings.Repeat("z", 64), "?nonce=%zz"} {
		if w := get(h, "GET", "/attest"+query); w.Code != 400 {
			t.Errorf("%q: %d %s", query, w.Code, w.Body)
		}
	}
	first := make(chan *httptest.ResponseRecorder, 1)
	go func() { first <- get(h, "GET", "/attest?nonce="+nonce) }()
	<-entered
	if w := get(h, "GET", "/attest?nonce="+nonce); w.Code != 429 || w.Header().Get("Retry-After") == "" {
		t.Errorf("a second question meanwhile: %d %s", w.Code, w.Body)
	}
	leave <- struct{}{}
	if w := <-first; w.Code != 200 || w.Body.String() != "the document" || w.Header().Get("Content-Type") != "application/json" {
		t.Errorf("%d %s", w.Code, w.Body)
	}
	if _, err := report.ReadJSON(bytes.NewReader(asked)); err != nil {
		t.Errorf("what the TPM vouches for is no report: %v", err)
	}
	fails = errors.New("no TPM")
	leave <- struct{}{}
	if w := get(h, "GET", "/attest?nonce="+nonce); w.Code != 503 || !strings.Contains(w.Body.String(), "no TPM") {
		t.Errorf("%d %s", w.Code, w.Body)
	}
}

// /attest asks for what /report asks for.
func TestAttestIsGuarded(t *testing.T) {
	e := telemetry.NewExporter(telemetry.Build{})
	e.Show(document(nil))
	ask := func(context.Context, attest.Hex, []byte) ([]byte, error) {
		t.Error("a stranger asks the TPM")
		return nil, nil
	}
	var access telemetry.Access
	if err := access.Set(map[string]string{"prometheus": hashed(t, "secret", bcrypt.MinCost)}, ""); err != nil {
		t.Fatal(err)
	}
	h := e.Handler(telemetry.Probes{Alive: yes, Server: ready, Attest: ask}, &access, quiet)
	if w := get(h, "GET", "/attest?nonce="+strings.Repeat("ab", 32)); w.Code != 401 {
		t.Errorf("%d %s", w.Code, w.Body)
	}
}
