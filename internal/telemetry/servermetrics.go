package telemetry

import (
	"context"
	"io"
	"log/slog"
	"net/http"
)

// serverMetrics passes the local server's own metrics on. The agent asks for them with its token, so that no endpoint of
// the server has to answer without one. One scrape is served at a time: the agent needs the server for its judgements too.
func serverMetrics(ask func(context.Context) (io.ReadCloser, error), log *slog.Logger) http.Handler {
	turn := make(chan struct{}, 1)
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if ask == nil {
			http.Error(w, "there is no agent token to ask the server with: docs/telemetry.md says how to give one", http.StatusServiceUnavailable)
			return
		}
		select {
		case turn <- struct{}{}:
			defer func() { <-turn }()
		case <-r.Context().Done():
			return
		}
		page, err := ask(r.Context())
		if err != nil {
			http.Error(w, err.Error(), http.StatusServiceUnavailable)
			return
		}
		defer page.Close()
		w.Header().Set("Content-Type", "text/plain; version=0.0.4; charset=utf-8")
		if _, err := io.Copy(w, page); err != nil {
			log.Debug("cannot pass the server's metrics on", "error", err)
			// Half a page must not look like a whole one.
			panic(http.ErrAbortHandler)
		}
	})
}
