package main

import (
	"fmt"
	"strings"

	"github.com/spf13/cobra"

	"github.com/strongroom/strongroom/hardening"
	"github.com/strongroom/strongroom/internal/baseline"
	"github.com/strongroom/strongroom/internal/control"
)

// profileFlags choose a profile in the words of the template's attributes.
type profileFlags struct {
	profile      string
	distribution string
	parameters   map[string]string
}

func (f *profileFlags) register(c *cobra.Command) {
	c.Flags().StringVar(&f.profile, "profile", "vault/vm", "server and platform")
	c.Flags().StringVar(&f.distribution, "distribution", "debian/trixie", "distribution that the image stands on")
	c.Flags().StringToStringVar(&f.parameters, "set", nil, "`name=value` of a parameter, repeatable")
}

// compile resolves the baseline that the flags ask for.
func (f *profileFlags) compile(c *cobra.Command) (*baseline.Baseline, *baseline.Catalogue, error) {
	server, platform, ok := strings.Cut(f.profile, "/")
	if !ok {
		return nil, nil, &usageError{c.CommandPath(), fmt.Errorf("profile %q is not a server and a platform, such as \"vault/vm\"", f.profile)}
	}
	catalogue, err := hardening.Load()
	if err != nil {
		return nil, nil, fmt.Errorf("cannot load the catalogue: %w", err)
	}
	b, err := catalogue.Compile(control.Profile{
		Server: server, Platform: platform, Layout: "sealed", Distribution: f.distribution, Parameters: f.parameters,
	})
	if err != nil {
		return nil, nil, &usageError{c.CommandPath(), fmt.Errorf("cannot compile the profile: %w", err)}
	}
	return b, catalogue, nil
}
