//go:generate packer-sdc mapstructure-to-hcl2 -type ReleaseConfig,ReleaseOutput

package plugin

import (
	"cmp"
	"context"
	"os"
	"path/filepath"
	"slices"
	"time"

	"github.com/hashicorp/hcl/v2/hcldec"
	"github.com/hashicorp/packer-plugin-sdk/common"
	"github.com/hashicorp/packer-plugin-sdk/hcl2helper"
	packersdk "github.com/hashicorp/packer-plugin-sdk/packer"
	"github.com/hashicorp/packer-plugin-sdk/template/config"
	"github.com/zclconf/go-cty/cty"

	"github.com/strongroom/strongroom/internal/release"
)

// The comments of the fields below are the reference documentation, as in config.go.

// ReleaseConfig is what a template says in a `data "strongroom-release"` block.
type ReleaseConfig struct {
	common.PackerConfig `mapstructure:",squash"`

	// The server: `vault` or `openbao`.
	Product string `mapstructure:"product" required:"true"`
	// A version, such as `1.21.1`, or a constraint, such as `~> 1.21.0` or `>= 1.20.0, < 1.22.0`: the newest release that
	// fits, never a prerelease and never an edition with a suffix such as `+ent`. Those need their exact version.
	Version string `mapstructure:"version" required:"true"`
	// An `https://` address that serves the vendor's files under their own names. Defaults to the vendor.
	Mirror string `mapstructure:"mirror"`
	// A PEM file with the certificate authorities that the mirror is believed by, in place of the system's.
	MirrorCA string `mapstructure:"mirror_ca"`
	// A file with public keys in place of the vendor's, armored or not. Needs `fingerprints`.
	KeyFile string `mapstructure:"key_file"`
	// Fingerprints of the primary keys whose signature counts, 40 hex digits each, with or without spaces. Defaults to the
	// vendor's.
	Fingerprints []string `mapstructure:"fingerprints"`
	// The moment at which the key and the signature must be valid, as in `2026-03-01T00:00:00Z`. Defaults to now. It is for
	// a release whose key has expired since, and says that you accept that.
	ValidAt string `mapstructure:"valid_at"`
	// Where releases are kept between builds. Defaults to `release` in `$STRONGROOM_CACHE`, or else to
	// `strongroom/release` in the user's cache directory.
	CacheDirectory string `mapstructure:"cache_directory"`
	// Uses no network: what is not in the cache is an error, and a constraint chooses among what is.
	Offline bool `mapstructure:"offline"`
	// How long everything together may take. Defaults to `10m`.
	Timeout time.Duration `mapstructure:"timeout"`
}

// ReleaseOutput is what a template reads from the data source.
type ReleaseOutput struct {
	// Path of the program, in the cache: for `binary` of the builder's block `vault` or `openbao`.
	Path string `mapstructure:"path"`
	// The version that was chosen, such as `1.21.1`.
	Version string `mapstructure:"version"`
	// SHA-256 of the program in hex: for `sha256` of the same block.
	SHA256 string `mapstructure:"sha256"`
	// `vault` or `openbao`, as configured.
	Product string `mapstructure:"product"`
}

// unknown is what Packer gives for a value that it learns only later, as `packer validate` does for every data source.
const unknown = "<unknown>"

// Datasource is strongroom-release: a verified program of Vault or OpenBao.
type Datasource struct{ config ReleaseConfig }

var _ packersdk.Datasource = (*Datasource)(nil)

// ConfigSpec describes the block `data "strongroom-release"`.
func (d *Datasource) ConfigSpec() hcldec.ObjectSpec { return d.config.FlatMapstructure().HCL2Spec() }

// OutputSpec describes what a template can read from it.
func (d *Datasource) OutputSpec() hcldec.ObjectSpec {
	return (&ReleaseOutput{}).FlatMapstructure().HCL2Spec()
}

// Configure reads the configuration and reports everything that is wrong with it at once. It reads the files of keys and
// authorities, uses no network, and may be called any number of times.
func (d *Datasource) Configure(raws ...any) error {
	d.config = ReleaseConfig{}
	if err := config.Decode(&d.config, &config.DecodeOpts{PluginType: "strongroom.release"}, raws...); err != nil {
		return err
	}
	if d.config.undecided() {
		return nil // Execute looks again
	}
	_, err := d.config.request()
	return err
}

// Execute resolves the release.
func (d *Datasource) Execute() (cty.Value, error) {
	none := cty.NullVal(cty.EmptyObject)
	request, err := d.config.request()
	if err != nil {
		return none, err
	}
	found, err := release.Resolve(context.Background(), request)
	if err != nil {
		return none, err
	}
	output := ReleaseOutput{Path: found.Path, Version: found.Version, SHA256: found.SHA256, Product: found.Product}
	return hcl2helper.HCL2ValueFromConfig(output, d.OutputSpec()), nil
}

// undecided says that an attribute comes from what Packer does not know yet.
func (c *ReleaseConfig) undecided() bool {
	return slices.Contains(append([]string{c.Product, c.Version, c.Mirror, c.MirrorCA, c.KeyFile, c.ValidAt, c.CacheDirectory}, c.Fingerprints...), unknown)
}

// request is the configuration in the words of internal/release.
func (c *ReleaseConfig) request() (release.Request, error) {
	var wrong mistakes
	read := func(attribute, path string) []byte {
		if path == "" {
			return nil
		}
		text, err := os.ReadFile(path)
		if err != nil {
			wrong.add(attribute, "%w", err)
		} else if len(text) == 0 {
			wrong.add(attribute, "%s is empty", path)
		}
		return text
	}
	r := release.Request{
		Product: c.Product, Version: c.Version, Mirror: c.Mirror, Authorities: read("mirror_ca", c.MirrorCA),
		Key: read("key_file", c.KeyFile), Fingerprints: c.Fingerprints, Cache: cmp.Or(c.CacheDirectory, userCache("release")),
		Offline: c.Offline, Timeout: c.Timeout,
	}
	if c.ValidAt != "" {
		var err error
		if r.At, err = time.Parse(time.RFC3339, c.ValidAt); err != nil {
			wrong.add("valid_at", "%q is not a moment such as \"2026-03-01T00:00:00Z\"", c.ValidAt)
		}
	}
	if c.Timeout < 0 {
		wrong.add("timeout", "%s is not a duration such as \"10m\"", c.Timeout)
	}
	if wrong.err != nil {
		return release.Request{}, wrong.err
	}
	if r.Cache != "" {
		absolute, err := filepath.Abs(r.Cache)
		if err != nil {
			return release.Request{}, err
		}
		r.Cache = absolute
	}
	return r, r.Check()
}
