package check_test

import (
	"fmt"
	"maps"
	"strings"
	"testing"

	"github.com/strongroom/strongroom/internal/check"
	"github.com/strongroom/strongroom/internal/check/checktest"
	"github.com/strongroom/strongroom/internal/control"
	"github.com/strongroom/strongroom/internal/host"
	"github.com/strongroom/strongroom/internal/host/hosttest"
)

// Each fact of the server's API that a control states is broken once, and that control notices. None of
// them closes the gate.
func TestBrokenMemberFactsFailTheirControl(t *testing.T) {
	b := checktest.Compile(t, checktest.Profile())
	device := func(options map[string]string) func(*hosttest.Host) {
		return func(h *hosttest.Host) {
			file := host.AuditDevice{Path: "file/", Type: "file", Options: map[string]string{"file_path": "/var/log/vault/audit.log", "mode": "0600"}}
			maps.Copy(file.Options, options)
			h.SetAuditDevices(file, host.AuditDevice{Path: "syslog/", Type: "syslog"})
		}
	}
	lockout := func(l host.Lockout) func(*hosttest.Host) {
		return func(h *hosttest.Host) {
			h.SetAuthMethods(host.AuthMethod{Path: "people/", Type: "userpass", Lockout: &l})
		}
	}
	autopilot := func(break_ func(*host.Autopilot)) func(*hosttest.Host) {
		return func(h *hosttest.Host) {
			a := checktest.Autopilot()
			break_(&a)
			h.SetAutopilot(a)
		}
	}
	for name, c := range map[string]struct {
		control string
		break_  func(*hosttest.Host)
	}{
		"one audit device": {"api-audit-devices-two", func(h *hosttest.Host) { h.SetAuditDevices(host.AuditDevice{Path: "syslog/", Type: "syslog"}) }},
		"two of a kind": {"api-audit-devices-two", func(h *hosttest.Host) {
			h.SetAuditDevices(host.AuditDevice{Path: "syslog/", Type: "syslog"}, host.AuditDevice{Path: "more/", Type: "syslog"})
		}},
		"values in clear text":            {"api-audit-values-hashed", device(map[string]string{"log_raw": "1"})},
		"log_raw that is no boolean":      {"api-audit-values-hashed", device(map[string]string{"log_raw": "maybe"})},
		"accessors in clear text":         {"api-audit-values-hashed", device(map[string]string{"hmac_accessor": "false"})},
		"entries are left out":            {"api-audit-values-hashed", device(map[string]string{"filter": "operation != read"})},
		"the log can be run":              {"api-audit-files-confined", device(map[string]string{"mode": "0700"})},
		"everybody reads the log":         {"api-audit-files-confined", device(map[string]string{"mode": "0644"})},
		"a mode that is none":             {"api-audit-files-confined", device(map[string]string{"mode": "rw"})},
		"the log has a prefix":            {"api-audit-files-confined", device(map[string]string{"prefix": "#!/bin/sh"})},
		"the log lies elsewhere":          {"api-audit-files-confined", device(map[string]string{"file_path": "/var/log/vault/../../lib/vault/x"})},
		"the log goes to standard output": {"api-audit-files-confined", device(map[string]string{"file_path": "stdout"})},
		"a root token":                    {"api-root-tokens-none", func(h *hosttest.Host) { h.SetTokens(host.Tokens{Count: 3, Roots: []string{"root"}}) }},
		"no lockout":                      {"api-user-lockout-effective", lockout(host.Lockout{Disabled: true})},
		"a hundred tries":                 {"api-user-lockout-effective", lockout(host.Lockout{Attempts: 100, Seconds: 900})},
		"locked for a second":             {"api-user-lockout-effective", lockout(host.Lockout{Attempts: 5, Seconds: 1})},
		"a member is not healthy":         {"api-autopilot-healthy", autopilot(func(a *host.Autopilot) { a.Unhealthy = []string{"node-2"} })},
		"autopilot is not healthy":        {"api-autopilot-healthy", autopilot(func(a *host.Autopilot) { a.Healthy = false })},
		"dead members stay":               {"api-autopilot-cleanup-bounded", autopilot(func(a *host.Autopilot) { a.CleanupDeadServers = false })},
		"cleanup without a limit":         {"api-autopilot-cleanup-bounded", autopilot(func(a *host.Autopilot) { a.MinQuorum = 0 })},
		"a reboot is a death":             {"api-autopilot-thresholds-sane", autopilot(func(a *host.Autopilot) { a.DeadServerSeconds = 60 })},
		"silence is health":               {"api-autopilot-thresholds-sane", autopilot(func(a *host.Autopilot) { a.LastContactSeconds = 3600 })},
		"a new member votes at once":      {"api-autopilot-thresholds-sane", autopilot(func(a *host.Autopilot) { a.StabilizationSeconds = 0.5 })},
		"lagging is health":               {"api-autopilot-thresholds-sane", autopilot(func(a *host.Autopilot) { a.MaxTrailingLogs = 1000000 })},
	} {
		t.Run(name, func(t *testing.T) {
			h := checktest.Node(t, b)
			c.break_(h)
			onlyFails(t, b, h, control.StageMember, c.control)
			if r := run(t, b, h, control.StageMember); r.Verdict != check.Pass {
				t.Errorf("verdict %s: a member's fact closes the gate", r.Verdict)
			}
		})
	}
}

// Without a token the facts have not come; with one that is refused nobody could look.
func TestMemberFactsNeedAToken(t *testing.T) {
	b := checktest.Compile(t, checktest.Profile())
	for _, c := range []struct {
		err  error
		want control.Outcome
		says string
	}{
		{host.ErrNoToken, control.Pending, "no agent token is configured"},
		{fmt.Errorf("asked: %w", host.ErrSealed), control.Pending, "the server is not unsealed"},
		{fmt.Errorf("sys/audit: HTTP status 403: permission denied"), control.Unknown, "permission denied"},
	} {
		h := checktest.Node(t, b)
		for _, fact := range []string{"AuditDevices", "Tokens", "AuthMethods", "Autopilot"} {
			h.FailFact(fact, c.err)
		}
		r := run(t, b, h, control.StageMember)
		n := 0
		for _, got := range r.Controls {
			if got.Control.Family != "api" {
				continue
			}
			n++
			said := got.Observations[0].Got
			if got.Observations[0].Err != nil {
				said = got.Observations[0].Err.Error()
			}
			if got.Outcome != c.want || !strings.Contains(said, c.says) {
				t.Errorf("%v: %s is %s and says %q", c.err, got.Control.ID, got.Outcome, said)
			}
		}
		if n < 8 || r.Verdict != check.Pass {
			t.Errorf("%d controls of the API, verdict %s", n, r.Verdict)
		}
	}
	onlyFails(t, b, checktest.Node(t, b).SetAuthMethods(host.AuthMethod{Path: "token/", Type: "token"}), control.StageMember)
}
