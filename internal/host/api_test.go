package host_test

import (
	"bytes"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"log"
	"net/http"
	"net/http/httptest"
	"reflect"
	"strings"
	"sync"
	"testing"

	"github.com/strongroom/strongroom/internal/host"
	"github.com/strongroom/strongroom/internal/node/nodetest"
)

type secret string

func (s secret) Reveal() []byte { return []byte(s) }

// vault is a server that knows the few paths which the agent asks.
type vault struct {
	mu      sync.Mutex
	answers map[string]string // by path; "403 {…}" is another status
	asked   []string
}

func (v *vault) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	v.mu.Lock()
	defer v.mu.Unlock()
	path := strings.TrimPrefix(r.URL.Path, "/v1/")
	if path == "auth/token/lookup-accessor" {
		b, _ := io.ReadAll(r.Body)
		path += " " + strings.Split(string(b), `"`)[3]
	}
	v.asked = append(v.asked, path)
	if want := map[bool]string{true: "", false: "hvs.agent"}[path == "sys/seal-status"]; r.Header.Get("X-Vault-Token") != want {
		http.Error(w, `{"errors":["another token"]}`, http.StatusForbidden)
		return
	}
	answer, ok := v.answers[path]
	status := http.StatusOK
	if !ok {
		answer, status = `{"errors":["1 error occurred:\n\t* permission denied\n\n"]}`, http.StatusForbidden
	}
	if strings.HasPrefix(answer, "400 ") {
		answer, status = answer[4:], http.StatusBadRequest
	}
	if strings.HasPrefix(answer, "307 ") {
		w.Header().Set("Location", answer[4:])
		status = http.StatusTemporaryRedirect
	}
	w.WriteHeader(status)
	_, _ = io.WriteString(w, answer)
}

// apiOf starts the server and gives a client of it.
func apiOf(t *testing.T, v *vault, token string) *host.API {
	t.Helper()
	ca := nodetest.NewCA(t, nodetest.Today())
	cert, key := ca.Issue(nodetest.Today(), "vault-1.example.net")
	pair, err := tls.X509KeyPair(cert, key)
	if err != nil {
		t.Fatal(err)
	}
	server := httptest.NewUnstartedServer(v)
	server.TLS = &tls.Config{Certificates: []tls.Certificate{pair}}
	server.Config.ErrorLog = log.New(io.Discard, "", 0)
	server.StartTLS()
	t.Cleanup(server.Close)
	roots := x509.NewCertPool()
	roots.AppendCertsFromPEM(ca.PEM)
	return host.NewAPI(host.APIOptions{Address: server.URL, Authorities: roots, ServerName: "vault-1.example.net", Token: secret(token)})
}

// member gives hosts that ask a server, a new one for each run.
func member(t *testing.T, v *vault, token string, memory *host.Memory) func() *host.LiveHost {
	t.Helper()
	api := apiOf(t, v, token)
	return func() *host.LiveHost {
		h, err := host.Live(host.LiveOptions{Root: t.TempDir(), API: api, Memory: memory})
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { h.Close() })
		return h
	}
}

func unsealed() *vault {
	return &vault{answers: map[string]string{
		"sys/seal-status": `{"initialized":true,"sealed":false}`,
		"sys/audit": `{"data":{"file/":{"type":"file","options":{"file_path":"/var/log/vault/a","mode":"0600","address":"10.0.0.1:9"}},
			"a/":{"type":"syslog","options":{}}}}`,
		"sys/auth": `{"data":{"token/":{"type":"token","config":{}},"userpass/":{"type":"userpass","config":{"user_lockout_config":
			{"user_lockout_disable":true,"user_lockout_threshold":3,"user_lockout_duration":60}}}}}`,
		"auth/token/accessors":             `{"data":{"keys":["one","two","three"]}}`,
		"auth/token/lookup-accessor one":   `{"data":{"policies":["root"],"display_name":"root"}}`,
		"auth/token/lookup-accessor two":   `{"data":{"policies":["default"],"display_name":"token"}}`,
		"auth/token/lookup-accessor three": `400 {"errors":["invalid accessor"]}`,
		"sys/storage/raft/autopilot/configuration": `{"data":{"cleanup_dead_servers":true,"min_quorum":3,"dead_server_last_contact_threshold":"24h0m0s",
			"last_contact_threshold":"10s","server_stabilization_time":"1m30s","max_trailing_logs":1000}}`,
		"sys/storage/raft/autopilot/state": `{"data":{"healthy":false,"failure_tolerance":1,"voters":["a","b"],"servers":{"b":{"healthy":false},"a":{"healthy":true}}}}`,
		"auth/token/renew-self":            `{"auth":{"renewable":true,"lease_duration":3600}}`,
	}}
}

