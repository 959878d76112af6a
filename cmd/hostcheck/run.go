package main

import (
	"cmp"
	"context"
	"errors"
	"log/slog"
	"maps"
	"net/netip"
	"os"
	"runtime/debug"

	"github.com/spf13/cobra"

	"github.com/strongroom/strongroom/internal/agent"
	"github.com/strongroom/strongroom/internal/attest"
	"github.com/strongroom/strongroom/internal/check"
	"github.com/strongroom/strongroom/internal/cluster"
	"github.com/strongroom/strongroom/internal/configure"
	"github.com/strongroom/strongroom/internal/control"
	"github.com/strongroom/strongroom/internal/discover"
	"github.com/strongroom/strongroom/internal/host"
	"github.com/strongroom/strongroom/internal/logs"
	"github.com/strongroom/strongroom/internal/node"
	"github.com/strongroom/strongroom/internal/report"
	"github.com/strongroom/strongroom/internal/retire"
	"github.com/strongroom/strongroom/internal/server"
	"github.com/strongroom/strongroom/internal/snapshot"
	"github.com/strongroom/strongroom/internal/telemetry"
	"github.com/strongroom/strongroom/internal/watch"
)

// ownUnit is the agent's.
const ownUnit = "hostcheck.service"

func runCommand() *cobra.Command {
	return &cobra.Command{
		Use:   "run",
		Short: "Watch this node: serve the verdict and metrics, judge again, start the server when the gate opens",
		Long: `run is the agent of a node (hostcheck.service). It serves /metrics, /report, /livez and /healthz on the
baseline's agent_port (9810), also when the gate keeps the server down; judges a closed gate again and has systemd start
the server, Vault or OpenBao as the baseline says, when it passes; and judges the running server.`,
		Example: `  hostcheck run                    what hostcheck.service does
  journalctl -u hostcheck          what it has to say`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error { return runAgent(cmd.Context()) },
	}
}

func runAgent(ctx context.Context) error {
	// What lives is small, and each judgement leaves some megabytes of garbage: collected twice as often, they cost 2 MiB less of
	// memory and some hundredths of a percent of a processor.
	debug.SetGCPercent(50)
	log := slog.New(slog.NewTextHandler(os.Stderr, nil))
	watchdog, err := telemetry.Watchdog()
	if err != nil {
		return &exit{exitFail, err}
	}
	own := thisNode(log)
	serverAddr := "https://127.0.0.1:" + own.apiPort
	credentials := os.Getenv("CREDENTIALS_DIRECTORY")
	session := agent.NewSession(credentials, node.IdentityPath, log)
	serverAPI, member := agent.NewMember(credentials, serverAddr, session, log)
	// One memory for all runs: the server is not to be asked everything at every look.
	reads, paths := &agent.Reads{}, watch.NewPaths()
	options := host.LiveOptions{API: serverAPI, Memory: &host.Memory{}, Digests: &host.Digests{}, Read: reads.Note}
	err = agent.Run(ctx, agent.Options{
		Judge: func(ctx context.Context, stage control.Stage) (*report.Document, error) {
			h, err := host.Live(options)
			if err != nil {
				return nil, err
			}
			defer h.Close()
			d, err := judge(ctx, stage, h)
			if mounts, mountsErr := h.Mounts(); mountsErr == nil {
				changeable := reads.Take(mounts)
				maps.Copy(changeable, agent.MemoryEvents(own.server.Unit, ownUnit))
				paths.Set(changeable)
			}
			return d, err
		},
		Watch:         func(ctx context.Context, l watch.Listener) { watch.Run(ctx, ownUnit, paths, l, log) },
		Member:        member,
		Session:       session,
		Identity:      node.IdentityPath,
		Discover:      own.discover(log),
		Cloud:         own.cloud(log),
		Server:        own.server,
		Units:         &agent.Systemd{},
		Exporter:      telemetry.NewExporter(telemetry.Build{Version: buildVersion, Revision: revision()}),
		Journal:       telemetry.NewJournal(nil),
		Credentials:   credentials,
		TLS:           agent.DefaultTLS,
		Listen:        ":" + own.agentPort,
		ReportPath:    telemetry.ReportPath,
		Snapshots:     snapshot.ResultPath,
		AuditSeen:     logs.WatchPath,
		ShipsLogs:     own.shipsLogs,
		ServerAddr:    serverAddr,
		Interval:      agent.DefaultInterval,
		ServerMetrics: serverAPI.Metrics,
		Attest: func(ctx context.Context, nonce attest.Hex, report []byte) ([]byte, error) {
			return attest.Ask(ctx, attest.Socket, nonce, report)
		},
		Notify:   telemetry.Notify,
		Watchdog: watchdog,
		Log:      log,
	})
	if err != nil {
		return &exit{exitFail, err}
	}
	return nil
}

