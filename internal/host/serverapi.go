package host

import (
	"context"
	"errors"
	"slices"
)

// Answers that the server's API gives to the agent's token. None of them holds a secret: no token, no
// accessor, no option of an audit device but those that are judged.
type (
	// AuditDevice is one enabled audit device.
	AuditDevice struct {
		Path string `json:"path"` // "file/"
		Type string `json:"type"` // "file", "syslog", "socket"
		// Options are those of file_path, mode, log_raw, hmac_accessor, prefix, filter, exclude and fallback that are set.
		Options map[string]string `json:"options"`
	}

	// Tokens is what is known of all living tokens.
	Tokens struct {
		Count int      `json:"count"` // without batch tokens, which the server keeps no list of
		Roots []string `json:"roots"` // display names of those with the policy root, sorted; one for each
	}

	// AuthMethod is one enabled auth method.
	AuthMethod struct {
		Path    string   `json:"path"`              // "userpass/"
		Type    string   `json:"type"`              // "userpass"
		Lockout *Lockout `json:"lockout,omitempty"` // nil: not tuned, so the server's configuration holds
	}

	// Lockout is how a method has been tuned to lock out who guesses.
	Lockout struct {
		Disabled bool  `json:"disabled"`
		Attempts int64 `json:"attempts"` // 0: not tuned
		Seconds  int64 `json:"seconds"`  // locked for so long; 0: not tuned
	}

	// Autopilot is the configuration and the state of the cluster's autopilot.
	Autopilot struct {
		CleanupDeadServers   bool     `json:"cleanup_dead_servers"`
		MinQuorum            int      `json:"min_quorum"`
		DeadServerSeconds    float64  `json:"dead_server_seconds"`   // dead_server_last_contact_threshold
		LastContactSeconds   float64  `json:"last_contact_seconds"`  // last_contact_threshold
		StabilizationSeconds float64  `json:"stabilization_seconds"` // server_stabilization_time
		MaxTrailingLogs      int      `json:"max_trailing_logs"`
		Healthy              bool     `json:"healthy"`
		Unhealthy            []string `json:"unhealthy"` // ids of servers that are not, sorted
		FailureTolerance     int      `json:"failure_tolerance"`
		Voters               int      `json:"voters"`
	}
)

// Reasons why the API was not asked. Its facts have not come yet then, and that is no failure.
var (
	ErrNoToken = errors.New("no agent token is configured")
	ErrSealed  = errors.New("the server is not unsealed")
)

// AuditDevices implements Host.
func (l *LiveHost) AuditDevices(ctx context.Context) ([]AuditDevice, error) {
	v, err := askAPI(ctx, l, "AuditDevices", (*API).auditDevices)
	return slices.Clone(v), err
}

// Tokens implements Host.
func (l *LiveHost) Tokens(ctx context.Context) (Tokens, error) {
	return askAPI(ctx, l, "Tokens", (*API).tokens)
}

// AuthMethods implements Host.
func (l *LiveHost) AuthMethods(ctx context.Context) ([]AuthMethod, error) {
	v, err := askAPI(ctx, l, "AuthMethods", (*API).authMethods)
	return slices.Clone(v), err
}

// Autopilot implements Host.
func (l *LiveHost) Autopilot(ctx context.Context) (Autopilot, error) {
	return askAPI(ctx, l, "Autopilot", (*API).autopilot)
}

// askAPI asks once in a run, and not in every run where there is a memory.
func askAPI[T any](ctx context.Context, l *LiveHost, method string, ask func(*API, context.Context) (T, error)) (T, error) {
	var none T
	if !l.api.HasToken() {
		return none, ErrNoToken
	}
	m := keyed(l, l.answers, method)
	v, err := m.get(func() (any, error) {
		// A server that has been sealed since has no members' facts, whatever is remembered. One answer serves the run.
		if _, err := l.unsealed.get(func() (struct{}, error) { return struct{}{}, l.api.Unsealed(ctx) }); err != nil {
			return none, err
		}
		return remember(l.memory, method, func() (T, error) { return ask(l.api, ctx) })
	})
	if err != nil {
		return none, err
	}
	return v.(T), nil
}

// AuditDevices answers ErrNotRunning.
func (*RootTree) AuditDevices(context.Context) ([]AuditDevice, error) { return nil, ErrNotRunning }

// Tokens answers ErrNotRunning.
func (*RootTree) Tokens(context.Context) (Tokens, error) { return Tokens{}, ErrNotRunning }

// AuthMethods answers ErrNotRunning.
func (*RootTree) AuthMethods(context.Context) ([]AuthMethod, error) { return nil, ErrNotRunning }

// Autopilot answers ErrNotRunning.
func (*RootTree) Autopilot(context.Context) (Autopilot, error) { return Autopilot{}, ErrNotRunning }

// AuditDevices implements Host.
func (r *Recorder) AuditDevices(ctx context.Context) ([]AuditDevice, error) {
	return recorded(r, "AuditDevices", "", func() ([]AuditDevice, error) { return r.host.AuditDevices(ctx) })
}

// Tokens implements Host.
func (r *Recorder) Tokens(ctx context.Context) (Tokens, error) {
	return recorded(r, "Tokens", "", func() (Tokens, error) { return r.host.Tokens(ctx) })
}

// AuthMethods implements Host.
func (r *Recorder) AuthMethods(ctx context.Context) ([]AuthMethod, error) {
	return recorded(r, "AuthMethods", "", func() ([]AuthMethod, error) { return r.host.AuthMethods(ctx) })
}

// Autopilot implements Host.
func (r *Recorder) Autopilot(ctx context.Context) (Autopilot, error) {
	return recorded(r, "Autopilot", "", func() (Autopilot, error) { return r.host.Autopilot(ctx) })
}

// AuditDevices implements Host.
func (r *Recording) AuditDevices(context.Context) ([]AuditDevice, error) {
	return replayed[[]AuditDevice](r, "AuditDevices", "")
}

// Tokens implements Host.
func (r *Recording) Tokens(context.Context) (Tokens, error) { return replayed[Tokens](r, "Tokens", "") }

// AuthMethods implements Host.
func (r *Recording) AuthMethods(context.Context) ([]AuthMethod, error) {
	return replayed[[]AuthMethod](r, "AuthMethods", "")
}

// Autopilot implements Host.
func (r *Recording) Autopilot(context.Context) (Autopilot, error) {
	return replayed[Autopilot](r, "Autopilot", "")
}
