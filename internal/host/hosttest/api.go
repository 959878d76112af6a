package hosttest

import (
	"context"

	"github.com/strongroom/strongroom/internal/host"
)

// SetAuditDevices sets the fact.
func (h *Host) SetAuditDevices(v ...host.AuditDevice) *Host { return set(h, &h.audit, v) }

// SetTokens sets the fact.
func (h *Host) SetTokens(v host.Tokens) *Host { return set(h, &h.tokens, v) }

// SetAuthMethods sets the fact.
func (h *Host) SetAuthMethods(v ...host.AuthMethod) *Host { return set(h, &h.auth, v) }

// SetAutopilot sets the fact.
func (h *Host) SetAutopilot(v host.Autopilot) *Host { return set(h, &h.autopilot, v) }

// AuditDevices implements host.Host.
func (h *Host) AuditDevices(context.Context) ([]host.AuditDevice, error) {
	return get(h, "AuditDevices", &h.audit)
}

// Tokens implements host.Host.
func (h *Host) Tokens(context.Context) (host.Tokens, error) { return get(h, "Tokens", &h.tokens) }

// AuthMethods implements host.Host.
func (h *Host) AuthMethods(context.Context) ([]host.AuthMethod, error) {
	return get(h, "AuthMethods", &h.auth)
}

// Autopilot implements host.Host.
func (h *Host) Autopilot(context.Context) (host.Autopilot, error) {
	return get(h, "Autopilot", &h.autopilot)
}
