package telemetry

import (
	"bytes"
	"context"
	"log/slog"
	"net/http"
	"net/url"

	"github.com/strongroom/strongroom/internal/attest"
	"github.com/strongroom/strongroom/internal/report"
)

// attestations answers GET /attest?nonce=HEX with the latest report and what the TPM says to it. One is made at a time: a TPM does
// one thing after the other, and the node needs it for more than this.
func (e *Exporter) attestations(ask func(ctx context.Context, nonce attest.Hex, report []byte) ([]byte, error), log *slog.Logger) http.Handler {
	turn := make(chan struct{}, 1)
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		nonce, err := nonceOf(r.URL.RawQuery)
		if err != nil {
			http.Error(w, err.Error(), http.StatusBadRequest)
			return
		}
		document := e.Report()
		switch {
		case ask == nil:
			http.Error(w, "this node has nothing to attest with", http.StatusNotFound)
			return
		case document == nil:
			http.Error(w, "the host has not been judged yet", http.StatusServiceUnavailable)
			return
		}
		select {
		case turn <- struct{}{}:
			defer func() { <-turn }()
		default:
			w.Header().Set("Retry-After", "1")
			http.Error(w, "another attestation is being made", http.StatusTooManyRequests)
			return
		}
		var text bytes.Buffer
		if err := report.WriteJSON(&text, e.withJoin(document)); err != nil {
			http.Error(w, err.Error(), http.StatusInternalServerError)
			return
		}
		answer, err := ask(r.Context(), nonce, text.Bytes())
		if err != nil {
			log.Warn("cannot attest", "error", err)
			http.Error(w, err.Error(), http.StatusServiceUnavailable)
			return
		}
		w.Header().Set("Content-Type", "application/json")
		if _, err := w.Write(answer); err != nil {
			log.Debug("cannot send the attestation", "error", err) // the asker went away
		}
	})
}

func nonceOf(query string) (attest.Hex, error) {
	values, err := url.ParseQuery(query)
	if err != nil {
		return nil, err
	}
	return attest.ParseNonce(values.Get("nonce"))
}
