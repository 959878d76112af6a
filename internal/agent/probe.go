package agent

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"sync"
	"time"

	"github.com/strongroom/strongroom/internal/server"
	"github.com/strongroom/strongroom/internal/serverapi"
	"github.com/strongroom/strongroom/internal/telemetry"
)

const (
	probeTimeout = 3 * time.Second
	// probeMemory bounds what any number of health checkers can ask of the server.
	probeMemory = time.Second
	// maxHealth is many times what a server says about itself.
	maxHealth = 64 << 10
)

// serverProbe asks the local server about itself. Vault and OpenBao answer alike. sys/health wants no token, and one
// small answer is no reason for a client library.
type serverProbe struct {
	name   string // as people write it
	url    string
	client *http.Client
	log    *slog.Logger

	mu      sync.Mutex
	asked   time.Time
	said    telemetry.Health
	failed  error
	trouble once
}

func newServerProbe(product server.Product, addr string, m material, log *slog.Logger) *serverProbe {
	return &serverProbe{
		name:   product.Name,
		url:    addr + "/v1/" + serverapi.Health,
		client: serverapi.NewClient(serverapi.TLS(m.cas, m.name), probeTimeout, 1),
		log:    log,
	}
}

// check gives what the server says about itself, or why it says nothing. Answers are kept for a second.
func (p *serverProbe) check(ctx context.Context) (telemetry.Health, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if time.Since(p.asked) < probeMemory {
		return p.said, p.failed
	}
	said, err := p.ask(ctx)
	if ctx.Err() != nil { // a caller that went away says nothing about the server
		return said, err
	}
	reason := ""
	if err != nil {
		// The reason is for the journal and not for everyone who may ask.
		reason = err.Error()
		err = errors.New(p.name + " does not answer")
	}
	if p.trouble.changed(reason) && reason != "" {
		p.log.WarnContext(ctx, "cannot ask "+p.name+" for its health", "error", reason)
	}
	p.said, p.failed, p.asked = said, err, time.Now()
	return said, err
}

func (p *serverProbe) ask(ctx context.Context) (telemetry.Health, error) {
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, p.url, nil)
	if err != nil {
		return telemetry.Health{}, err
	}
	answer, err := p.client.Do(request)
	if err != nil {
		return telemetry.Health{}, err
	}
	defer answer.Body.Close()
	if answer.StatusCode != http.StatusOK {
		return telemetry.Health{}, fmt.Errorf("sys/health: HTTP status %d", answer.StatusCode)
	}
	body, err := io.ReadAll(io.LimitReader(answer.Body, maxHealth))
	if err != nil {
		return telemetry.Health{}, fmt.Errorf("sys/health: %w", err)
	}
	return decodeHealth(body)
}

// decodeHealth reads an answer of sys/health. The fields that decide must be there: what is no such answer must not
// look like that of an active node.
func decodeHealth(body []byte) (telemetry.Health, error) {
	var said struct {
		Initialized        *bool  `json:"initialized"`
		Sealed             *bool  `json:"sealed"`
		Standby            *bool  `json:"standby"`
		PerformanceStandby bool   `json:"performance_standby"`
		DRMode             string `json:"replication_dr_mode"`
		Removed            bool   `json:"removed_from_cluster"`
		Connected          *bool  `json:"ha_connection_healthy"` // there only while it is a standby
	}
	if err := json.Unmarshal(body, &said); err != nil {
		return telemetry.Health{}, fmt.Errorf("sys/health: cannot read the answer: %w", err)
	}
	if said.Initialized == nil || said.Sealed == nil || said.Standby == nil {
		return telemetry.Health{}, errors.New("sys/health: the answer lacks initialized, sealed or standby")
	}
	return telemetry.Health{
		Initialized:        *said.Initialized,
		Sealed:             *said.Sealed,
		Standby:            *said.Standby,
		PerformanceStandby: said.PerformanceStandby,
		DRSecondary:        said.DRMode == "secondary",
		Removed:            said.Removed && serverapi.BelieveRemoved(*said.Sealed, !*said.Standby, said.Connected),
		Cut:                said.Connected != nil && !*said.Connected,
	}, nil
}
