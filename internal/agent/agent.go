package agent

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"sync"
	"sync/atomic"
	"time"

	"github.com/strongroom/strongroom/internal/attest"
	"github.com/strongroom/strongroom/internal/cluster"
	"github.com/strongroom/strongroom/internal/control"
	"github.com/strongroom/strongroom/internal/node"
	"github.com/strongroom/strongroom/internal/report"
	"github.com/strongroom/strongroom/internal/retire"
	"github.com/strongroom/strongroom/internal/server"
	"github.com/strongroom/strongroom/internal/telemetry"
	"github.com/strongroom/strongroom/internal/watch"
)

// Defaults of Options.
const (
	DefaultInterval = 10 * time.Second
	DefaultPort     = "9810" // that the agent serves on
	DefaultAPIPort  = "8200" // of the server
	DefaultTLS      = node.AgentTLS
)

const (
	// settleInterval is how often the agent looks while something is about to change: the server
	// is starting, or has just started and has not locked its memory or opened its ports yet.
	settleInterval = 2 * time.Second
	// settleTime is how long a start may take until it counts as the normal state.
	settleTime = 90 * time.Second
	// judgeTimeout must stay below the unit's WatchdogSec=: the loop gives signs of life between
	// judgements only, so that a check engine that hangs ends in a restart.
	judgeTimeout = 60 * time.Second
	// drainTime is what a scrape may still take after SIGTERM.
	drainTime = 3 * time.Second
)

// Judge judges the host at a stage.
type Judge func(ctx context.Context, stage control.Stage) (*report.Document, error)

// Options of an agent. Only Watchdog has a useful zero value.
type Options struct {
	Judge       Judge
	Server      server.Product // that the gate guards
	Member      Member         // nil: no token, so that stage member never comes
	Session     *cluster.Session
	Identity    string                         // file that configure leaves; empty: the node joins nothing
	Discover    cluster.Discover               // asks a cloud for members; nil: auto_join finds nobody
	Cloud       func(node.Retire) retire.Cloud // that a retire block names; nil: nobody is listened to
	StateDir    string                         // on the data partition; empty: cluster.DefaultStateDir
	Units       Units
	Exporter    *telemetry.Exporter
	Journal     *telemetry.Journal
	Credentials string // $CREDENTIALS_DIRECTORY: TLS material for the port, and the CA of the server
	TLS         string // directory of the material that is renewed, preferred to Credentials
	Listen      string
	ReportPath  string // where the gate left its report
	Snapshots   string // where hostcheck snapshot leaves its result; empty: it is not shown
	ShipsLogs   bool   // the image ships the journal
	AuditSeen   string // where hostcheck audit-watch leaves what it has seen; empty: it is not shown
	ServerAddr  string // the local server's API
	Interval    time.Duration
	// ServerMetrics gives the server's own metrics; nil: there is no way to ask.
	ServerMetrics func(context.Context) (io.ReadCloser, error)
	// Withdraw calls stop when the cluster can lose this node; nil: the members are asked.
	Withdraw func(ctx context.Context, id node.Identity, done func(string), stop func(context.Context) error) error
	// Attest has the TPM vouch for a report; nil: nobody answers /attest.
	Attest func(ctx context.Context, nonce attest.Hex, report []byte) ([]byte, error)
	// Watch listens for changes of the host until the context ends; nil: the periodic reading alone finds them.
	Watch    func(context.Context, watch.Listener)
	Notify   func(state string) error // to systemd
	Watchdog time.Duration            // 0: nobody watches
	Log      *slog.Logger
}

// Agent is one running agent.
type Agent struct {
	Options
	gate      gateFile
	material  *renewable
	phase     phase
	since     time.Time // of the phase
	complain  once      // about a gate that cannot be opened
	trouble   once      // with the agent's token
	unknown   once      // who the node is
	blind     once      // to the audit log's file system
	unshipped once      // what of the journal has left the node
	unseen    once      // what the watch of the audit log has seen
	joiner    *cluster.Joiner
	backup    time.Time // of the result of hostcheck snapshot that is shown
	passed    bool      // the last judgement
	heeds     bool      // the cloud, which may say that this machine goes
	named     named
	access    telemetry.Access           // to the port
	judgeNow  chan chan *report.Document // the joiner asks for stage run
	driftStop driftStop
	announcements
	tasks    sync.WaitGroup
	lastTick atomic.Int64
}

