package rollout

import (
	"context"
	"crypto/tls"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"slices"
	"strings"
	"testing"

	vault "github.com/hashicorp/vault/api"

	"github.com/strongroom/strongroom/internal/check"
)

// answers are pages by "HOST:PORT/path"; a host that has none of them refuses every connection.
type answers map[string]string

// source asks these answers over TLS.
func (a answers) source(t *testing.T, asked *[]string) *Source {
	t.Helper()
	server := httptest.NewTLSServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		*asked = append(*asked, r.Method+" "+r.Host+r.URL.Path)
		body, _ := io.ReadAll(r.Body)
		if len(body) > 0 {
			(*asked)[len(*asked)-1] += " " + string(body)
		}
		switch page := a[r.Host+r.URL.Path]; page {
		case "":
			w.WriteHeader(http.StatusNotFound)
		case "403":
			w.WriteHeader(http.StatusForbidden)
			fmt.Fprint(w, `{"errors": ["permission denied"]}`)
		case "401":
			w.WriteHeader(http.StatusUnauthorized)
		default:
			fmt.Fprint(w, page)
		}
	}))
	t.Cleanup(server.Close)
	dial := func(ctx context.Context, network, address string) (net.Conn, error) {
		for key := range a {
			if strings.HasPrefix(key, address+"/") {
				return new(net.Dialer).DialContext(ctx, network, server.Listener.Addr().String())
			}
		}
		return nil, errors.New("connection refused")
	}
	transport := &http.Transport{DialContext: dial, TLSClientConfig: &tls.Config{InsecureSkipVerify: true}} // the trust is the caller's
	config := vault.DefaultConfig()
	config.Address, config.HttpClient, config.MaxRetries = "https://lb:8200", &http.Client{Transport: transport}, 0
	client, err := vault.NewClient(config)
	if err != nil {
		t.Fatal(err)
	}
	client.SetToken("s.test")
	return &Source{Client: client, Agents: &http.Client{Transport: transport}, APIPort: 8200, AgentPort: 9810}
}

const (
	configurationPath = "/v1/sys/storage/raft/configuration"
	autopilotPath     = "/v1/sys/storage/raft/autopilot/state"
	configurationPage = `{"data": {"config": {"servers": [
		{"node_id": "n1", "address": "n1.example:8201", "leader": true, "voter": true},
		{"node_id": "n2", "address": "10.0.0.2:8201", "leader": false, "voter": true}]}}}`
	autopilotPage = `{"data": {"failure_tolerance": 1, "servers": {"n1": {"healthy": true}, "n2": {"healthy": false}}}}`
)

// A node's report is a real one; its agent that does not answer is told with the reason.
func TestLook(t *testing.T) {
	page, err := os.ReadFile("../report/testdata/fail.json")
	if err != nil {
		t.Fatal(err)
	}
	var asked []string
	s := answers{"lb:8200" + configurationPath: configurationPage, "lb:8200" + autopilotPath: autopilotPage, "n1.example:9810/report": string(page)}.source(t, &asked)
	c, err := s.Look(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	var want struct {
		Host struct {
			Root string `json:"root_hash"`
		}
		Verdict check.Verdict
	}
	if err := json.Unmarshal(page, &want); err != nil {
		t.Fatal(err)
	}
	n1, n2 := c.Members[0], c.Members[1]
	if !n1.Active || !n1.Healthy || n1.Root != want.Host.Root || n1.Verdict != want.Verdict || n1.Silent != nil {
		t.Errorf("n1: %+v", n1)
	}
	if n2.Active || n2.Healthy || n2.Silent == nil || !strings.Contains(n2.Silent.Error(), "connection refused") || c.Tolerance != 1 {
		t.Errorf("n2: %+v, tolerance %d", n2, c.Tolerance)
	}
}

// When the address that was given answers no more, the members do.
func TestLookAsksTheMembers(t *testing.T) {
	pages := answers{"lb:8200" + configurationPath: configurationPage, "lb:8200" + autopilotPath: autopilotPage}
	var asked []string
	s := pages.source(t, &asked)
	if _, err := s.Look(t.Context()); err != nil {
		t.Fatal(err)
	}
	for key, page := range pages {
		delete(pages, key)
		pages["10.0.0.2"+strings.TrimPrefix(key, "lb")] = page
	}
	if _, err := s.Look(t.Context()); err != nil {
		t.Fatal(err)
	}
	if err := s.RemovePeer(t.Context(), Member{ID: "n1"}); err == nil {
		t.Error("nobody has removed the peer, and that is no error")
	}
	if want := `PUT 10.0.0.2:8200/v1/sys/storage/raft/remove-peer {"server_id":"n1"}`; !slices.Contains(asked, want) {
		t.Errorf("%q; want %s", asked, want)
	}
}

// Who may not ask is told so at once, and an agent that wants a password is told apart from one that is away.
func TestLookRefused(t *testing.T) {
	var asked []string
	s := answers{"lb:8200" + configurationPath: "403"}.source(t, &asked)
	if _, err := s.Look(t.Context()); err == nil || !strings.Contains(err.Error(), "permission denied") || len(asked) != 1 {
		t.Errorf("%v after %q", err, asked)
	}
	s = answers{"lb:8200" + configurationPath: configurationPage, "lb:8200" + autopilotPath: autopilotPage, "n1.example:9810/report": "401"}.source(t, &asked)
	c, err := s.Look(t.Context())
	if err != nil || c.Members[0].Silent == nil || !strings.Contains(c.Members[0].Silent.Error(), "HTTP status 401") {
		t.Errorf("%v, %+v", err, c.Members[0])
	}
}
