package main

import (
	"fmt"
	"strings"

	"github.com/spf13/cobra"

	"github.com/strongroom/strongroom/internal/configure"
)

func recoveryCommand() *cobra.Command {
	return &cobra.Command{
		Use:   "recovery",
		Short: "Make the recovery key of data partitions that are still to be made, and deliver it encrypted",
		Long: `recovery makes a key that opens the encrypted data partitions when the TPM does not, encrypts it to the age recipients of
node.hcl, delivers it to the places of node.hcl and reads it back from there. Then it leaves it for systemd-repart, which
makes the partitions. It runs as strongroom-recovery.service, on the first boot only, and touches no disk.

It refuses when nobody could recover the data, and when the machine cannot guard it: Secure Boot is off, there is no TPM 2.0, or
the image brings no signed policy of its measurements.`,
		Example: `  hostcheck recovery               what strongroom-recovery.service does`,
		Args:    cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			o, err := configureOptions()
			if err != nil {
				return &exit{exitFail, err}
			}
			made, err := configure.Recover(cmd.Context(), o)
			if err != nil {
				return &exit{exitFail, err}
			}
			fmt.Printf("recovery key %s is at %s\n", made.KeyID, strings.Join(made.DeliveredTo, " and "))
			return nil
		},
	}
}