// Run serves and judges until the context ends. It returns an error when it cannot serve.
func Run(ctx context.Context, o Options) error {
	a := &Agent{Options: o, gate: gateFile{path: o.ReportPath}, judgeNow: make(chan chan *report.Document), announcements: newAnnouncements()}
	if a.Withdraw == nil {
		a.Withdraw = a.withdrawFromCluster
	}
	a.material = newRenewable(o.TLS, o.Credentials, o.Log, o.Exporter.SetTLSExpiry)
	listener, err := net.Listen("tcp", o.Listen)
	if err != nil {
		return fmt.Errorf("cannot serve telemetry: %w", err)
	}
	probe := newServerProbe(o.Server, o.ServerAddr, *a.material.current.Load(), o.Log)
	a.lastTick.Store(time.Now().UnixNano())
	endpoint := telemetry.NewServer(o.Exporter.Handler(telemetry.Probes{Alive: a.alive, Server: probe.check, ServerMetrics: o.ServerMetrics, Attest: o.Attest}, &a.access, o.Log), o.Log)
	served := make(chan error, 1)
	go func() { served <- endpoint.Serve(telemetry.Limit(listener, a.access.TLS(a.material.serverTLS()))) }()
	o.Log.Info("serving the verdict", "address", listener.Addr().String(), "tls", a.material.serverTLS() != nil)
	if a.material.serverTLS() == nil {
		o.Log.Warn("serving plain HTTP: there is no usable TLS certificate")
	}
	a.notify("READY=1")

	working, stop := context.WithCancel(ctx)
	a.identify(working)
	a.listen(working)
	err = a.loop(working, served)
	stop()
	a.tasks.Wait()
	a.notify("STOPPING=1")
	drain, cancel := context.WithTimeout(context.WithoutCancel(ctx), drainTime)
	defer cancel()
	if shutdownErr := endpoint.Shutdown(drain); shutdownErr != nil {
		err = errors.Join(err, endpoint.Close())
	}
	return err
}

func (a *Agent) loop(ctx context.Context, served <-chan error) error {
	next, due := time.NewTimer(0), time.Now()
	defer next.Stop()
	lookIn := func(wait time.Duration) {
		due = time.Now().Add(wait)
		next.Reset(wait)
	}
	announced := func(source watch.Source) {
		if wait, first := a.note(source); first && time.Now().Add(wait).Before(due) {
			lookIn(wait)
		}
	}
	again := func() {
		for _, source := range a.looked() {
			announced(source)
		}
	}
	var watchdog <-chan time.Time
	if a.Watchdog > 0 {
		ticker := time.NewTicker(a.Watchdog / 3)
		defer ticker.Stop()
		watchdog = ticker.C
	}
	for {
		select {
		case <-ctx.Done():
			return nil
		case err := <-served:
			if !errors.Is(err, http.ErrServerClosed) {
				return fmt.Errorf("cannot serve telemetry: %w", err)
			}
			return nil
		case <-watchdog:
			a.notify("WATCHDOG=1")
		case reply := <-a.judgeNow:
			reply <- a.judge(ctx, a.stage(ctx))
			again()
		case source := <-a.heard:
			announced(source)
		case <-next.C:
			if !a.material.refresh() {
				a.Log.Info("the authorities or the name of this node have changed: starting again with them")
				return nil
			}
			a.identify(ctx)
			a.showSnapshots()
			a.showLogs()
			lookIn(a.tick(ctx))
			again()
			a.lastTick.Store(time.Now().UnixNano())
			a.notify("WATCHDOG=1\nSTATUS=" + a.status())
		}
	}
}

// alive is for /livez: the loop has turned lately.
func (a *Agent) alive() error {
	silent := time.Since(time.Unix(0, a.lastTick.Load()))
	if silent > 2*a.Interval+judgeTimeout {
		return fmt.Errorf("the agent has not looked for %s", silent.Round(time.Second))
	}
	return nil
}

func (a *Agent) notify(state string) {
	if err := a.Notify(state); err != nil {
		a.Log.Warn("cannot notify systemd", "error", err)
	}
}

// status is the line that systemctl shows.
func (a *Agent) status() string {
	gate := "gate closed"
	if a.Exporter.GateOpen() {
		gate = "gate open"
	}
	d := a.Exporter.Report()
	if d == nil {
		return gate + "; the host has not been judged"
	}
	line := fmt.Sprintf("%s; stage %s: %s, %d of %d controls pass", gate, d.Stage, d.Verdict,
		d.Summary[control.Pass.String()], len(d.Controls))
	if j := a.Exporter.Join(); j != nil {
		line += "; join: " + j.State
		if j.Reason != "" {
			line += ": " + j.Reason
		}
	}
	return line
}
