package main

import (
	"fmt"
	"maps"
	"os"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/strongroom/strongroom/hardening"
	"github.com/strongroom/strongroom/internal/baseline"
	"github.com/strongroom/strongroom/internal/control"
)

// profileFlags choose a profile in the words of the template's attributes.
type profileFlags struct {
	profile      string
	layout       string
	distribution string
	parameters   map[string]string
	controls     []string
	waivers      string
	nodeCA       string
}

func (f *profileFlags) register(c *cobra.Command) {
	c.Flags().StringVar(&f.profile, "profile", "vault/vm", "server and platform")
	c.Flags().StringVar(&f.layout, "layout", baseline.Layouts[0], "sealed: an image of the builder; installed: a machine that another builder or installer made")
	c.Flags().StringVar(&f.distribution, "distribution", "debian/trixie", "distribution that the node stands on")
	c.Flags().StringToStringVar(&f.parameters, "set", nil, "`name=value` of a parameter, repeatable")
	c.Flags().StringArrayVar(&f.controls, "controls", nil, "`file` with controls of your own, repeatable")
	c.Flags().StringVar(&f.nodeCA, "node-config-ca", "", "`file` with the authorities of servers that may hand out node.hcl")
	c.Flags().StringVar(&f.waivers, "waivers", "", "`file` with waivers")
}

// compile resolves the baseline that the flags ask for.
func (f *profileFlags) compile(c *cobra.Command) (*baseline.Baseline, *baseline.Catalogue, error) {
	server, platform, ok := strings.Cut(f.profile, "/")
	if !ok {
		return nil, nil, &usageError{c.CommandPath(), fmt.Errorf("profile %q is not a server and a platform, such as \"vault/vm\"", f.profile)}
	}
	parameters := f.parameters
	if f.nodeCA != "" {
		content, err := os.ReadFile(f.nodeCA)
		if err != nil {
			return nil, nil, fmt.Errorf("cannot read authorities: %w", err)
		}
		parameters = maps.Clone(parameters)
		if parameters == nil {
			parameters = map[string]string{}
		}
		parameters["node_config_ca"] = string(content)
	}
	catalogue, err := hardening.Load()
	if err != nil {
		return nil, nil, fmt.Errorf("cannot load the catalogue: %w", err)
	}
	site, err := baseline.ReadFiles(f.controls, os.ReadFile)
	if err != nil {
		return nil, nil, fmt.Errorf("cannot read controls: %w", err)
	}
	if catalogue, err = catalogue.With(site...); err != nil {
		return nil, nil, err
	}
	b, err := catalogue.Compile(control.Profile{
		Server: server, Platform: platform, Layout: f.layout, Distribution: f.distribution, Parameters: parameters,
	})
	if err != nil {
		return nil, nil, &usageError{c.CommandPath(), fmt.Errorf("cannot compile the profile: %w", err)}
	}
	if f.waivers == "" {
		return b, catalogue, nil
	}
	content, err := os.ReadFile(f.waivers)
	if err != nil {
		return nil, nil, fmt.Errorf("cannot read waivers: %w", err)
	}
	waivers, err := baseline.ParseWaivers(f.waivers, content)
	if err != nil {
		return nil, nil, err
	}
	return b, catalogue, b.Waive(waivers, control.Lapsed(time.Now()))
}
