package host

import (
	"bytes"
	"context"
	"crypto/sha256"
	"crypto/x509"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/strongroom/strongroom/internal/serverapi"
)

// API asks the server of this machine with the agent's token. It is made once and used for all runs of the
// checks, and is safe for concurrent use. A nil API has no token.
type API struct {
	address string
	token   Token
	client  *http.Client

	mu      sync.Mutex
	notRoot map[[sha256.Size]byte]bool // accessors of living tokens that are not root: a token's policies never change
}

// Token is a secret that is revealed only where it is sent.
type Token interface{ Reveal() []byte }

// APIOptions says where the server is.
type APIOptions struct {
	Address     string // "https://127.0.0.1:8200"
	Authorities *x509.CertPool
	ServerName  string // that the certificate is good for, since none names loopback
	Token       Token
}

const (
	apiPatience = 5 * time.Second // for one request
	// maxTokens is how many tokens are looked at; a cluster with more is told so.
	maxTokens = 5000
	// lookupTime is how long one run looks tokens up: what is left is looked up in the next.
	lookupTime = 10 * time.Second
	// maxAPIAnswer holds the accessors of that many tokens several times over.
	maxAPIAnswer = 1 << 20
)

// NewAPI makes the client. Nothing is asked before a check asks.
func NewAPI(o APIOptions) *API {
	return &API{
		address: o.Address,
		token:   o.Token,
		notRoot: map[[sha256.Size]byte]bool{},
		client:  serverapi.NewClient(serverapi.TLS(o.Authorities, o.ServerName), apiPatience, 2),
	}
}

// HasToken reports whether there is a token at all.
func (a *API) HasToken() bool { return a != nil && a.token != nil && len(a.secret()) > 0 }

func (a *API) secret() []byte { return bytes.TrimSpace(a.token.Reveal()) }

// sealStatus answers everybody, so that the token need not be shown.
const sealStatus = "sys/seal-status"

// Unsealed gives ErrSealed while the server cannot be asked anything else.
func (a *API) Unsealed(ctx context.Context) error {
	var out struct {
		Initialized bool `json:"initialized"`
		Sealed      bool `json:"sealed"`
	}
	if err := a.ask(ctx, http.MethodGet, sealStatus, nil, &out); err != nil {
		return err
	}
	if !out.Initialized || out.Sealed {
		return ErrSealed
	}
	return nil
}

// judgedOptions are the options of an audit device that somebody judges; the others may hold addresses.
var judgedOptions = []string{"file_path", "mode", "log_raw", "hmac_accessor", "prefix", "filter", "exclude", "fallback"}

func (a *API) auditDevices(ctx context.Context) ([]AuditDevice, error) {
	var out struct {
		Data map[string]struct {
			Type    string            `json:"type"`
			Options map[string]string `json:"options"`
		} `json:"data"`
	}
	if err := a.ask(ctx, http.MethodGet, "sys/audit", nil, &out); err != nil {
		return nil, err
	}
	devices := []AuditDevice{}
	for _, path := range slices.Sorted(maps.Keys(out.Data)) {
		d := AuditDevice{Path: path, Type: out.Data[path].Type, Options: map[string]string{}}
		for _, name := range judgedOptions {
			if value, ok := out.Data[path].Options[name]; ok {
				d.Options[name] = value
			}
		}
		devices = append(devices, d)
	}
	return devices, nil
}

func (a *API) authMethods(ctx context.Context) ([]AuthMethod, error) {
	var out struct {
		Data map[string]struct {
			Type   string `json:"type"`
			Config struct {
				Lockout *struct {
					Disabled bool  `json:"user_lockout_disable"`
					Attempts int64 `json:"user_lockout_threshold"`
					Seconds  int64 `json:"user_lockout_duration"`
				} `json:"user_lockout_config"`
			} `json:"config"`
		} `json:"data"`
	}
	if err := a.ask(ctx, http.MethodGet, "sys/auth", nil, &out); err != nil {
		return nil, err
	}
	methods := []AuthMethod{}
	for _, path := range slices.Sorted(maps.Keys(out.Data)) {
		m := AuthMethod{Path: path, Type: out.Data[path].Type}
		if l := out.Data[path].Config.Lockout; l != nil {
			m.Lockout = &Lockout{Disabled: l.Disabled, Attempts: l.Attempts, Seconds: l.Seconds}
		}
		methods = append(methods, m)
	}
	return methods, nil
}

// tokens looks every token up once in its life. What does not fit into one run's time is left for the
// next, and until then there is no answer.
func (a *API) tokens(ctx context.Context) (Tokens, error) {
	var list struct {
		Data struct {
			Keys []string `json:"keys"`
		} `json:"data"`
	}
	err := a.ask(ctx, http.MethodGet, "auth/token/accessors?list=true", nil, &list)
	if errors.Is(err, errTooMuch) || err == nil && len(list.Data.Keys) > maxTokens {
		return Tokens{}, fmt.Errorf("there are more than %d tokens: they are not looked at one by one", maxTokens)
	}
	if err != nil {
		return Tokens{}, err
	}
	out := Tokens{Count: len(list.Data.Keys), Roots: []string{}}
	a.mu.Lock()
	defer a.mu.Unlock()
	living := map[[sha256.Size]byte]bool{}
	began := time.Now()
	for i, accessor := range list.Data.Keys {
		id := sha256.Sum256([]byte(accessor))
		if a.notRoot[id] {
			living[id] = true
			continue
		}
		if time.Since(began) > lookupTime {
			return Tokens{}, fmt.Errorf("%d of %d tokens are not looked at yet", len(list.Data.Keys)-i, len(list.Data.Keys))
		}
		name, root, err := a.lookUp(ctx, accessor)
		switch {
		case errors.Is(err, errGone): // it has ended since
			out.Count--
		case err != nil:
			return Tokens{}, err
		case root:
			out.Roots = append(out.Roots, name)
		default:
			a.notRoot[id], living[id] = true, true
		}
	}
	a.notRoot = living
	slices.Sort(out.Roots)
	return out, nil
}