func TestAPI(t *testing.T) {
	v := unsealed()
	h := member(t, v, "hvs.agent\n", nil)()
	recorder := host.NewRecorder(h)
	devices, err := recorder.AuditDevices(t.Context())
	wantDevices := []host.AuditDevice{{Path: "a/", Type: "syslog", Options: map[string]string{}},
		{Path: "file/", Type: "file", Options: map[string]string{"file_path": "/var/log/vault/a", "mode": "0600"}}}
	if err != nil || !reflect.DeepEqual(devices, wantDevices) {
		t.Errorf("audit devices %+v, %v", devices, err)
	}
	methods, err := recorder.AuthMethods(t.Context())
	wantMethods := []host.AuthMethod{{Path: "token/", Type: "token"}, {Path: "userpass/", Type: "userpass", Lockout: &host.Lockout{Disabled: true, Attempts: 3, Seconds: 60}}}
	if err != nil || !reflect.DeepEqual(methods, wantMethods) {
		t.Errorf("auth methods %+v, %v", methods, err)
	}
	tokens, err := recorder.Tokens(t.Context())
	if want := (host.Tokens{Count: 2, Roots: []string{"root"}}); err != nil || !reflect.DeepEqual(tokens, want) {
		t.Errorf("tokens %+v, %v", tokens, err)
	}
	autopilot, err := recorder.Autopilot(t.Context())
	if want := (host.Autopilot{CleanupDeadServers: true, MinQuorum: 3, DeadServerSeconds: 86400, LastContactSeconds: 10, StabilizationSeconds: 90,
		MaxTrailingLogs: 1000, Unhealthy: []string{"b"}, FailureTolerance: 1, Voters: 2}); err != nil || !reflect.DeepEqual(autopilot, want) {
		t.Errorf("autopilot %+v, %v", autopilot, err)
	}
	var b bytes.Buffer
	if _, err := recorder.WriteTo(&b); err != nil {
		t.Fatal(err)
	}
	for _, word := range []string{"hvs.agent", "two", "10.0.0.1"} { // the token, an accessor, where a socket goes
		if strings.Contains(b.String(), word) {
			t.Errorf("the recording holds %q", word)
		}
	}
	replay, err := host.Replay(&b)
	if err != nil {
		t.Fatal(err)
	}
	if got, err := replay.Autopilot(t.Context()); err != nil || !reflect.DeepEqual(got, autopilot) {
		t.Errorf("replayed %+v, %v", got, err)
	}
	if got, err := replay.AuthMethods(t.Context()); err != nil || !reflect.DeepEqual(got, methods) {
		t.Errorf("replayed %+v, %v", got, err)
	}
}

// A token is looked up once in its life, and what has been answered is not asked again for a while.
func TestAPIIsAskedSparingly(t *testing.T) {
	v := unsealed()
	open := member(t, v, "hvs.agent", nil)
	for range 3 {
		if _, err := open().Tokens(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	if n := strings.Count(strings.Join(v.asked, "\n"), "lookup-accessor two"); n != 1 {
		t.Errorf("a token without root was looked up %d times", n)
	}
	v = unsealed()
	open = member(t, v, "hvs.agent", &host.Memory{})
	for range 3 {
		if _, err := open().AuditDevices(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	if n := strings.Count(strings.Join(v.asked, "\n"), "sys/audit"); n != 1 {
		t.Errorf("with a memory it was asked %d times", n)
	}
	v.mu.Lock()
	v.answers["sys/seal-status"] = `{"initialized":true,"sealed":true}`
	v.mu.Unlock()
	if _, err := open().AuditDevices(t.Context()); !errors.Is(err, host.ErrSealed) {
		t.Errorf("sealed since, and still answered from memory: %v", err)
	}

	v = unsealed()
	run := member(t, v, "hvs.agent", nil)()
	_, tokensErr := run.Tokens(t.Context())
	_, devicesErr := run.AuditDevices(t.Context())
	if err := errors.Join(tokensErr, devicesErr); err != nil {
		t.Fatal(err)
	}
	if n := strings.Count(strings.Join(v.asked, "\n"), "sys/seal-status"); n != 1 {
		t.Errorf("one run asked %d times whether the server is sealed", n)
	}
}

func TestAPIThatCannotBeAsked(t *testing.T) {
	many := make([]string, 5001)
	for i := range many {
		many[i] = fmt.Sprintf("%q", fmt.Sprint("accessor", i))
	}
	for name, c := range map[string]struct {
		path, answer, token string
		want                error
		says                string
	}{
		"no token":            {token: " ", want: host.ErrNoToken},
		"sealed":              {path: "sys/seal-status", answer: `{"initialized":true,"sealed":true}`, token: "hvs.agent", want: host.ErrSealed},
		"not initialized":     {path: "sys/seal-status", answer: `{"initialized":false,"sealed":true}`, token: "hvs.agent", want: host.ErrSealed},
		"a refused token":     {token: "hvs.other", says: "HTTP status 403: another token"},
		"too many tokens":     {path: "auth/token/accessors", answer: `{"data":{"keys":[` + strings.Join(many, ",") + `]}}`, token: "hvs.agent", says: "more than 5000 tokens"},
		"far too many tokens": {path: "auth/token/accessors", answer: strings.Repeat(" ", 2<<20), token: "hvs.agent", says: "more than 5000 tokens"},
		"no JSON":             {path: "auth/token/accessors", answer: "<html>", token: "hvs.agent", says: "cannot read the answer"},
		"sent elsewhere":      {path: "auth/token/accessors", answer: "307 https://198.51.100.1/", token: "hvs.agent", says: "HTTP status 307"},
		"one that is denied":  {path: "auth/token/lookup-accessor two", answer: `400 {"errors":["permission denied"]}`, token: "hvs.agent", says: "permission denied"},
	} {
		t.Run(name, func(t *testing.T) {
			v := unsealed()
			if c.path != "" {
				v.answers[c.path] = c.answer
			}
			tokens, err := member(t, v, c.token, &host.Memory{})().Tokens(t.Context())
			if err == nil || c.want != nil && !errors.Is(err, c.want) || !strings.Contains(err.Error(), c.says) {
				t.Errorf("%+v, %v", tokens, err)
			}
			if err != nil && strings.Contains(err.Error(), c.token) && c.token != " " {
				t.Errorf("the error shows the token: %v", err)
			}
		})
	}
	h, err := host.Live(host.LiveOptions{Root: t.TempDir()})
	if err != nil {
		t.Fatal(err)
	}
	defer h.Close()
	if _, err := h.Tokens(t.Context()); !errors.Is(err, host.ErrNoToken) {
		t.Errorf("without an API: %v", err)
	}
}
