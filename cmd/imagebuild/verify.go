package main

import (
	"crypto"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"time"

	"github.com/spf13/cobra"

	"github.com/strongroom/strongroom/internal/sign"
	"github.com/strongroom/strongroom/internal/signature"
	"github.com/strongroom/strongroom/internal/statement"
)

func newVerifyCommand() *cobra.Command {
	var keyFile, transit, statementFile, format string
	c := &cobra.Command{
		Use:   "verify IMAGE|DIR",
		Short: "Check an image against the signed statement of its bake",
		Long: `verify checks the output directory of a bake against the statement in it (` + statement.FileName + `): who signed it, every file by
its digest, that no file is missing or was added, and that root hash, baseline, report, bills of materials, measurements and
lock in the files are those of the statement. IMAGE is one file of such a directory: only that file and the statement are looked at.

The key is a public key in a PEM file, or one of Vault's transit engine, which is asked for it (VAULT_ADDR, VAULT_TOKEN, …).
With --key nothing is asked of the network.

The exit status is 0 when everything holds, 1 when something does not, 2 when something could not be looked at, 64 on wrong use.`,
		Example: `  imagebuild verify out/image --key strongroom.pub.pem
  imagebuild verify disk.qcow2 --statement statement.dsse.json --key strongroom.pub.pem
  imagebuild verify out/image --transit vault:transit/strongroom --format json`,
		Args: func(c *cobra.Command, args []string) error {
			if len(args) != 1 {
				return &usageError{c.CommandPath(), fmt.Errorf("want one image or directory, got %d", len(args))}
			}
			return nil
		},
		RunE: func(c *cobra.Command, args []string) error {
			if format != "text" && format != "json" {
				return &usageError{c.CommandPath(), fmt.Errorf("--format: %q is not known (known: text, json)", format)}
			}
			if (keyFile == "") == (transit == "") {
				return &usageError{c.CommandPath(), errors.New("name the key that you trust, with --key or with --transit")}
			}
			keys, err := trustedKeys(keyFile, transit)
			if err != nil {
				return &verdictError{exitUnknown, err}
			}
			dir, options := args[0], statement.Options{Keys: keys, Now: time.Now()}
			info, err := os.Stat(dir)
			if err != nil {
				return &verdictError{exitUnknown, fmt.Errorf("cannot open the image: %w", err)}
			}
			if !info.IsDir() {
				dir, options.File = filepath.Dir(dir), filepath.Base(dir)
			}
			result, err := verifyImage(c, dir, statementFile, options)
			if err != nil {
				return &verdictError{exitUnknown, err}
			}
			write := statement.WriteText
			if format == "json" {
				write = statement.WriteJSON
			}
			if err := write(c.OutOrStdout(), result); err != nil {
				return &verdictError{exitUnknown, err}
			}
			switch result.Outcome {
			case statement.Pass:
				return nil
			case statement.Fail:
				return &verdictError{exitFailure, errors.New("the image is not what was baked and signed")}
			}
			return &verdictError{exitUnknown, errors.New("not everything could be verified")}
		},
	}
	c.Flags().StringVar(&keyFile, "key", "", "the public key that you trust, PEM, in `FILE`")
	c.Flags().StringVar(&transit, "transit", "", "the key that you trust, in a transit engine: `vault:MOUNT/KEY`")
	c.Flags().StringVar(&statementFile, "statement", "", "`FILE` with the statement, if it does not lie beside the image")
	c.Flags().StringVar(&format, "format", "text", "`FORMAT` of the result: text or json ("+statement.Schema+")")
	complete(c, "format", "text", "json")
	return c
}

func verifyImage(c *cobra.Command, dir, statementFile string, o statement.Options) (*statement.Result, error) {
	if statementFile == "" {
		return statement.Verify(c.Context(), dir, o)
	}
	text, err := os.ReadFile(statementFile)
	if err != nil {
		return nil, fmt.Errorf("cannot read the statement: %w", err)
	}
	return statement.VerifyText(c.Context(), dir, text, o)
}

// trustedKeys reads the key of a file, or asks for the versions of one in a transit engine.
func trustedKeys(file, transit string) ([]crypto.PublicKey, error) {
	if transit != "" {
		return sign.TransitKeys(transit)
	}
	text, err := os.ReadFile(file)
	if err != nil {
		return nil, fmt.Errorf("cannot read the public key: %w", err)
	}
	key, err := signature.ParsePublicKey(text)
	if err != nil {
		return nil, fmt.Errorf("cannot read the public key %s: %w", file, err)
	}
	return []crypto.PublicKey{key}, nil
}
