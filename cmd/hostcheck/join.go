package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"time"

	"github.com/spf13/cobra"

	"github.com/strongroom/strongroom/internal/agent"
	"github.com/strongroom/strongroom/internal/cluster"
	"github.com/strongroom/strongroom/internal/control"
	"github.com/strongroom/strongroom/internal/host"
	"github.com/strongroom/strongroom/internal/node"
)

func joinCommand() *cobra.Command {
	var limit time.Duration
	cmd := &cobra.Command{
		Use:   "join",
		Short: "Bring this node into its cluster, once the host has passed",
		Long: `join does what the agent (hostcheck run) does by itself on a node whose node.hcl has a join block: it judges the host,
waits for the local server, finds the cluster's active node, proves that it can be joined, has the server join, and waits until the
cluster lists this node. Each step is printed. It can be interrupted and run again at any point.

docs/join.md explains every refusal. Exit code 3: the host does not pass; 4: the node could not join.`,
		Example: `  hostcheck join
  hostcheck join --timeout 30m`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			ctx, cancel := context.WithTimeout(cmd.Context(), limit)
			defer cancel()
			return join(ctx)
		},
	}
	cmd.Flags().DurationVar(&limit, "timeout", 15*time.Minute, "give up after this `TIME`")
	return cmd
}

func join(ctx context.Context) error {
	joiner, id, err := newJoiner(printStatus)
	if err != nil {
		return err
	}
	if !cluster.Wanted(id) {
		return &exit{exitJoin, &hinted{errors.New("node.hcl has no join block: this node is its own cluster"), "docs/join.md"}}
	}
	return joinExit(joiner.Once(ctx), joiner.Status())
}

// joinExit gives a join its exit code.
func joinExit(err error, last cluster.Status) error {
	var refusal *cluster.Refusal
	switch {
	case err == nil:
		return nil
	case errors.As(err, &refusal) && refusal.Kind == cluster.ByGate:
		return &exit{exitGate, err}
	case errors.Is(err, context.DeadlineExceeded):
		return &exit{exitJoin, fmt.Errorf("not joined in time; last: %s %s", last.State, last.Reason)}
	}
	return &exit{exitJoin, err}
}

// newJoiner makes the joiner of this node. Its judgements are the checks themselves.
func newJoiner(report func(cluster.Status)) (*cluster.Joiner, node.Identity, error) {
	log := slog.New(slog.NewTextHandler(os.Stderr, &slog.HandlerOptions{Level: slog.LevelWarn}))
	id, err := agent.ReadIdentity(node.IdentityPath)
	if err != nil {
		return nil, id, &exit{exitFail, err}
	}
	own := thisNode(log)
	credentials := os.Getenv("CREDENTIALS_DIRECTORY")
	session := agent.NewSession(credentials, node.IdentityPath, log)
	o := agent.JoinOptions(id, own.server, "https://127.0.0.1:"+own.apiPort, credentials, session, log)
	o.Discover = own.discover(log)
	o.Report = report
	judge := func(stage control.Stage) func(context.Context) error {
		return func(ctx context.Context) error {
			d, err := judgeThisHost(ctx, stage, host.LiveOptions{})
			if err != nil {
				return err
			}
			return agent.Passes(d)
		}
	}
	o.JudgeBoot, o.JudgeRun = judge(control.StageBoot), judge(control.StageRun)
	return cluster.New(o), id, nil
}

func printStatus(s cluster.Status) {
	line := string(s.State)
	if s.Leader != "" {
		line += " (leader " + s.Leader + ")"
	}
	if s.Reason != "" {
		line += ": " + s.Reason
	}
	if s.State == cluster.Ready && s.Voter {
		line += ": a voter"
	}
	fmt.Println(line)
}
