package main

import (
	"log/slog"
	"os"
	"runtime/debug"
	"time"

	"github.com/spf13/cobra"

	"github.com/strongroom/strongroom/internal/logs"
	"github.com/strongroom/strongroom/internal/telemetry"
)

func auditCommand() *cobra.Command {
	return &cobra.Command{
		Use:   "audit-watch FILE",
		Short: "Tell of every root token in the audit log (hostcheck-audit.service)",
		Long: `audit-watch follows the file of the audit log, as the server's own account, and writes to the journal when a root token is
used or made. The agent itself may not read that file; it shows what the watch has counted.`,
		Args:   cobra.ExactArgs(1),
		Hidden: true,
		RunE: func(cmd *cobra.Command, args []string) error {
			debug.SetGCPercent(50)
			log := slog.New(slog.NewTextHandler(os.Stderr, nil))
			journal := telemetry.NewJournal(nil)
			w := logs.Watcher{File: args[0], Seen: logs.WatchPath, Log: log, Now: time.Now, Event: func(use logs.RootUse, more int) {
				if err := journal.RootToken(telemetry.RootToken{Made: use.Made, Operation: use.Operation, Path: use.Path, Remote: use.Remote,
					Request: use.Request, At: use.At, More: more}); err != nil {
					log.Error("a root token was used, and the journal does not take it", "path", use.Path, "error", err)
				}
			}}
			if err := w.Run(cmd.Context()); err != nil {
				return &exit{exitFail, err}
			}
			return nil
		},
	}
}
