package main

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"time"

	"github.com/spf13/cobra"

	"github.com/strongroom/strongroom/internal/configure"
	"github.com/strongroom/strongroom/internal/host"
	"github.com/strongroom/strongroom/internal/server"
)

func configureCommand() *cobra.Command {
	return &cobra.Command{
		Use:   "configure",
		Short: "Turn node.hcl and TLS material into this node's files below /run",
		Long: `configure reads the systemd credentials strongroom.node.hcl, strongroom.tls.crt, strongroom.tls.key and
strongroom.tls.ca, and writes the server's configuration and TLS files below /run/vault or /run/openbao,
the sets of the firewall, and on the first boot the node id. Which server the node has, its baseline
says. It runs as hostcheck-configure.service.`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error { return configureNode(cmd.Context()) },
	}
}

func configureNode(ctx context.Context) error {
	credentials := os.Getenv("CREDENTIALS_DIRECTORY")
	if credentials == "" {
		return &exit{exitFail, &hinted{errors.New("cannot read credentials: $CREDENTIALS_DIRECTORY is not set"),
			"run it as hostcheck-configure.service"}}
	}
	h, err := host.Tree("/")
	if err != nil {
		return &exit{exitFail, err}
	}
	defer h.Close()
	b, _, err := loadBaseline(h, "")
	if err != nil {
		return &exit{exitFail, err}
	}
	baked, err := configure.BakedFrom(b.Profile.Parameters)
	if err != nil {
		return &exit{exitFail, err}
	}
	product, err := server.Find(b.Profile.Server)
	if err != nil {
		return &exit{exitFail, fmt.Errorf("cannot use the baseline: %w", err)}
	}
	id, err := configure.Run(ctx, configure.Options{
		Root:        "/",
		Credentials: credentials,
		Server:      product,
		Baked:       baked,
		Firewall:    configure.Nftables{},
		Resolve:     configure.Resolver{Proc: "/proc"}.Resolve,
		Now:         time.Now,
		Random:      rand.Reader,
		Log:         slog.New(slog.NewTextHandler(os.Stderr, nil)),
	})
	if err != nil {
		return &exit{exitFail, err}
	}
	fmt.Printf("configured node %s of cluster %s: api %s, cluster %s\n", id.NodeID, id.ClusterName, id.APIAddr, id.ClusterAddr)
	return nil
}
