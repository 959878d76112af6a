package main

import (
	"context"
	"crypto/rand"
	"fmt"
	"log/slog"
	"os"
	"time"

	"github.com/spf13/cobra"

	"github.com/strongroom/strongroom/internal/agent"
	"github.com/strongroom/strongroom/internal/configure"
	"github.com/strongroom/strongroom/internal/host"
	"github.com/strongroom/strongroom/internal/node"
	"github.com/strongroom/strongroom/internal/server"
)

func configureCommand() *cobra.Command {
	renew := false
	c := &cobra.Command{
		Use:   "configure",
		Short: "Turn node.hcl and TLS material into this node's files below /run",
		Long: `configure finds node.hcl (the systemd credential strongroom.node.hcl, the user data of a cloud instance, a
document at an HTTPS URL, or the file ` + node.ConfigPath + `, in this order), reads what it refers to, and
writes the server's configuration and TLS files below /run/vault or /run/openbao, the sets of the firewall, and
on the first boot the node id. Which server the node has, its baseline says. It runs as
hostcheck-configure.service.

With --renew it only reads the references again: TLS material that is new and good replaces the old, and the running
server is told to read it. It runs as hostcheck-renew.service, by a timer.`,
		Example: `  hostcheck configure
  hostcheck configure --renew      what hostcheck-renew.timer does`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			o, err := configureOptions()
			if err != nil {
				return &exit{exitFail, err}
			}
			if renew {
				return renewNode(cmd.Context(), o)
			}
			return configureNode(cmd.Context(), o)
		},
	}
	c.Flags().BoolVar(&renew, "renew", false, "read TLS material and the seal's secrets again, and nothing else")
	return c
}

func configureOptions() (configure.Options, error) {
	var none configure.Options
	h, err := host.Tree("/")
	if err != nil {
		return none, err
	}
	defer h.Close()
	b, _, err := loadBaseline(h, "")
	if err != nil {
		return none, err
	}
	baked, err := configure.BakedFrom(b.Profile.Parameters)
	if err != nil {
		return none, err
	}
	product, err := server.Find(b.Profile.Server)
	if err != nil {
		return none, fmt.Errorf("cannot use the baseline: %w", err)
	}
	return configure.Options{
		Root:        "/",
		Credentials: os.Getenv("CREDENTIALS_DIRECTORY"),
		Server:      product,
		Baked:       baked,
		Firewall:    configure.Nftables{},
		Resolve:     configure.Resolver{Proc: "/proc"}.Resolve,
		Now:         time.Now,
		Random:      rand.Reader,
		Log:         slog.New(slog.NewTextHandler(os.Stderr, nil)),
	}, nil
}

func configureNode(ctx context.Context, o configure.Options) error {
	id, err := configure.Run(ctx, o)
	if err != nil {
		return &exit{exitFail, err}
	}
	fmt.Printf("configured node %s of cluster %s: api %s, cluster %s\n", id.NodeID, id.ClusterName, id.APIAddr, id.ClusterAddr)
	return nil
}

// shipUnit ships the journal, where the image was baked so.
const shipUnit = "strongroom-ship.service"

func renewNode(ctx context.Context, o configure.Options) error {
	units := &agent.Systemd{}
	defer units.Close()
	done, err := configure.Renew(ctx, o, func(ctx context.Context) error { return units.Reload(ctx, o.Server.Unit) })
	if err != nil {
		return &exit{exitFail, err}
	}
	if done.Logs {
		if err := units.Restart(ctx, shipUnit); err != nil {
			return &exit{exitFail, err}
		}
	}
	what := "TLS material is as it was"
	if done.TLS {
		what = "TLS material renewed"
	}
	if done.Seal {
		what += "; secrets of the seal renewed, for the server's next start"
	}
	fmt.Printf("%s; the node's certificate ends at %s\n", what, done.NotAfter.UTC().Format(time.RFC3339))
	return nil
}
