package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
	"time"

	promconfig "github.com/prometheus/common/config"
	"github.com/spf13/cobra"

	"github.com/strongroom/strongroom/hardening"
	"github.com/strongroom/strongroom/internal/atomicfile"
	"github.com/strongroom/strongroom/internal/fleet"
)

type fleetFlags struct {
	prometheus, httpConfig, job string
	cluster, output             string
	window                      time.Duration
}

func newFleetCommand() *cobra.Command {
	var f fleetFlags
	c := &cobra.Command{
		Use:   "fleet (--prometheus URL | DIR)",
		Short: "Show all nodes on one page: failures first, images, baselines, drift",
		Long: `fleet writes one HTML page about many nodes. It needs no network to be read, runs no script, and prints.

With --prometheus it asks a Prometheus that scrapes the agents (docs/telemetry.md) how the nodes are now and what did not hold in the
time of --window before. With DIR it reads every report (*.json, of "hostcheck verify --format json" or a node's /report) below the folder: a
folder in it is a cluster, the newest report of a node is how the node is, and the older ones are how it was.

It shows and judges nothing: the exit status is 0 whatever the nodes say.`,
		Example: `  imagebuild fleet --prometheus https://prometheus.example.net:9090 --output fleet.html
  imagebuild fleet --prometheus https://prometheus.example.net:9090 --http-config prometheus-client.yml --cluster prod-eu1 --window 168h --output fleet.html
  imagebuild fleet --output fleet.html reports/`,
		RunE: func(c *cobra.Command, args []string) error {
			if err := f.check(c, args); err != nil {
				return &usageError{c.CommandPath(), err}
			}
			found, err := f.gather(c.Context(), args)
			if err != nil {
				return err
			}
			if f.cluster != "" {
				if found.Filter(f.cluster); len(found.Nodes) == 0 {
					return fmt.Errorf("no node says that it is of the cluster %q", f.cluster)
				}
			}
			if f.output == "" {
				return fleet.WriteHTML(c.OutOrStdout(), found)
			}
			return atomicfile.Write(f.output, 0o644, func(w io.Writer) error { return fleet.WriteHTML(w, found) })
		},
	}
	c.Flags().StringVar(&f.prometheus, "prometheus", "", "`URL` of a Prometheus that scrapes the agents")
	c.Flags().StringVar(&f.httpConfig, "http-config", "", "`FILE` with how to reach it: password, token, certificates, in the form of promtool's --http.config.file")
	c.Flags().StringVar(&f.job, "job", "strongroom", "`NAME` of the job that scrapes the agents")
	c.Flags().DurationVar(&f.window, "window", 24*time.Hour, "how far back the changes go that are asked of Prometheus")
	c.Flags().StringVar(&f.cluster, "cluster", "", "show the nodes of the cluster `NAME` only")
	c.Flags().StringVar(&f.output, "output", "", "write to `FILE`, whole or not at all, and not to standard output")
	return c
}

// check says what is wrong with the command line. Every mistake is told at once.
func (f *fleetFlags) check(c *cobra.Command, args []string) error {
	var mistakes []error
	switch {
	case f.prometheus == "" && len(args) == 0:
		mistakes = append(mistakes, errors.New("name a Prometheus (--prometheus URL), or a folder of reports"))
	case f.prometheus != "" && len(args) > 0:
		mistakes = append(mistakes, fmt.Errorf("--prometheus and %q: the nodes come from one or the other", args[0]))
	case len(args) > 1:
		mistakes = append(mistakes, fmt.Errorf("want one folder, got %d", len(args)))
	}
	if f.prometheus == "" {
		for _, name := range []string{"http-config", "job", "window"} {
			if c.Flags().Changed(name) {
				mistakes = append(mistakes, fmt.Errorf("--%s says something about --prometheus, which is not there", name))
			}
		}
	}
	if f.window < time.Minute {
		mistakes = append(mistakes, fmt.Errorf("--window: %s is less than a minute", f.window))
	}
	return errors.Join(mistakes...)
}

func (f *fleetFlags) gather(ctx context.Context, args []string) (*fleet.Fleet, error) {
	catalogue, err := hardening.Load()
	if err != nil {
		return nil, err
	}
	known := map[string]fleet.Control{}
	for _, h := range catalogue.Headings() {
		known[h.ID] = fleet.Control{ID: h.ID, Title: strings.ReplaceAll(h.Title, "${server.name}", "the server"), Severity: h.Severity}
	}
	if f.prometheus == "" {
		return fleet.FromFolder(args[0], known)
	}
	var transport http.RoundTripper
	if f.httpConfig != "" {
		config, _, err := promconfig.LoadHTTPConfigFile(f.httpConfig)
		if err != nil {
			return nil, fmt.Errorf("--http-config: %w", err)
		}
		if transport, err = promconfig.NewRoundTripperFromConfig(*config, "imagebuild"); err != nil {
			return nil, fmt.Errorf("--http-config: %w", err)
		}
	}
	return fleet.Prometheus{URL: f.prometheus, Job: f.job, Window: f.window, Client: transport}.Ask(ctx, time.Now(), known)
}