func (a *API) lookUp(ctx context.Context, accessor string) (name string, root bool, err error) {
	var out struct {
		Data struct {
			Policies []string `json:"policies"`
			Identity []string `json:"identity_policies"`
			Name     string   `json:"display_name"`
		} `json:"data"`
	}
	if err := a.ask(ctx, http.MethodPost, "auth/token/lookup-accessor", map[string]string{"accessor": accessor}, &out); err != nil {
		return "", false, err
	}
	return out.Data.Name, slices.Contains(out.Data.Policies, "root") || slices.Contains(out.Data.Identity, "root"), nil
}

func (a *API) autopilot(ctx context.Context) (Autopilot, error) {
	var config struct {
		Data struct {
			Cleanup       bool        `json:"cleanup_dead_servers"`
			MinQuorum     json.Number `json:"min_quorum"`
			DeadServer    string      `json:"dead_server_last_contact_threshold"`
			LastContact   string      `json:"last_contact_threshold"`
			Stabilization string      `json:"server_stabilization_time"`
			TrailingLogs  json.Number `json:"max_trailing_logs"`
		} `json:"data"`
	}
	if err := a.ask(ctx, http.MethodGet, "sys/storage/raft/autopilot/configuration", nil, &config); err != nil {
		return Autopilot{}, err
	}
	var state struct {
		Data struct {
			Healthy   bool        `json:"healthy"`
			Tolerance json.Number `json:"failure_tolerance"`
			Voters    []string    `json:"voters"`
			Servers   map[string]struct {
				Healthy bool `json:"healthy"`
			} `json:"servers"`
		} `json:"data"`
	}
	if err := a.ask(ctx, http.MethodGet, "sys/storage/raft/autopilot/state", nil, &state); err != nil {
		return Autopilot{}, err
	}
	out := Autopilot{CleanupDeadServers: config.Data.Cleanup, Healthy: state.Data.Healthy, Voters: len(state.Data.Voters), Unhealthy: []string{}}
	for id, s := range state.Data.Servers {
		if !s.Healthy {
			out.Unhealthy = append(out.Unhealthy, id)
		}
	}
	slices.Sort(out.Unhealthy)
	for _, n := range []struct {
		name string
		text json.Number
		to   *int
	}{
		{"min_quorum", config.Data.MinQuorum, &out.MinQuorum},
		{"max_trailing_logs", config.Data.TrailingLogs, &out.MaxTrailingLogs},
		{"failure_tolerance", state.Data.Tolerance, &out.FailureTolerance},
	} {
		v, err := strconv.Atoi(n.text.String())
		if err != nil {
			return Autopilot{}, fmt.Errorf("autopilot: %s: %q is not a number", n.name, n.text)
		}
		*n.to = v
	}
	for _, d := range []struct {
		name, text string
		to         *float64
	}{
		{"dead_server_last_contact_threshold", config.Data.DeadServer, &out.DeadServerSeconds},
		{"last_contact_threshold", config.Data.LastContact, &out.LastContactSeconds},
		{"server_stabilization_time", config.Data.Stabilization, &out.StabilizationSeconds},
	} {
		v, err := time.ParseDuration(d.text)
		if err != nil {
			return Autopilot{}, fmt.Errorf("autopilot: %s: %w", d.name, err)
		}
		*d.to = v.Seconds()
	}
	return out, nil
}

var (
	errTooMuch = fmt.Errorf("the answer has more than %d bytes", maxAPIAnswer)
	errGone    = errors.New("the token has ended")
)

// ask sends one request and decodes the answer. Errors name the path and the server's reason.
func (a *API) ask(ctx context.Context, method, path string, body, out any) error {
	var content io.Reader
	if body != nil {
		b, err := json.Marshal(body)
		if err != nil {
			return err
		}
		content = bytes.NewReader(b)
	}
	request, err := http.NewRequestWithContext(ctx, method, a.address+"/v1/"+path, content)
	if err != nil {
		return err
	}
	request.Header.Set("X-Vault-Request", "true")
	if path != sealStatus {
		request.Header.Set("X-Vault-Token", string(a.secret()))
	}
	answer, err := a.client.Do(request)
	if err != nil {
		return err
	}
	defer answer.Body.Close()
	b, err := io.ReadAll(io.LimitReader(answer.Body, maxAPIAnswer+1))
	switch {
	case err != nil:
		return fmt.Errorf("%s: %w", path, err)
	case len(b) > maxAPIAnswer:
		return fmt.Errorf("%s: %w", path, errTooMuch)
	case answer.StatusCode != http.StatusOK:
		return refusal(path, answer.StatusCode, b)
	}
	if err := json.Unmarshal(b, out); err != nil {
		return fmt.Errorf("%s: cannot read the answer: %w", path, err)
	}
	return nil
}

// refusal puts the server's own words behind the path.
func refusal(path string, status int, body []byte) error {
	var said struct {
		Errors []string `json:"errors"`
	}
	_ = json.Unmarshal(body, &said) // what is no JSON says nothing but its status
	// The server's sentences begin and end with lines of their own.
	words := strings.Join(strings.Fields(strings.Join(said.Errors, "; ")), " ")
	if path == "auth/token/lookup-accessor" && strings.Contains(words, "invalid accessor") {
		return errGone
	}
	if words == "" {
		return fmt.Errorf("%s: HTTP status %d", path, status)
	}
	return fmt.Errorf("%s: HTTP status %d: %s", path, status, words)
}
