package lab

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/strongroom/strongroom/internal/check"
)

// fakeNode is a node whose agent gives the answers of a script, the last one for ever. There is
// no machine behind it.
func fakeNode(t *testing.T, answers ...string) *Node {
	t.Helper()
	return fakeNodeAsked(t, func(int) {}, answers...)
}

// fakeNodeAsked also tells of each question, by its number.
func fakeNodeAsked(t *testing.T, tell func(n int), answers ...string) *Node {
	t.Helper()
	authority := newAuthority(t)
	given := credentials(t, authority)
	pair, err := tls.X509KeyPair(given["strongroom.tls.crt"].Reveal(), given["strongroom.tls.key"].Reveal())
	if err != nil {
		t.Fatal(err)
	}
	var asked atomic.Int64
	server := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path != "/report" {
			http.NotFound(w, r)
			return
		}
		n := int(asked.Add(1))
		tell(n)
		answer := answers[min(n, len(answers))-1]
		if answer == "" {
			http.Error(w, "no report yet", http.StatusServiceUnavailable)
			return
		}
		io.WriteString(w, answer)
	}))
	server.TLS = &tls.Config{Certificates: []tls.Certificate{pair}}
	server.StartTLS()
	t.Cleanup(server.Close)
	console, err := newConsole(filepath.Join(t.TempDir(), "console.log"), nil)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { console.Close() })
	fmt.Fprintln(console, "last words")
	machine := &Machine{
		config: Config{Log: slog.New(slog.DiscardHandler)}, console: console,
		forwards: map[int]string{PortTelemetry: server.Listener.Addr().String()}, done: make(chan struct{}), started: time.Now(),
	}
	return &Node{machine, authority.ClientTLS()}
}

func answer(stage string, verdict check.Verdict) string {
	return fmt.Sprintf(`{"schema": "strongroom.report/v1", "stage": %q, "verdict": %q, "controls": [
		{"id": "memory-swap-off", "severity": "must", "outcome": "fail"},
		{"id": "time-source", "severity": "should", "outcome": "fail"},
		{"id": "kernel-lockdown", "severity": "must", "outcome": "unknown"}]}`, stage, verdict)
}

func TestAwaitVerdict(t *testing.T) {
	for name, c := range map[string]struct {
		answers []string
		want    string // stage and verdict
	}{
		"open gate, then the server is judged": {[]string{"", answer("boot", check.Pass), answer("run", check.Pass)}, "run pass"},
		"the server needs a moment":            {[]string{answer("run", check.Fail), answer("run", check.Unknown), answer("run", check.Pass)}, "run pass"},
		"closed gate":                          {[]string{"", answer("boot", check.Fail)}, "boot fail"},
		"the gate could not tell":              {[]string{answer("boot", check.Unknown)}, "boot unknown"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
			defer cancel()
			document, body, err := fakeNode(t, c.answers...).AwaitVerdict(ctx)
			if err != nil {
				t.Fatal(err)
			}
			if got := document.Stage.String() + " " + string(document.Verdict); got != c.want {
				t.Errorf("%s, want %s", got, c.want)
			}
			if string(body) != c.answers[len(c.answers)-1] {
				t.Errorf("the report is not kept as it came: %q", body)
			}
		})
	}
}

// Without a verdict the error says what was heard last, and what the console showed.
func TestAwaitVerdictFails(t *testing.T) {
	for name, c := range map[string]struct {
		answer string
		want   string
	}{
		"never answers":     {"", "status 503"},
		"never judged":      {answer("boot", check.Pass), "the gate is open"},
		"another schema":    {`{"schema": "strongroom.report/v9"}`, "strongroom.report/v9"},
		"other than a node": {"<html>", "cannot decode report"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			ctx, cancel := context.WithCancelCause(t.Context())
			defer cancel(nil)
			timeIsOver := func(n int) {
				if n > 1 { // the first answer has come
					cancel(context.DeadlineExceeded)
				}
			}
			_, _, err := fakeNodeAsked(t, timeIsOver, c.answer).AwaitVerdict(ctx)
			if err == nil || !strings.Contains(err.Error(), c.want) || !strings.Contains(err.Error(), "last words") {
				t.Errorf("error %v, want it to hold %q and the console", err, c.want)
			}
			if !errors.Is(err, context.DeadlineExceeded) {
				t.Errorf("error %v does not say that time ran out", err)
			}
		})
	}
}

// A machine that goes down while it is waited for is not waited for any longer.
func TestAwaitVerdictOfStoppedMachine(t *testing.T) {
	node := fakeNode(t, "")
	node.monitor = &monitor{closed: make(chan struct{})}
	node.event("SHUTDOWN", []byte(`{"guest": true, "reason": "guest-reset"}`))
	close(node.monitor.closed)
	close(node.done)
	_, _, err := node.AwaitVerdict(t.Context())
	if !errors.Is(err, ErrStopped) || !strings.Contains(err.Error(), "guest-reset") {
		t.Errorf("error %v, want that the guest reset itself", err)
	}
}
