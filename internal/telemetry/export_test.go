package telemetry

import (
	"context"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"net/url"
)

// HealthCode is the answer of /healthz to a raw query, also to one that no client would send.
func HealthCode(e *Exporter, h Health, query string) int {
	w := httptest.NewRecorder()
	r := &http.Request{Method: http.MethodGet, URL: &url.URL{Path: "/healthz", RawQuery: query}}
	e.Handler(Probes{
		Alive:  func() error { return nil },
		Server: func(context.Context) (Health, error) { return h, nil },
	}, nil, slog.New(slog.DiscardHandler)).ServeHTTP(w, r)
	return w.Code
}
