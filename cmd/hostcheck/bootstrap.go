package main

import (
	"bytes"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"net/http"
	"os"
	"path/filepath"
	"time"

	"github.com/spf13/cobra"

	"github.com/strongroom/strongroom/internal/agent"
	"github.com/strongroom/strongroom/internal/bootstrap"
	"github.com/strongroom/strongroom/internal/cluster"
	"github.com/strongroom/strongroom/internal/control"
	"github.com/strongroom/strongroom/internal/discover"
	"github.com/strongroom/strongroom/internal/host"
	"github.com/strongroom/strongroom/internal/node"
	"github.com/strongroom/strongroom/internal/serverapi"
	"github.com/strongroom/strongroom/internal/sigv4"
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
		Example: `  hostcheck bootstrap`,
		Args:    cobra.NoArgs,
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
	id, err := agent.AwaitIdentity(ctx, node.IdentityPath, func() {
		fmt.Println("this node is not configured yet: waiting for hostcheck-configure.service")
	})
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
	finder := &discover.Finder{Instance: &node.Sources{Root: "/", Metadata: own.metadataEgress, Log: log}}
	clouds := bootstrap.Clouds{
		HTTP: serverapi.NewClient(&tls.Config{MinVersion: tls.VersionTLS12}, cloudTime, 1),
		AWS: func(ctx context.Context, request *http.Request, body []byte, region, service string) error {
			keys, err := finder.RoleKeys(ctx, "what docs/bootstrap.md lists")
			if err == nil {
				sigv4.Sign(request, sigv4.Digest(body), keys, region, service, time.Now())
			}
			return err
		},
		Google: finder.GoogleToken, Azure: finder.AzureToken,
	}
	var locks bootstrap.LockStore
	if id.Bootstrap.LockStore != nil {
		if locks, err = openLockStore(*id.Bootstrap.LockStore, references, finder); err != nil {
			return err
		}
	}
	var first func(context.Context) error
	if id.Snapshot != nil {
		first = func(ctx context.Context) error { return takeSnapshot(ctx, false) }
	}
	return bootstrap.Run(ctx, bootstrap.Options{
		Identity: id, Server: server, Product: own.server.ID, Certificate: certificate, Token: token,
		Others: func(ctx context.Context) (initialized []string, err error) {
			return cluster.Others(ctx, id, nil, finder.Find)
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
		Clouds: clouds, Snapshot: first,
		Directory: node.BootstrapDirectory, KeyPath: bootstrap.KeyPath, LockPath: cluster.DefaultLockPath, LockStore: locks,
		Said: func(line string) { fmt.Println(line) }, Now: time.Now, Limits: bootstrap.DefaultLimits,
	})
}

// openLockStore makes a store with conditional writes of what node.hcl says: any that snapshots are put to, but a directory.
func openLockStore(s node.SnapshotSink, references node.Reader, finder *discover.Finder) (bootstrap.LockStore, error) {
	sink, err := openSink(s, references, finder)
	if err != nil {
		return nil, fmt.Errorf("lock_store: %w", err)
	}
	store, ok := sink.(bootstrap.LockStore)
	if !ok {
		return nil, fmt.Errorf("lock_store: %s has no conditional writes", s.Name())
	}
	return store, nil
}

// cloudTime is for one question to a cloud's secret store.
const cloudTime = 30 * time.Second

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
