package main

import (
	"context"
	"fmt"
	"time"

	"github.com/spf13/cobra"

	"github.com/strongroom/strongroom/internal/agent"
	"github.com/strongroom/strongroom/internal/cluster"
	"github.com/strongroom/strongroom/internal/node"
)

func leaveCommand() *cobra.Command {
	var retire, risk bool
	var wait time.Duration
	cmd := &cobra.Command{
		Use:   "leave",
		Short: "Hand over the lead before a shutdown, or take this node out of its cluster for good",
		Long: `leave makes an active node step down and waits for another active node. systemd runs it at shutdown
(hostcheck-leave.service). Where node.hcl has the block retire "shutdown", and the machine is switched off and not restarted, it
takes the node out as --retire does, when the cluster can lose it at once. On a standby, and without a token, there is nothing that it can do: the server's own shutdown hands
over as well.

leave --retire takes the node out of its cluster for good: it waits until the cluster can lose a voter and no other node is being
taken out, steps down, removes the peer and marks the data partition, so that this node joins no cluster any more. docs/retire.md
says how a cloud has it done.`,
		Example: `  hostcheck leave                  what a shutdown does: hand over the lead
  hostcheck leave --retire         take this node out of its cluster for good`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			return leave(cmd.Context(), retire, cluster.Retirement{Wait: wait, RiskQuorum: risk})
		},
	}
	cmd.Flags().BoolVar(&retire, "retire", false, "also remove the peer and mark the data partition: this node never comes back")
	cmd.Flags().DurationVar(&wait, "wait", 5*time.Minute, "with --retire: how long the cluster may take until it can lose this node; 0: refuse at once")
	cmd.Flags().BoolVar(&risk, "risk-quorum", false, "with --retire: do it even when the cluster may lose its quorum, and with it all service")
	return cmd
}

// leaveTime bounds everything but the wait of a retirement, and is below the unit's TimeoutStopSec=.
const leaveTime = 40 * time.Second

func leave(ctx context.Context, retire bool, how cluster.Retirement) error {
	if how.RiskQuorum && !retire {
		return &exit{exitUsage, fmt.Errorf("--risk-quorum goes with --retire")}
	}
	limit := leaveTime
	if retire {
		limit += how.Wait
	}
	ctx, cancel := context.WithTimeout(ctx, limit)
	defer cancel()
	joiner, id, err := newJoiner(func(cluster.Status) {})
	if err != nil {
		return err
	}
	how.Done = func(did string) { fmt.Println(did) }
	how.Waiting = func(why error) { fmt.Println("waiting: " + why.Error()) }
	if retire {
		if err := joiner.Retire(ctx, how); err != nil {
			return &exit{exitFail, err}
		}
		return nil
	}
	if id.Retires(node.RetireShutdown) && retiredAtShutdown(ctx, joiner, how) {
		return nil
	}
	did, err := joiner.Leave(ctx)
	if err != nil {
		return &exit{exitFail, err}
	}
	fmt.Println(did)
	return nil
}

const (
	// shutdownTime is what a retirement may take of leaveTime: the rest is for handing over the lead when it came to nothing.
	shutdownTime = 28 * time.Second
	// shutdownWait is how long another node that leaves is waited for.
	shutdownWait = 12 * time.Second
)

// retiredAtShutdown takes the node out when the machine is switched off for good. What keeps it a member is said, and the lead is handed over then.
func retiredAtShutdown(ctx context.Context, joiner *cluster.Joiner, how cluster.Retirement) bool {
	ctx, cancel := context.WithTimeout(ctx, shutdownTime)
	defer cancel()
	manager := &agent.Systemd{}
	defer manager.Close()
	off, err := manager.SwitchedOff(ctx)
	if err == nil && !off {
		return false
	}
	if err == nil {
		how.Wait = shutdownWait
		err = joiner.Retire(ctx, how)
	}
	if err != nil {
		fmt.Println("this node stays a member: " + err.Error())
	}
	return err == nil
}
