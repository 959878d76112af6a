package host

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
)

// metricsPath is for Vault and OpenBao alike. The policy of the agent's token has to allow it.
const metricsPath = "sys/metrics?format=prometheus"

// maxMetrics is many times the page of a busy server.
const maxMetrics = 16 << 20

// Metrics gives the server's own metrics in Prometheus' text format. A standby must not forward the question, since the
// active node's metrics are not its own: OpenBao's then answers for itself, and Vault's has none to show, which is no
// fault. The page is read as it comes; more than 16 MiB of it, or more than 5 s, is an error.
func (a *API) Metrics(ctx context.Context) (io.ReadCloser, error) {
	if !a.HasToken() {
		return nil, errors.New("there is no agent token to ask the server with: docs/telemetry.md says how to give one")
	}
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, a.address+"/v1/"+metricsPath, nil)
	if err != nil {
		return nil, err
	}
	request.Header.Set("X-Vault-Request", "true")
	request.Header.Set("X-Vault-Token", string(a.secret()))
	request.Header.Set("X-Vault-No-Request-Forwarding", "true")
	answer, err := a.client.Do(request)
	if err != nil {
		return nil, errors.New("the server does not answer")
	}
	switch answer.StatusCode {
	case http.StatusOK:
		return &bounded{answer.Body, maxMetrics}, nil
	case http.StatusTemporaryRedirect: // to the active node
		answer.Body.Close()
		return io.NopCloser(strings.NewReader("# This node is a standby. The server's metrics are those of the active node.\n")), nil
	}
	defer answer.Body.Close()
	b, err := io.ReadAll(io.LimitReader(answer.Body, maxAPIAnswer))
	if err != nil {
		return nil, fmt.Errorf("sys/metrics: %w", err)
	}
	return nil, refusal("sys/metrics", answer.StatusCode, b)
}

// bounded is a body that may not be longer than it says.
type bounded struct {
	io.ReadCloser
	left int64
}

func (b *bounded) Read(p []byte) (int, error) {
	n, err := b.ReadCloser.Read(p)
	if b.left -= int64(n); b.left < 0 {
		return 0, fmt.Errorf("sys/metrics: more than %d bytes", maxMetrics)
	}
	return n, err
}
