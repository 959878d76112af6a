package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"time"

	"github.com/spf13/cobra"

	"github.com/strongroom/strongroom/internal/agent"
	"github.com/strongroom/strongroom/internal/bootstrap"
	"github.com/strongroom/strongroom/internal/cluster"
	"github.com/strongroom/strongroom/internal/control"
	"github.com/strongroom/strongroom/internal/host"
	"github.com/strongroom/strongroom/internal/node"
)

func bootstrapCommand() *cobra.Command {
	return &cobra.Command{
		Use:   "bootstrap",
		Short: "Start the cluster for the first time, when this node is the one to do it",
		Long: `bootstrap initialises the cluster, when node.hcl has a bootstrap block that says so and no member belongs to a cluster yet: it delivers
each key share to its holder, encrypted, makes the audit devices, the login by certificate and the policies, delivers a wrapped
token for the provisioner, proves a login, sets autopilot, and revokes the root token. It prints no secret and keeps none.
It can be interrupted and run again at any point, and does nothing where there is nothing to do.

docs/bootstrap.md has the block, the steps, and what to do after a crash.`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if err := firstStart(cmd.Context()); err != nil {
				return &exit{exitFail, err}
			}
			return nil
		},
	}
}

func firstStart(ctx context.Context) error {
	log := slog.New(slog.NewTextHandler(os.Stderr, &slog.HandlerOptions{Level: slog.LevelWarn}))
	id, err := agent.ReadIdentity(node.IdentityPath)
	if err != nil {
		return err
	}
	if id.Bootstrap == nil {
		fmt.Println("node.hcl has no bootstrap block: this node initialises nothing")
		return nil
	}
	own := thisNode(log)
	credentials := os.Getenv("CREDENTIALS_DIRECTORY")
	server, certificate := agent.LocalServer(id, "https://127.0.0.1:"+own.apiPort, credentials)
	references := agent.BootstrapReader(id, credentials)
	token, err := givenRoot(credentials)
	if err != nil {
		return err
	}
	discover := own.discover(log)
	return bootstrap.Run(ctx, bootstrap.Options{
		Identity: id, Server: server, Product: own.server.ID, Certificate: certificate, Token: token,
		Others: func(ctx context.Context) (initialized []string, err error) {
			return cluster.Others(ctx, id, nil, discover)
		},
		Judge: func(ctx context.Context) error {
			for _, stage := range []control.Stage{control.StageBoot, control.StageRun} {
				d, err := judgeThisHost(ctx, stage, host.LiveOptions{})
				if err == nil {
					err = agent.Passes(d)
				}
				if err != nil {
					return err
				}
			}
			return nil
		},
		Read: func(ctx context.Context, ref node.Reference) ([]byte, error) {
			return references.Read(ctx, ref, bootstrap.MaxReference)
		},
		Directory: node.BootstrapDirectory, KeyPath: bootstrap.KeyPath, LockPath: cluster.DefaultLockPath,
		Said: func(line string) { fmt.Println(line) }, Now: time.Now, Limits: bootstrap.DefaultLimits,
	})
}

// givenRoot is the root token that key holders have handed over, if any.
func givenRoot(credentials string) (node.Secret, error) {
	if credentials == "" {
		return node.Secret{}, nil
	}
	b, err := os.ReadFile(filepath.Join(credentials, node.CredentialBootstrapToken))
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return node.Secret{}, fmt.Errorf("cannot read credential %s: %w", node.CredentialBootstrapToken, err)
	}
	return node.NewSecret(bytes.TrimSpace(b)), nil
}
