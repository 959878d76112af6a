package main

import (
	"errors"

	"github.com/coreos/go-systemd/v22/activation"
	"github.com/spf13/cobra"

	"github.com/strongroom/strongroom/internal/host"
)

func clockCommand() *cobra.Command {
	return &cobra.Command{
		Use:    "clock",
		Short:  "Answer the agent with the state of the clock (hostcheck-clock.service)",
		Long:   "clock answers on the socket that systemd hands over. The agent itself may not ask the kernel for it.",
		Args:   cobra.NoArgs,
		Hidden: true,
		RunE: func(cmd *cobra.Command, _ []string) error {
			listeners, err := activation.Listeners()
			if err != nil || len(listeners) != 1 {
				return &exit{exitUsage, errors.New("no socket from systemd: this is what hostcheck-clock.socket starts")}
			}
			if err := host.ServeClock(cmd.Context(), listeners[0]); err != nil {
				return &exit{exitUnknown, err}
			}
			return nil
		},
	}
}
