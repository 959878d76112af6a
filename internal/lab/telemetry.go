package lab

import (
	"bytes"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"slices"
	"strings"
	"time"

	"github.com/strongroom/strongroom/internal/check"
	"github.com/strongroom/strongroom/internal/control"
	"github.com/strongroom/strongroom/internal/lab/network"
	"github.com/strongroom/strongroom/internal/report"
)

// Node is a machine that was given credentials of an authority, seen through its ports.
type Node struct {
	*Machine
	trust *tls.Config
}

// StartNode boots a machine as a node: with credentials of the authority beside those of the
// config.
func StartNode(ctx context.Context, authority *Authority, config Config) (_ *Node, err error) {
	config = config.orUsual()
	alone := config.Network == nil
	if alone {
		if config.Network, err = network.New(config.Log); err != nil {
			return nil, err
		}
		defer func() {
			if err != nil {
				config.Network.Close()
			}
		}()
	}
	lease, err := config.Network.Lease(config.Name, config.Services.API)
	if err != nil {
		return nil, err
	}
	credentials, err := authority.Credentials(identityOf(lease, config.Services, config.Blocks...))
	if err != nil {
		return nil, err
	}
	config.Credentials = append(credentials, config.Credentials...)
	machine, err := Start(ctx, config)
	if err != nil {
		return nil, err
	}
	if alone {
		machine.release = slices.Insert(machine.release, 0, func() { config.Network.Close() })
	}
	return &Node{machine, authority.ClientTLS()}, nil
}

// requestTimeout allows for a TLS handshake on an emulated processor.
const requestTimeout = 5 * time.Second

// Get reads a page from a guest port over HTTPS. An answer of any status is an answer.
func (n *Node) Get(ctx context.Context, guestPort int, path string) (status int, body []byte, err error) {
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, "https://"+n.Address(guestPort)+path, nil)
	if err != nil {
		return 0, nil, err
	}
	// Each request has a connection of its own: one that was made before the guest had an
	// address is never answered.
	client := http.Client{Timeout: requestTimeout, Transport: &http.Transport{TLSClientConfig: n.trust, DisableKeepAlives: true}}
	response, err := client.Do(request)
	if err != nil {
		return 0, nil, err
	}
	defer response.Body.Close()
	body, err = io.ReadAll(io.LimitReader(response.Body, 32<<20))
	return response.StatusCode, body, err
}

// page is Get for a page of the agent that must be there.
func (n *Node) page(ctx context.Context, path string) ([]byte, error) {
	status, body, err := n.Get(ctx, n.config.Services.orUsual().Telemetry, path)
	if err != nil {
		return nil, err
	}
	if status != http.StatusOK {
		return nil, fmt.Errorf("GET %s: status %d: %.200s", path, status, bytes.TrimSpace(body))
	}
	return body, nil
}

// Report is what the node says about itself now: the document, and its bytes as they came.
func (n *Node) Report(ctx context.Context) (*report.Document, []byte, error) {
	body, err := n.page(ctx, "/report")
	if err != nil {
		return nil, nil, err
	}
	document, err := report.ReadJSON(bytes.NewReader(body))
	return document, body, err
}

// Metrics is the agent's page for Prometheus.
func (n *Node) Metrics(ctx context.Context) ([]byte, error) { return n.page(ctx, "/metrics") }

const (
	pollInterval = 500 * time.Millisecond
	// settle is how long a server may take to open its ports and lock its memory before a
	// failure at stage run counts.
	settle = 30 * time.Second
)

// AwaitVerdict waits until the node has decided: it has judged the running server, or it has
// judged the boot and keeps the server down. It asks over the network and believes nothing else.
func (n *Node) AwaitVerdict(ctx context.Context) (document *report.Document, body []byte, err error) {
	var ran time.Time // when stage run was first seen
	var last error    // why there is no verdict yet
	for {
		document, body, err = n.Report(ctx)
		switch {
		case err != nil:
			if ctx.Err() == nil || last == nil { // a question cut short by the end says less than the answer before it
				last = err
			}
		case document.Stage < control.StageRun && document.Verdict != check.Pass,
			document.Stage >= control.StageRun && document.Verdict == check.Pass:
			return document, body, nil
		case document.Stage < control.StageRun:
			last = errors.New("the gate is open, and the server has not been judged yet")
		default:
			if ran.IsZero() {
				ran = time.Now()
			}
			if time.Since(ran) > settle {
				return document, body, nil
			}
			last = fmt.Errorf("the verdict at stage %s is %s", document.Stage, document.Verdict)
		}
		select {
		case <-ctx.Done():
			return nil, nil, n.withConsole(fmt.Errorf("no verdict from the node: %w (last: %w)", context.Cause(ctx), last))
		case <-n.Done():
			shutdown, err := n.Wait(ctx)
			if err == nil {
				err = fmt.Errorf("%w: %s", ErrStopped, shutdown.Reason)
			}
			return nil, nil, n.withConsole(fmt.Errorf("no verdict from the node: %w", err))
		case <-time.After(pollInterval):
		}
	}
}

// PowerOff presses the power button and waits until the guest has shut itself down.
func (n *Node) PowerOff(ctx context.Context) (Shutdown, error) {
	if err := n.PowerButton(ctx); err != nil {
		return Shutdown{}, err
	}
	shutdown, err := n.Wait(ctx)
	if err != nil {
		return Shutdown{}, n.withConsole(fmt.Errorf("the power button was pressed: %w", err))
	}
	if !shutdown.Guest || shutdown.Reason != "guest-shutdown" {
		return shutdown, n.withConsole(fmt.Errorf("the power button ended in %q instead of a shutdown by the guest", shutdown.Reason))
	}
	return shutdown, nil
}

// withConsole adds the end of the console, where the reason is.
func (m *Machine) withConsole(err error) error {
	return fmt.Errorf("%w\nend of the console:\n  %s", err, strings.Join(m.console.Tail(), "\n  "))
}

// progress logs a line every few seconds until the machine has stopped or the
// returned function is called.
func (m *Machine) progress(log *slog.Logger, doing string) (stop func()) {
	ticker := time.NewTicker(progressInterval)
	stopped := make(chan struct{})
	go func() {
		for {
			select {
			case <-stopped:
				return
			case <-m.done:
				return
			case <-ticker.C:
				log.Info(doing, "seconds", int(m.Uptime().Seconds()), "console", m.LastLine())
			}
		}
	}()
	return func() { ticker.Stop(); close(stopped) }
}

const progressInterval = 5 * time.Second
