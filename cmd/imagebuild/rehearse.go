package main

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"syscall"
	"time"

	"github.com/spf13/cobra"

	"github.com/strongroom/strongroom/internal/node"
	"github.com/strongroom/strongroom/internal/rehearse"
	"github.com/strongroom/strongroom/internal/snapshot"
)

type rehearseFlags struct {
	identity, server, config, unsealKeys, canary, tokenFile, directory string
	within                                                             time.Duration
}

func newSnapshotRehearseCommand() *cobra.Command {
	var f rehearseFlags
	c := &cobra.Command{
		Use:   "rehearse FILE|DIRECTORY --server PROGRAM",
		Short: "Restore a snapshot in a throw-away server, and leave the result beside it",
		Long: `rehearse decrypts a snapshot, restores it in a server of its own on loopback, and waits until that one is unsealed, leads, and says
that it is the cluster of the manifest; with --canary it also reads a secret. Of a directory it takes the newest archive.

What came of it is left beside the archive as ARCHIVE.restored.json, from where the node that leads shows it as a metric. It exits with 1
when the archive could not be restored, and leaves nothing when something else was wrong.

A restored server is the real one again: it ends leases at the real databases. Run this where nothing can be reached but the seal's key:
docs/snapshot.md has a unit that does. The server and its storage are gone at the end.`,
		Example: `  imagebuild snapshot rehearse /srv/backup --identity key.txt --server /usr/bin/vault --config seal.hcl
  imagebuild snapshot rehearse prod.20261122T203000Z.0a1b2c3d.snap.age --identity key.txt --server /usr/bin/vault \
      --config seal.hcl --canary kv/canary --canary-token token.txt`,
		Args: func(c *cobra.Command, args []string) error {
			err := f.check()
			if len(args) != 1 {
				err = errors.Join(err, fmt.Errorf("want one file or directory, got %d", len(args)))
			}
			if err != nil {
				return &usageError{c.CommandPath(), err}
			}
			return nil
		},
		RunE: func(c *cobra.Command, args []string) error { return f.run(c, args[0]) },
	}
	c.Flags().StringVar(&f.identity, "identity", "", "`FILE` of age with the private key of a recipient")
	c.Flags().StringVar(&f.server, "server", "", "`PROGRAM` of Vault or OpenBao, of the cluster's version or a newer one")
	c.Flags().StringVar(&f.config, "config", "", "`FILE` of HCL with the seal block of the cluster; none for seal shamir")
	c.Flags().StringVar(&f.unsealKeys, "unseal-keys", "", "`FILE` with unseal keys, one a line, for seal shamir")
	c.Flags().StringVar(&f.canary, "canary", "", "`PATH` of a secret that must be there, as \"kv/canary\"")
	c.Flags().StringVar(&f.tokenFile, "canary-token", "", "`FILE` with a token of the cluster that may read it")
	c.Flags().StringVar(&f.directory, "scratch", "", "`DIR` for the server's storage, best in memory (default: the system's for temporary files)")
	c.Flags().DurationVar(&f.within, "within", 15*time.Minute, "for all of it")
	return c
}

func (f *rehearseFlags) check() error {
	var wrong []error
	if f.server == "" {
		wrong = append(wrong, errors.New("--server is missing: the program that restores"))
	}
	if (f.canary == "") != (f.tokenFile == "") {
		wrong = append(wrong, errors.New("--canary and --canary-token go together"))
	}
	if f.within <= 0 {
		wrong = append(wrong, errors.New("--within is not longer than nothing"))
	}
	return errors.Join(wrong...)
}

// maxSecrets is more than unseal keys, a token, or the block of a seal have.
const maxSecrets = 64 << 10

func (f *rehearseFlags) run(c *cobra.Command, path string) error {
	info, err := os.Stat(path)
	if err != nil {
		return err
	}
	if info.IsDir() {
		if path, err = snapshot.Newest(path); err != nil {
			return err
		}
	}
	o := rehearse.Options{Archive: path, Program: f.server, Canary: f.canary, Directory: f.directory, Within: f.within, Now: time.Now,
		Say: func(line string) { c.Println(line) }}
	if f.identity != "" {
		if o.Identities, err = snapshot.ReadIdentities(f.identity); err != nil {
			return err
		}
	}
	config, err := readSmall(f.config)
	if err != nil {
		return err
	}
	o.Config = string(config)
	keys, err := readSmall(f.unsealKeys)
	if err != nil {
		return err
	}
	for key := range bytes.FieldsSeq(keys) {
		o.UnsealKeys = append(o.UnsealKeys, node.NewSecret(key))
	}
	token, err := readSmall(f.tokenFile)
	if err != nil {
		return err
	}
	o.Token = node.NewSecret(bytes.TrimSpace(token))
	// The server inherits it: a core file of one that is unsealed would hold everything.
	if err := syscall.Setrlimit(syscall.RLIMIT_CORE, &syscall.Rlimit{}); err != nil {
		return fmt.Errorf("cannot forbid core files: %w", err)
	}
	result, err := rehearse.Run(c.Context(), o)
	if result.At.IsZero() {
		return err
	}
	sink := snapshot.File{Directory: filepath.Dir(path)}
	return errors.Join(err, snapshot.LeaveRehearsal(c.Context(), sink, result))
}

// readSmall reads a file, or nothing of no file.
func readSmall(path string) ([]byte, error) {
	if path == "" {
		return nil, nil
	}
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	b, err := io.ReadAll(io.LimitReader(f, maxSecrets+1))
	if err == nil && len(b) > maxSecrets {
		err = fmt.Errorf("%s has more than %d bytes", path, maxSecrets)
	}
	return b, err
}
