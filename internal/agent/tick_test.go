package agent

import (
	"bytes"
	"context"
	"errors"
	"log/slog"
	"path/filepath"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/coreos/go-systemd/v22/journal"

	"github.com/strongroom/strongroom/internal/check"
	"github.com/strongroom/strongroom/internal/control"
	"github.com/strongroom/strongroom/internal/report"
	"github.com/strongroom/strongroom/internal/server"
	"github.com/strongroom/strongroom/internal/telemetry"
)

// machine is a node without a kernel: what systemd would say, what the gate has left, and what
// a judgement of the host would find.
type machine struct {
	t           *testing.T
	gate, vault Unit
	unreachable error
	started     []string
	stopped     []string
	startError  error
	host        check.Verdict // what judging gives
	judgeError  error
	judged      []control.Stage
	entries     int
	log         bytes.Buffer
	agent       *Agent
}

func newMachine(t *testing.T) *machine {
	m := &machine{
		t:    t,
		gate: Unit{Load: "loaded", Active: "inactive"},
		vault: Unit{Load: "loaded", Active: "inactive",
			Requires: []string{"system.slice", gateUnit}, After: []string{gateUnit}},
		host: check.Pass,
	}
	path := filepath.Join(t.TempDir(), "report.json")
	m.agent = &Agent{
		Options: Options{
			Judge: func(_ context.Context, stage control.Stage) (*report.Document, error) {
				m.judged = append(m.judged, stage)
				return verdict(stage, m.host), m.judgeError
			},
			Server: server.Products[0], Units: m, Exporter: telemetry.NewExporter(telemetry.Build{}), ReportPath: path, Interval: 30 * time.Second,
			Journal: telemetry.NewJournal(func(string, journal.Priority, map[string]string) error { m.entries++; return nil }),
			Notify:  func(string) error { return nil },
			Log:     slog.New(slog.NewTextHandler(&m.log, nil)),
		},
		gate: gateFile{path: path},
	}
	return m
}

func (m *machine) State(_ context.Context, name string) (Unit, error) {
	if m.unreachable != nil {
		return Unit{}, m.unreachable
	}
	return map[string]Unit{gateUnit: m.gate, m.agent.Server.Unit: m.vault}[name], nil
}

func (m *machine) Stop(_ context.Context, name string) error {
	m.stopped = append(m.stopped, name)
	m.vault.Active = "inactive"
	return nil
}

func (m *machine) Start(_ context.Context, name string) error {
	m.started = append(m.started, name)
	return m.startError
}

// gateSays is the gate having run.
func (m *machine) gateSays(v check.Verdict) {
	m.t.Helper()
	m.gate.Active = "inactive" // a oneshot that went well
	if v != check.Pass {
		m.gate.Active = "failed"
	}
	if err := telemetry.WriteReport(m.agent.ReportPath, verdict(control.StageBoot, v)); err != nil {
		m.t.Fatal(err)
	}
}

func (m *machine) tick() time.Duration { return m.agent.tick(context.Background()) }

func verdict(stage control.Stage, v check.Verdict) *report.Document {
	outcome := control.Pass
	if v != check.Pass {
		outcome = control.Fail
	}
	return &report.Document{Schema: report.Schema, Stage: stage, Verdict: v, Summary: map[string]int{},
		Controls: []report.Control{{ID: "memory-swap-off", Severity: control.Must, Outcome: outcome}}}
}

func (m *machine) expect(what string, ok bool) {
	m.t.Helper()
	if !ok {
		m.t.Errorf("not so: %s\nlog:\n%s", what, m.log.String())
	}
}

func TestNormalBoot(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := newMachine(t)
		m.gateSays(check.Pass)
		m.vault.Active = "activating"
		m.expect("it looks again soon while Vault starts", m.tick() == settleInterval)
		m.expect("the gate's report is shown without judging again", len(m.judged) == 0 && m.agent.Exporter.Report().Stage == control.StageBoot)
		m.expect("the gate is open", m.agent.Exporter.GateOpen())

		m.vault.Active = "active"
		m.host = check.Fail // the port is not open yet
		m.expect("it looks again soon after the start", m.tick() == settleInterval)
		m.host = check.Pass
		m.expect("it settles", m.tick() == m.agent.Interval)
		m.expect("stage run was judged", m.judged[0] == control.StageRun && m.agent.Exporter.Report().Stage == control.StageRun)
		m.expect("Vault is left to systemd", len(m.started) == 0)

		time.Sleep(settleTime)
		m.host = check.Fail
		m.expect("drift is judged at the usual pace", m.tick() == m.agent.Interval)
		m.expect("drift is shown, and does not close the gate", m.agent.Exporter.Report().Verdict == check.Fail && m.agent.Exporter.GateOpen())
	})
}

