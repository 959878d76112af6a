package main

import (
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"strings"

	"github.com/spf13/cobra"

	"github.com/strongroom/strongroom/internal/distribution"
	"github.com/strongroom/strongroom/internal/harden"
	"github.com/strongroom/strongroom/internal/image"
	"github.com/strongroom/strongroom/internal/metal"
	"github.com/strongroom/strongroom/internal/overlay"
	"github.com/strongroom/strongroom/internal/server"
)

func newMetalCommand() *cobra.Command {
	var (
		flags                                                    profileFlags
		key                                                      keyFlags
		output, ca, name, version, serverBinary, hostcheckBinary string
		config                                                   metal.Config
		network                                                  metal.Network
	)
	c := &cobra.Command{
		Use:   "metal",
		Short: "Write what an installer needs to make a node of a physical machine",
		Long: `metal writes a directory for an HTTPS server: the file that answers the installer of a
distribution (preseed for Debian, kickstart for the RHEL family, autoinstall for Ubuntu),
the script that it runs as its last act, the overlay, the programs, and a manifest. With
--sign-key the manifest gets a detached OpenPGP signature (manifest.json.sig) for gpgv.

The layout is always installed: somebody else's installer makes the disk.`,
		Example: `  imagebuild metal --distribution debian/trixie --url https://srv.example/node \
    --disk /dev/disk/by-id/ata-SERIAL --server /usr/local/bin/vault --image-version 1.4.0
  imagebuild metal check preseed.cfg`,
		Args: noArguments,
		RunE: func(c *cobra.Command, _ []string) error {
			flags.layout = distribution.Installed
			d, err := distribution.Find(distribution.Installed, flags.distribution)
			if err != nil {
				return &usageError{c.CommandPath(), err}
			}
			product, err := server.Find(strings.SplitN(flags.profile, "/", 2)[0])
			if err != nil {
				return &usageError{c.CommandPath(), err}
			}
			if serverBinary == "" || hostcheckBinary == "" || version == "" {
				return &usageError{c.CommandPath(), errors.New("--server, --hostcheck and --image-version are needed")}
			}
			if ca != "" {
				text, err := os.ReadFile(ca)
				if err != nil {
					return fmt.Errorf("cannot read authorities: %w", err)
				}
				config.CA = string(text)
			}
			if network.Address != "" || network.Gateway != "" || len(network.Nameserver) > 0 {
				config.Network = &network
			}
			config.Distribution, config.Data, config.Audit = d, product.Data, product.Audit
			programs := []image.Binary{{Source: serverBinary, Path: product.Binary}, {Source: hostcheckBinary, Path: "/usr/bin/hostcheck"}}
			signer, err := key.signer(c)
			if err != nil {
				return err
			}
			measured, err := image.InspectBinaries(programs)
			if err != nil {
				return err
			}
			if flags.parameters == nil {
				flags.parameters = map[string]string{}
			}
			flags.parameters["server_sha256"], flags.parameters["hostcheck_sha256"] = measured[0].SHA256, measured[1].SHA256
			b, _, err := flags.compile(c)
			if err != nil {
				return err
			}
			stated, err := b.Digest()
			if err != nil {
				return err
			}
			bundle, err := metal.Make(config, harden.Spec{
				Overlay:  func(distribution.Distribution) (*overlay.Tree, error) { return b.Overlay() },
				Programs: programs, Accounts: []string{product.Account}, Name: name, Version: version, Log: slog.New(slog.DiscardHandler),
			}, stated)
			if err != nil {
				return err
			}
			if signer != nil {
				if err := bundle.Sign(signer); err != nil {
					return err
				}
			}
			files, err := metal.Write(output, bundle)
			if err != nil {
				return fmt.Errorf("cannot write the bundle: %w", err)
			}
			_, err = fmt.Fprintf(c.OutOrStdout(), "%s for %s, and %d files beside it\n", files[0], d.Name, len(files)-1)
			return err
		},
	}
	c.AddCommand(newMetalCheckCommand())
	flags.register(c)
	key.register(c)
	c.Flags().StringVarP(&output, "output", "o", "metal", "`directory` to write")
	c.Flags().StringVar(&config.URL, "url", "", "where the directory will be served: https://host/path")
	c.Flags().StringVar(&ca, "ca", "", "`file` with the authorities of that server, PEM; without it those that the installer knows")
	c.Flags().StringVar(&config.Disk, "disk", "", "the disk to install on: /dev/disk/by-id/NAME")
	c.Flags().BoolVar(&config.Overwrite, "overwrite", false, "install on that disk even if it holds data")
	c.Flags().StringVar(&config.Source, "source", "", "where the distribution's packages come from: a mirror of Debian, or the BaseOS repository of the RHEL family")
	c.Flags().StringVar(&config.Proxy, "proxy", "", "a proxy for packages")
	c.Flags().StringVar(&network.Address, "address", "", "a static address with its prefix, such as 192.0.2.10/24; without it DHCP")
	c.Flags().StringVar(&network.Gateway, "gateway", "", "the gateway of that network")
	c.Flags().StringSliceVar(&network.Nameserver, "nameserver", nil, "its name servers")
	c.Flags().StringVar(&name, "image-name", "strongroom", "IMAGE_ID in os-release")
	c.Flags().StringVar(&version, "image-version", "", "IMAGE_VERSION in os-release")
	c.Flags().StringVar(&serverBinary, "server", "", "the server's `program`, vault or bao")
	c.Flags().StringVar(&hostcheckBinary, "hostcheck", besideMe("hostcheck"), "the hostcheck `program`")
	return c
}

func newMetalCheckCommand() *cobra.Command {
	return &cobra.Command{
		Use:   "check FILE...",
		Short: "Read kickstart, preseed and autoinstall files strictly",
		Long: `check reads files of installers and refuses what lets an installation go wrong unseen:
unknown names, a way in, a disk that is not named, a download that is not by HTTPS or not
compared with its SHA-256, and a command whose failure is not fatal.`,
		Example: `  imagebuild metal check ks.cfg preseed.cfg user-data`,
		Args: func(c *cobra.Command, args []string) error {
			if len(args) == 0 {
				return &usageError{c.CommandPath(), errors.New("name a file")}
			}
			return nil
		},
		RunE: func(c *cobra.Command, args []string) error {
			var wrong []error
			for _, name := range args {
				text, err := os.ReadFile(name)
				if err == nil {
					err = metal.Check(name, text)
				}
				if err != nil {
					wrong = append(wrong, fmt.Errorf("%s: %w", name, err))
				}
			}
			return errors.Join(wrong...)
		},
	}
}

// besideMe is a program beside this one, "" if there is none.
func besideMe(name string) string {
	self, err := os.Executable()
	if err != nil {
		return ""
	}
	beside := filepath.Join(filepath.Dir(self), name)
	if _, err := os.Stat(beside); err != nil {
		return ""
	}
	return beside
}
