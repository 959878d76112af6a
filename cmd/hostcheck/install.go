package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"time"

	"github.com/spf13/cobra"

	"github.com/strongroom/strongroom/internal/configure"
	"github.com/strongroom/strongroom/internal/datadisk"
	"github.com/strongroom/strongroom/internal/install"
	"github.com/strongroom/strongroom/internal/node"
)

// installDir is the runtime directory of strongroom-install.service, and installSignatures where the unit has wipefs write.
const (
	installDir        = "/run/strongroom/install"
	installSignatures = "/run/strongroom-install.signatures"
)

// installCommand has two halves, between which the unit runs wipefs: nothing here forks.
func installCommand() *cobra.Command {
	return &cobra.Command{
		Use:   "install-disk find|write",
		Short: "Install the image of a netboot bundle to the disk of the machine (strongroom-install.service)",
		Long: "install-disk finds the disk that the kernel's command line selects, and writes the image of the bundle to it when it is empty, or an installation " +
			"to it was cut short.",
		Args:   cobra.ExactArgs(1),
		Hidden: true,
		RunE: func(c *cobra.Command, args []string) error {
			line, err := os.ReadFile("/proc/cmdline")
			if err != nil {
				return &exit{exitFail, fmt.Errorf("cannot read the kernel's command line: %w", err)}
			}
			order, rootHash, err := install.FromCommandLine(string(line))
			if err != nil {
				return &exit{exitUsage, err}
			}
			switch args[0] {
			case "find":
				err = findInstallDisk(c.Context(), order)
			case "write":
				err = writeInstallDisk(c.Context(), order, rootHash)
			default:
				return &exit{exitUsage, fmt.Errorf("%q is neither find nor write", args[0])}
			}
			if err != nil {
				return &exit{exitFail, fmt.Errorf("nothing is installed: %w", err)}
			}
			return nil
		},
	}
}

func findInstallDisk(ctx context.Context, o install.Order) error {
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	device, err := datadisk.Find(ctx, "/", o.Disk)
	if err != nil {
		return err
	}
	return os.Symlink(device, filepath.Join(installDir, "candidate"))
}

func writeInstallDisk(ctx context.Context, o install.Order, rootHash string) error {
	looked, err := os.Readlink(filepath.Join(installDir, "candidate"))
	if err != nil {
		return err
	}
	signatures, err := os.ReadFile(installSignatures)
	if err != nil {
		return err
	}
	verdict, device, err := datadisk.JudgeInstall("/", o.Disk, signatures, install.HashTree(rootHash))
	switch {
	case err != nil:
		return err
	case device != looked:
		return errors.New("the disks have changed their names meanwhile")
	case verdict == datadisk.Installed:
		return &hinted{fmt.Errorf("%s has this image already, and nothing was written", device),
			"have the firmware try the disk before the network: an empty disk is passed over, and one with the image starts"}
	case verdict == datadisk.Unfinished:
		say("an installation to " + device + " was cut short: it begins anew")
	}
	disk, err := install.OpenDevice(device)
	if err != nil {
		return err
	}
	defer disk.Close()
	roots, err := node.Authorities("/")
	if err != nil {
		return err
	}
	say(fmt.Sprintf("%s goes to %s (%s)", o.URL, device, o.Disk))
	from := node.Fetcher{Admit: configure.Nftables{}.Admit}
	fetch := func(ctx context.Context, take func(io.Reader) error) error {
		return from.Stream(ctx, o.URL, roots, o.Image.Size, take)
	}
	if err := install.Repeat(ctx, time.After, say, func() error {
		return install.Write(ctx, disk, disk.Size(), o.Image, fetch, say)
	}); err != nil {
		return err
	}
	say(device + " has the image: the machine starts anew, from its disk")
	return disk.Close()
}

func say(text string) { fmt.Fprintln(os.Stderr, "hostcheck: "+text) }
