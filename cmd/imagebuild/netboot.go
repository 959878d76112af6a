package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"time"

	"github.com/spf13/cobra"

	"github.com/strongroom/strongroom/internal/netboot"
)

func newNetbootCommand() *cobra.Command {
	c := &cobra.Command{
		Use:   "netboot",
		Short: "Try out what the builder's format netboot has made",
		Long: `netboot is for the bundles that machines start from over the network. docs/netboot.md says what is in one, and how
firmware and iPXE come to it.`,
		Args: func(c *cobra.Command, args []string) error {
			if len(args) > 0 {
				return &usageError{c.CommandPath(), fmt.Errorf("unknown command %q", args[0])}
			}
			return nil
		},
		RunE: func(c *cobra.Command, _ []string) error { return c.Help() },
	}
	c.AddCommand(newNetbootServeCommand())
	return c
}

func newNetbootServeCommand() *cobra.Command {
	address := "127.0.0.1:8080"
	c := &cobra.Command{
		Use:   "serve DIR",
		Short: "Serve a netboot bundle over HTTP, for trying it out",
		Long: `serve checks every file of the bundle against its manifest, and serves those files and nothing else until it is
interrupted. Each request is a line on standard error. It speaks HTTP without TLS: what a machine starts is
protected by Secure Boot and dm-verity, or by the signatures in boot.ipxe, and not by the way there.

Production is your own web server: docs/netboot.md.`,
		Example: `  imagebuild netboot serve out/image/netboot
  imagebuild netboot serve --listen 192.0.2.1:8080 out/image/netboot`,
		Args: func(c *cobra.Command, args []string) error {
			if len(args) != 1 {
				return &usageError{c.CommandPath(), errors.New("the directory of one bundle is needed")}
			}
			return nil
		},
		RunE: func(c *cobra.Command, args []string) error {
			log := slog.New(slog.NewTextHandler(c.ErrOrStderr(), nil))
			return serveNetboot(c.Context(), args[0], address, log)
		},
	}
	c.Flags().StringVar(&address, "listen", address, "`address` and port; other machines reach a loopback address not at all")
	return c
}

func serveNetboot(ctx context.Context, dir, address string, log *slog.Logger) error {
	if _, err := os.Stat(filepath.Join(dir, netboot.ScriptName)); err != nil {
		// The output directory of the bake holds the bundle: that is what people have at hand.
		if below := filepath.Join(dir, "netboot"); exists(filepath.Join(below, netboot.ScriptName)) {
			dir = below
		}
	}
	bundle, err := os.OpenRoot(dir)
	if err != nil {
		return fmt.Errorf("cannot open the bundle: %w", err)
	}
	defer bundle.Close()
	m, err := netboot.Verify(ctx, bundle.FS())
	if err != nil {
		return fmt.Errorf("%s is not served: %w", dir, err)
	}
	listener, err := net.Listen("tcp", address)
	if err != nil {
		return fmt.Errorf("cannot listen: %w", err)
	}
	server := &http.Server{Handler: netboot.Handler(bundle, m, log), ReadHeaderTimeout: 10 * time.Second, ErrorLog: slog.NewLogLogger(log.Handler(), slog.LevelWarn)}
	log.Info("serving", "image", m.Name, "version", m.Version, "root_hash", m.RootHash, "signed", m.Signed, "script", fmt.Sprintf("http://%s/%s", listener.Addr(), netboot.ScriptName))
	stopped := make(chan error, 1)
	stop := context.AfterFunc(ctx, func() {
		// A download that runs may take as long as this; then it is cut off.
		patience, cancel := context.WithTimeout(context.Background(), 5*time.Second)
		defer cancel()
		err := server.Shutdown(patience)
		if errors.Is(err, context.DeadlineExceeded) {
			err = server.Close()
		}
		stopped <- err
	})
	err = server.Serve(listener)
	if !stop() { // interrupted: what people do to end it
		log.Info("stopped")
		return <-stopped
	}
	return fmt.Errorf("cannot serve: %w", err)
}

func exists(path string) bool {
	_, err := os.Stat(path)
	return err == nil
}