func TestClosedGateOpens(t *testing.T) {
	m := newMachine(t)
	m.gateSays(check.Fail)
	m.host = check.Fail
	m.expect("a gate that has just judged is not judged again at once", m.tick() == m.agent.Interval && len(m.judged) == 0)
	m.expect("its report is shown and the gate is closed", m.agent.Exporter.Report().Verdict == check.Fail && !m.agent.Exporter.GateOpen())
	m.expect("the journal is not told twice", m.entries == 0)

	m.tick()
	m.expect("the boot is judged again", len(m.judged) == 1 && m.judged[0] == control.StageBoot)
	m.expect("Vault stays down", len(m.started) == 0)

	m.host = check.Unknown
	m.tick()
	m.expect("unknown does not pass", len(m.started) == 0)

	m.host = check.Pass
	m.expect("it looks again soon", m.tick() == settleInterval)
	m.expect("systemd is asked to start Vault", len(m.started) == 1 && m.started[0] == m.agent.Server.Unit)
	m.expect("the agent's own opinion does not open the gate", !m.agent.Exporter.GateOpen())

	m.gateSays(check.Pass)
	m.vault.Active = "active"
	m.tick()
	m.expect("the gate's does", m.agent.Exporter.GateOpen())
	m.expect("and stage run follows", m.agent.Exporter.Report().Stage == control.StageRun)
	m.expect("Vault was started once", len(m.started) == 1)
}

// On an OpenBao node the agent looks at OpenBao's unit, and at no other.
func TestGateOpensForOpenBao(t *testing.T) {
	m := newMachine(t)
	product, err := server.Find("openbao")
	if err != nil {
		t.Fatal(err)
	}
	m.agent.Server = product
	m.host = check.Pass
	m.tick()
	m.expect("systemd is asked to start OpenBao", len(m.started) == 1 && m.started[0] == "openbao.service")
	m.expect("the log names it", strings.Contains(m.log.String(), "starting OpenBao"))
}

// Whatever the host looks like, Vault is started through a gate that can run, or not at all.
func TestNoWayRoundTheGate(t *testing.T) {
	cases := map[string]struct {
		edit   func(*machine)
		reason string
	}{
		"gate masked":         {func(m *machine) { m.gate.Load = "masked" }, "hostcheck-gate.service cannot run (masked)"},
		"gate missing":        {func(m *machine) { m.gate.Load = "not-found" }, "cannot run (not-found)"},
		"not required":        {func(m *machine) { m.vault.Requires = []string{"system.slice"} }, "does not require"},
		"not ordered":         {func(m *machine) { m.vault.After = nil }, "does not require"},
		"Vault masked":        {func(m *machine) { m.vault.Load = "masked" }, "vault.service cannot run (masked)"},
		"systemd unreachable": {func(m *machine) { m.unreachable = errors.New("no socket") }, "no socket"},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			m := newMachine(t)
			c.edit(m)
			for range 3 {
				m.expect("no hurry", m.tick() == m.agent.Interval)
			}
			m.expect("Vault was not started", len(m.started) == 0)
			m.expect("the gate counts as closed", !m.agent.Exporter.GateOpen())
			m.expect("the host was judged all the same", m.agent.Exporter.Report() != nil)
			m.expect("the log has the reason", strings.Contains(m.log.String(), c.reason))
			if m.unreachable == nil {
				m.expect("the reason is logged once", strings.Count(m.log.String(), c.reason) == 1)
			}
		})
	}
}

// A pass that the gate left earlier does not hold when its last run failed without a report,
// or when the unit has been masked since.
func TestOldReportDoesNotOpen(t *testing.T) {
	for name, edit := range map[string]func(*machine){
		"last run failed": func(m *machine) { m.gate.Active = "failed" },
		"masked since":    func(m *machine) { m.gate.Load = "masked" },
		"report removed":  func(m *machine) { m.agent.gate.path = filepath.Join(m.t.TempDir(), "gone") },
	} {
		t.Run(name, func(t *testing.T) {
			m := newMachine(t)
			m.gateSays(check.Pass)
			m.tick()
			m.expect("open at first", m.agent.Exporter.GateOpen())
			edit(m)
			m.tick()
			m.expect("closed now", !m.agent.Exporter.GateOpen())
		})
	}
}

func TestJudgingThatFails(t *testing.T) {
	m := newMachine(t)
	m.judgeError = errors.New("no baseline")
	m.expect("it tries again later", m.tick() == m.agent.Interval)
	m.expect("Vault stays down", len(m.started) == 0)
	m.expect("the log has the reason", strings.Contains(m.log.String(), "no baseline"))
	m.expect("the status says it", strings.Contains(m.agent.status(), "gate closed; the host has not been judged"))
}

func TestStartThatFails(t *testing.T) {
	m := newMachine(t)
	m.startError = errors.New("job conflicts")
	m.tick()
	m.expect("it is tried once per interval", m.tick() == m.agent.Interval && len(m.started) == 2)
	m.expect("the log has the reason", strings.Contains(m.log.String(), "job conflicts"))
}

// An operator stopped Vault: the agent does not start it again, and goes on watching.
func TestStoppedVaultStaysStopped(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := newMachine(t)
		m.gateSays(check.Pass)
		m.vault.Active = "active"
		m.tick()
		m.vault.Active = "inactive"
		m.expect("it may be a restart", m.tick() == settleInterval)
		time.Sleep(settleTime)
		m.expect("it is no restart", m.tick() == m.agent.Interval)
		m.expect("the boot facts are watched", m.agent.Exporter.Report().Stage == control.StageBoot)
		m.expect("Vault was not started", len(m.started) == 0)
	})
}
