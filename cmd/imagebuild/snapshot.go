package main

import (
	"fmt"
	"time"

	"filippo.io/age"
	"github.com/spf13/cobra"

	"github.com/strongroom/strongroom/internal/snapshot"
)

func newSnapshotCommand() *cobra.Command {
	c := &cobra.Command{
		Use:   "snapshot",
		Short: "Look at the backups that hostcheck snapshot has taken, and rehearse a restore",
		Long: `snapshot judges archives that the nodes have put to their sinks. It is for the machine of an operator, or a job, that has the
private key of a recipient: a node has none. docs/snapshot.md has the whole way back.`,
		Args: noArguments,
		RunE: func(c *cobra.Command, _ []string) error { return c.Help() },
	}
	c.AddCommand(newSnapshotVerifyCommand(), newSnapshotRehearseCommand())
	return c
}

func newSnapshotVerifyCommand() *cobra.Command {
	var identity string
	c := &cobra.Command{
		Use:   "verify FILE",
		Short: "Say whether a file is a whole snapshot",
		Long: `verify holds a snapshot against its own sums, and against the manifest beside it (FILE.json) when there is one. An encrypted
one needs the identity of a recipient (--identity); without it only the manifest is asked. Nothing is written.`,
		Example: `  imagebuild snapshot verify prod.20261122T203000Z.0a1b2c3d.snap.age --identity key.txt`,
		Args: func(c *cobra.Command, args []string) error {
			if len(args) != 1 {
				return &usageError{c.CommandPath(), fmt.Errorf("want one file, got %d", len(args))}
			}
			return nil
		},
		RunE: func(c *cobra.Command, args []string) error {
			var identities []age.Identity
			if identity != "" {
				var err error
				if identities, err = snapshot.ReadIdentities(identity); err != nil {
					return err
				}
			}
			known, err := snapshot.CheckFile(args[0], identities)
			if err != nil {
				return err
			}
			return printChecked(c, args[0], known)
		},
	}
	c.Flags().StringVar(&identity, "identity", "", "`FILE` of age with the private key of a recipient")
	return c
}

func printChecked(c *cobra.Command, path string, known snapshot.Checked) error {
	content := known.Content
	if content == nil {
		content = &known.Manifest.Content
		c.Printf("%s: as its manifest has it, which says that it was whole at %s; it was not opened\n", path, known.Manifest.Verified.Format(time.RFC3339))
	} else {
		c.Printf("%s: a whole snapshot\n", path)
	}
	c.Printf("Raft index %d, term %d, %d entries, seal %s\n", content.Index, content.Term, content.Entries, content.Seal)
	if content.KeyID != "" {
		c.Printf("a restore needs the seal's key %s\n", content.KeyID)
	}
	return nil
}
