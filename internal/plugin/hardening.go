package plugin

import (
	"cmp"
	"errors"
	"slices"
	"strings"

	"github.com/strongroom/strongroom/internal/baseline"
	"github.com/strongroom/strongroom/internal/control"
	"github.com/strongroom/strongroom/internal/image"
	"github.com/strongroom/strongroom/internal/overlay"
	"github.com/strongroom/strongroom/internal/server"
)

// HardeningConfig is what a template says of a hardening, whoever brings it about: the builder or the provisioner.
type HardeningConfig struct {
	// The version of the image: `IMAGE_VERSION` in its os-release, a metric of every node, and
	// what a rolling replacement compares. Lower-case letters, digits, `.`, `_` and `-`.
	ImageVersion string `mapstructure:"image_version" required:"true"`
	// The name of the image: `IMAGE_ID` in its os-release. Defaults to `strongroom`.
	ImageName string `mapstructure:"image_name"`
	// The server that goes into the image is HashiCorp Vault. Exactly one of `vault` and `openbao`
	// is needed.
	Vault *ServerConfig `mapstructure:"vault"`
	// The server that goes into the image is OpenBao.
	OpenBao *ServerConfig `mapstructure:"openbao"`

	// What the image is hardened for, as server and platform: `vault` or `openbao`, then `/vm`,
	// `/cloud` or `/metal`. Defaults to the server of the block above, and `/vm`.
	Profile string `mapstructure:"profile"`
	// Parameters of the profile, by name. `imagebuild controls` lists them with their defaults.
	Parameters map[string]string `mapstructure:"parameters"`
	// A PEM file with the certificate authorities of the servers that may hand a node its node.hcl over
	// HTTPS. Without it no URL is believed. See docs/node-sources.md.
	NodeConfigCA string `mapstructure:"node_config_ca"`
	// Files with controls of your own, beside the catalogue's: baked and judged like those. See
	// docs/catalogue.md.
	SiteControls []string `mapstructure:"site_controls"`
	// A file with waivers: controls that may fail until a day, with a reason and an owner. One that
	// has expired is an error. See docs/catalogue.md.
	Waivers string `mapstructure:"waivers"`
	// The hostcheck program that goes into the image. A released plugin brings its own. One built from source takes
	// that beside itself, or else the one in `PATH`.
	Hostcheck string `mapstructure:"hostcheck"`

	// Signs the baseline that hostcheck judges the node by. The builder signs the statement of the bake too, about everything that it has made
	// (docs/statement.md). Without the block neither is signed.
	Signing *SigningConfig `mapstructure:"signing"`

	agentDigest string // of the hostcheck program, once it was read
}

// hardened is a hardening that holds water, rendered for one layout and distribution.
type hardened struct {
	profile       control.Profile
	digest        string // of the baseline
	overlay       *overlay.Tree
	overlayDigest string
}

// defaults fills in what a template may leave out, and finds the one server that it names.
func (c *HardeningConfig) defaults(wrong *mistakes) (server.Product, image.Binary) {
	c.ImageName = cmp.Or(c.ImageName, "strongroom")
	product, binary := c.serverBinary(wrong)
	c.Profile = cmp.Or(c.Profile, product.ID+"/vm")
	if c.ImageVersion == "" {
		wrong.add("image_version", "is required: every image carries a version that can be compared, such as \"1.4.0\"")
	}
	return product, binary
}

// compile resolves the baseline and renders the overlay: a parameter that does not exist is
// found by `packer validate`. sum is the digest of the server's program, if it is known.
func (c *HardeningConfig) compile(load func() (*baseline.Catalogue, error), product server.Product, sum, layout, distribution string, wrong *mistakes) hardened {
	serverID, platform, ok := strings.Cut(c.Profile, "/")
	switch {
	case !ok || !slices.Contains(baseline.Servers, serverID) || !slices.Contains(baseline.Platforms, platform):
		wrong.add("profile", "%q is not known: it is a server (%s) and a platform (%s), such as \"vault/vm\"", c.Profile,
			strings.Join(baseline.Servers, ", "), strings.Join(baseline.Platforms, ", "))
		serverID, platform = product.ID, baseline.Platforms[0] // the parameters can still be judged
	case serverID != product.ID && (c.Vault != nil || c.OpenBao != nil):
		wrong.add("profile", "%q is about another server than the block %s: write %q, or leave the profile out", c.Profile, product.ID, product.ID+"/"+platform)
		serverID = product.ID
	}
	catalogue, err := load()
	if err != nil {
		wrong.add("catalogue", "%w", err)
		return hardened{}
	}
	catalogue, ok = c.withSite(catalogue, wrong)
	if !ok {
		return hardened{}
	}
	compiled, err := catalogue.Compile(control.Profile{
		Server: serverID, Platform: platform, Layout: layout, Distribution: distribution, Parameters: c.withAuthority(c.withDigests(sum, wrong), wrong),
	})
	if errors.Is(err, baseline.ErrStatedTwice) {
		wrong.add("site_controls", "%w", err) // our own never do
		return hardened{}
	}
	if err != nil {
		for _, err := range unjoin(err) {
			wrong.add("parameters", "%s", strings.TrimPrefix(err.Error(), "parameter "))
		}
		return hardened{}
	}
	c.waive(compiled, wrong)
	s := hardened{profile: compiled.Profile}
	if s.digest, err = compiled.Digest(); err != nil {
		wrong.add("catalogue", "%w", err)
		return hardened{}
	}
	if s.overlay, err = compiled.Overlay(); err != nil {
		for _, err := range unjoin(err) {
			wrong.add("catalogue", "%w", err)
		}
		return hardened{}
	}
	if s.overlayDigest, err = s.overlay.Digest(); err != nil {
		wrong.add("catalogue", "%w", err)
	}
	return s
}