// baked is what the agent takes from the host's baseline.
type baked struct {
	server             server.Product
	apiPort, agentPort string
	shipsLogs          bool
	metadataEgress     []netip.Prefix // where the cloud's metadata service may be asked
}

// discover asks the cloud that this machine runs in for the members of the cluster.
func (b baked) discover(log *slog.Logger) cluster.Discover {
	f := &discover.Finder{Instance: &node.Sources{Root: "/", Metadata: b.metadataEgress, Log: log}}
	return f.Find
}

// cloud listens to the cloud that a retire block names, as this machine: a service of its own, since it is asked beside the search for members.
func (b baked) cloud(log *slog.Logger) func(node.Retire) retire.Cloud {
	return func(block node.Retire) retire.Cloud {
		instance := &node.Sources{Root: "/", Metadata: b.metadataEgress, Log: log}
		return retire.New(block, instance, &discover.Finder{Instance: instance})
	}
}

// thisNode reads the host's baseline. Without one that can be read no server is started anyway, since the gate
// fails; the agent serves all the same, at the usual port, and says so.
func thisNode(log *slog.Logger) baked {
	own := baked{server: server.Products[0], apiPort: agent.DefaultAPIPort, agentPort: agent.DefaultPort}
	h, err := host.Tree("/")
	if err != nil {
		log.Error("cannot tell which server this node has", "error", err)
		return own
	}
	defer h.Close()
	b, _, err := loadBaseline(h, "")
	if err == nil {
		own.apiPort = cmp.Or(b.Profile.Parameters["api_port"], own.apiPort)
		own.agentPort = cmp.Or(b.Profile.Parameters["agent_port"], own.agentPort)
		var product server.Product
		if product, err = server.Find(b.Profile.Server); err == nil {
			own.server = product
		}
		parameters, parametersErr := configure.BakedFrom(b.Profile.Parameters)
		err = errors.Join(err, parametersErr)
		own.metadataEgress, own.shipsLogs = parameters.MetadataEgress, parameters.LogShipping
	}
	if err != nil {
		log.Error("cannot tell what this image has decided", "error", err)
	}
	return own
}

// judgeThisHost is one run of the checks over a fresh view of the host.
func judgeThisHost(ctx context.Context, stage control.Stage, options host.LiveOptions) (*report.Document, error) {
	h, err := host.Live(options)
	if err != nil {
		return nil, err
	}
	defer h.Close()
	return judge(ctx, stage, h)
}

func judge(ctx context.Context, stage control.Stage, h host.Host) (*report.Document, error) {
	b, digest, err := loadBaseline(h, "")
	if err != nil {
		return nil, err
	}
	return report.New(check.Run(ctx, b, digest, h, stage, check.Options{}), buildVersion), nil
}

// revision is the commit that the binary was built from, as far as the build knew it.
func revision() string {
	info, ok := debug.ReadBuildInfo()
	if !ok {
		return ""
	}
	for _, s := range info.Settings {
		if s.Key == "vcs.revision" {
			return s.Value
		}
	}
	return ""
}
