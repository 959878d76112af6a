package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/strongroom/strongroom/internal/datadisk"
)

// dataDiskDir is the runtime directory of strongroom-data-disk.service.
const dataDiskDir = "/run/strongroom/data-disk"

// signaturesFile is where the unit has wipefs write.
const signaturesFile = "/run/strongroom-data-disk.signatures"

// dataDiskCommand has two halves, between which the unit runs wipefs: nothing here forks. Neither half writes to a disk:
// partitions are systemd-repart's, which runs only when the second half has left its arguments.
func dataDiskCommand() *cobra.Command {
	return &cobra.Command{
		Use:    "data-disk find|judge",
		Short:  "Find the disk for the data of a netbooted node (strongroom-data-disk.service)",
		Long:   "data-disk finds the disk that the kernel argument " + datadisk.Argument + " selects, and says whether systemd-repart may work on it.",
		Args:   cobra.ExactArgs(1),
		Hidden: true,
		RunE: func(c *cobra.Command, args []string) error {
			line, err := os.ReadFile("/proc/cmdline")
			if err != nil {
				return &exit{exitFail, fmt.Errorf("cannot read the kernel's command line: %w", err)}
			}
			selector, err := selectorIn(string(line))
			if err != nil {
				return &exit{exitUsage, err}
			}
			switch args[0] {
			case "find":
				err = findDataDisk(c.Context(), selector)
			case "judge":
				err = judgeDataDisk(selector)
			default:
				return &exit{exitUsage, fmt.Errorf("%q is neither find nor judge", args[0])}
			}
			if err != nil {
				return &exit{exitFail, fmt.Errorf("the data disk: %w", err)}
			}
			return nil
		},
	}
}

// selectorIn takes the selector from a command line. Two are one too many: which of them was signed, nobody can tell.
func selectorIn(line string) (datadisk.Selector, error) {
	var given []string
	for _, word := range strings.Fields(line) {
		if name, value, _ := strings.Cut(word, "="); name == datadisk.Argument {
			given = append(given, value)
		}
	}
	if len(given) != 1 {
		return datadisk.Selector{}, fmt.Errorf("the kernel argument %s is given %d times, and once is right", datadisk.Argument, len(given))
	}
	s, err := datadisk.ParseSelector(given[0])
	if err != nil {
		return datadisk.Selector{}, fmt.Errorf("the kernel argument %s: %w", datadisk.Argument, err)
	}
	return s, nil
}

// patience is shorter than systemd's with the mounts that wait for the partitions.
const patience = time.Minute

func findDataDisk(ctx context.Context, s datadisk.Selector) error {
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	device, err := datadisk.Find(ctx, "/", s)
	if err != nil {
		return err
	}
	return os.Symlink(device, filepath.Join(dataDiskDir, "candidate"))
}

func judgeDataDisk(s datadisk.Selector) error {
	looked, err := os.Readlink(filepath.Join(dataDiskDir, "candidate"))
	if err != nil {
		return err
	}
	signatures, err := os.ReadFile(signaturesFile)
	if err != nil {
		return err
	}
	verdict, device, err := datadisk.Judge("/", s, signatures)
	if err != nil {
		return err
	}
	if device != looked {
		return errors.New("the disks have changed their names meanwhile")
	}
	arguments := datadisk.RepartArguments(verdict, device)
	fmt.Fprintf(os.Stderr, "hostcheck: the data disk is %s (%s): systemd-repart %s\n", device, s, arguments)
	// The second is for units that make further partitions, when the first has made the table.
	text := fmt.Sprintf("STRONGROOM_REPART=\"%s\"\nSTRONGROOM_DATA_DISK=%s\n", arguments, device)
	return os.WriteFile(filepath.Join(dataDiskDir, "repart"), []byte(text), 0o600)
}
