package checktest

import (
	"github.com/strongroom/strongroom/internal/host"
	"github.com/strongroom/strongroom/internal/host/hosttest"
	"github.com/strongroom/strongroom/internal/server"
)

// Member answers as the API of a conforming cluster does.
func Member(h *hosttest.Host, p server.Product) *hosttest.Host {
	return h.SetAuditDevices(
		host.AuditDevice{Path: "file/", Type: "file", Options: map[string]string{"file_path": p.Audit + "/audit.log", "mode": "0600"}},
		host.AuditDevice{Path: "syslog/", Type: "syslog", Options: map[string]string{}},
	).SetTokens(host.Tokens{Count: 12, Roots: []string{}}).
		SetAuthMethods(host.AuthMethod{Path: "token/", Type: "token"}, host.AuthMethod{Path: "userpass/", Type: "userpass"}).
		SetAutopilot(Autopilot())
}

// Autopilot is that of a conforming cluster.
func Autopilot() host.Autopilot {
	return host.Autopilot{CleanupDeadServers: true, MinQuorum: 3, DeadServerSeconds: 86400, LastContactSeconds: 10,
		StabilizationSeconds: 10, MaxTrailingLogs: 1000, Healthy: true, Unhealthy: []string{}, FailureTolerance: 1, Voters: 3}
}

// WorstMember answers as the API of a cluster does that has nothing right.
func WorstMember(h *hosttest.Host) *hosttest.Host {
	return h.SetAuditDevices(host.AuditDevice{Path: "file/", Type: "file",
		Options: map[string]string{"file_path": "/tmp/x", "mode": "0777", "log_raw": "true", "hmac_accessor": "false"}}).
		SetTokens(host.Tokens{Count: 1, Roots: []string{"root"}}).
		SetAuthMethods(host.AuthMethod{Path: "userpass/", Type: "userpass", Lockout: &host.Lockout{Disabled: true}}).
		SetAutopilot(host.Autopilot{Unhealthy: []string{"node-2"}})
}
