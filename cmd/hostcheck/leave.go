package main

import (
	"context"
	"fmt"
	"time"

	"github.com/spf13/cobra"

	"github.com/strongroom/strongroom/internal/cluster"
)

func leaveCommand() *cobra.Command {
	var retire, risk bool
	cmd := &cobra.Command{
		Use:   "leave",
		Short: "Hand over the lead before a shutdown, or take this node out of its cluster for good",
		Long: `leave makes an active node step down and waits for another active node. systemd runs it at shutdown
(hostcheck-leave.service). On a standby, and without a token, there is nothing that it can do: the server's own shutdown hands
over as well.

leave --retire takes the node out of its cluster for good: it checks that the cluster can lose a voter, steps down, removes the
peer and marks the data partition, so that this node joins no cluster any more.`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error { return leave(cmd.Context(), retire, risk) },
	}
	cmd.Flags().BoolVar(&retire, "retire", false, "also remove the peer and mark the data partition: this node never comes back")
	cmd.Flags().BoolVar(&risk, "risk-quorum", false, "with --retire: do it even when the cluster may lose its quorum, and with it all service")
	return cmd
}

// leaveTime bounds everything, and is below the unit's TimeoutStopSec=.
const leaveTime = 40 * time.Second

func leave(ctx context.Context, retire, risk bool) error {
	if risk && !retire {
		return &exit{exitUsage, fmt.Errorf("--risk-quorum goes with --retire")}
	}
	ctx, cancel := context.WithTimeout(ctx, leaveTime)
	defer cancel()
	joiner, _, err := newJoiner(func(cluster.Status) {})
	if err != nil {
		return err
	}
	if retire {
		if err := joiner.Retire(ctx, risk, func(did string) { fmt.Println(did) }); err != nil {
			return &exit{exitFail, err}
		}
		return nil
	}
	did, err := joiner.Leave(ctx)
	if err != nil {
		return &exit{exitFail, err}
	}
	fmt.Println(did)
	return nil
}
