package agent

import (
	"context"
	"crypto/tls"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"log/slog"
	"os"
	"strings"
	"sync"
	"time"

	"github.com/strongroom/strongroom/internal/check"
	"github.com/strongroom/strongroom/internal/cluster"
	"github.com/strongroom/strongroom/internal/control"
	"github.com/strongroom/strongroom/internal/node"
	"github.com/strongroom/strongroom/internal/report"
	"github.com/strongroom/strongroom/internal/server"
	"github.com/strongroom/strongroom/internal/telemetry"
)

// maxIdentity is far more than node.hcl and its authorities have.
const maxIdentity = 2 << 20

// ReadIdentity reads what configure has left of node.hcl.
func ReadIdentity(path string) (node.Identity, error) {
	var id node.Identity
	f, err := os.Open(path)
	if err != nil {
		return id, node.Hinted(fmt.Errorf("cannot tell who this node is: %w", err), "hostcheck-configure.service writes the file; its log says why it did not")
	}
	defer f.Close()
	content, err := io.ReadAll(io.LimitReader(f, maxIdentity))
	if err == nil {
		err = json.Unmarshal(content, &id)
	}
	if err != nil {
		return id, fmt.Errorf("cannot tell who this node is: %s: %w", path, err)
	}
	return id, nil
}

// AwaitIdentity waits until the node is configured, and says once that it waits. A file that is there and not understood is an error.
func AwaitIdentity(ctx context.Context, path string, waits func()) (node.Identity, error) {
	for told := false; ; told = true {
		id, err := ReadIdentity(path)
		if !errors.Is(err, fs.ErrNotExist) {
			return id, err
		}
		if !told {
			waits()
		}
		select {
		case <-ctx.Done():
			return id, ctx.Err()
		case <-time.After(settleInterval):
		}
	}
}

// NewSession makes the agent's token: the credential, or a login by the node's own certificate when node.hcl says so.
func NewSession(credentials, identity string, log *slog.Logger) *cluster.Session {
	token, err := node.ReadToken(credentials)
	if err != nil {
		log.Warn("facts of stage member stay pending", "error", err)
	}
	// node.hcl is understood once in a boot; until then nobody logs in.
	var mu sync.Mutex
	var known *node.Identity
	login := func() *node.Auth {
		mu.Lock()
		defer mu.Unlock()
		if known == nil {
			id, err := ReadIdentity(identity)
			if err != nil {
				return nil
			}
			known = &id
		}
		return known.Auth
	}
	return cluster.NewSession(token, login, certificateOf(credentials))
}

// certificateOf reads the node's certificate anew each time.
func certificateOf(credentials string) func() (*tls.Certificate, error) {
	return func() (*tls.Certificate, error) {
		m := readMaterial(credentials, slog.New(slog.DiscardHandler))
		if m.cert == nil {
			return nil, errors.New("this node has no usable certificate")
		}
		return m.cert, nil
	}
}

// JoinOptions are those of a joiner on this node, all but the judgement, the report and the cloud.
func JoinOptions(id node.Identity, product server.Product, addr, credentials string, session *cluster.Session, log *slog.Logger) cluster.Options {
	m := readMaterial(credentials, log)
	return cluster.Options{
		Identity: id, Local: addr, LocalName: m.name, NonVoters: product.ID == "openbao",
		Session: session, Certificate: certificateOf(credentials), Log: log,
		Restart: func(ctx context.Context) error {
			var systemd Systemd
			defer systemd.Close()
			return systemd.Restart(ctx, product.Unit)
		},
	}
}

// startJoining begins to bring the node into its cluster, once: the running host has passed for the first time. A node
// without a join block is left alone.
func (a *Agent) startJoining(ctx context.Context) {
	if a.joiner != nil || a.Identity == "" {
		return
	}
	id, err := ReadIdentity(a.Identity)
	if err != nil {
		if a.unknown.changed(err.Error()) {
			a.Log.ErrorContext(ctx, "cannot join", "error", err)
		}
		return
	}
	o := JoinOptions(id, a.Server, a.ServerAddr, a.Credentials, a.Session, a.Log)
	o.JudgeBoot = a.gateIsOpen
	o.JudgeRun = a.runPasses
	o.Report = a.joinIs
	o.Discover = a.Discover
	o.StateDir = a.StateDir
	joiner := cluster.New(o)
	a.joiner = joiner
	a.tasks.Go(func() { joiner.Run(ctx) })
}

// joinIs shows a state of the join. It is called by the joiner's goroutine.
func (a *Agent) joinIs(s cluster.Status) {
	if s.State == cluster.Off {
		return // no join, and so no state of it
	}
	states := make([]string, len(cluster.States))
	for i, state := range cluster.States {
		states[i] = string(state)
	}
	j := telemetry.Join{State: string(s.State), States: states, Reason: s.Reason, Hint: s.Hint, Since: s.Since, Fault: s.State == cluster.Refused || s.State == cluster.Failed}
	a.Exporter.SetJoin(j)
	if err := a.Journal.Join(j); err != nil {
		a.Log.Warn("cannot write to the journal", "error", err)
	}
	args := []any{"state", s.State}
	for _, more := range []struct{ name, value string }{{"reason", s.Reason}, {"hint", s.Hint}, {"leader", s.Leader}} {
		if more.value != "" {
			args = append(args, more.name, more.value)
		}
	}
	a.Log.Info("join", args...)
	a.notify("STATUS=" + a.status())
}

// gateIsOpen is stage boot, as the gate has judged it.
func (a *Agent) gateIsOpen(context.Context) error {
	if !a.Exporter.GateOpen() {
		return errors.New("the gate is closed")
	}
	return nil
}

// runPasses has the loop judge the running host now, and gives the reason when it does not pass. Facts that only a
// member has do not count yet.
func (a *Agent) runPasses(ctx context.Context) error {
	reply := make(chan *report.Document, 1)
	select {
	case a.judgeNow <- reply:
	case <-ctx.Done():
		return errors.New("the host was not judged in time")
	}
	select {
	case d := <-reply:
		return Passes(d)
	case <-ctx.Done():
		return errors.New("the host was not judged in time")
	}
}

// Passes gives the reason why a host with this report may not go on.
func Passes(d *report.Document) error {
	if d == nil {
		return errors.New("the host could not be judged")
	}
	if d.Verdict == check.Pass {
		return nil
	}
	var bad []string
	for _, c := range d.Controls {
		if c.Severity == control.Must && (c.Outcome == control.Fail || c.Outcome == control.Unknown) {
			bad = append(bad, c.ID)
		}
	}
	return fmt.Errorf("stage %s: %s (%s)", d.Stage, d.Verdict, strings.Join(bad, ", "))
}
