//go:generate packer-sdc mapstructure-to-hcl2 -type Config,ServerConfig,BootTestConfig

package plugin

import (
	"time"

	"github.com/hashicorp/packer-plugin-sdk/common"
	"github.com/hashicorp/packer-plugin-sdk/template/interpolate"
)

// The comments of the fields below are the reference documentation: `make generate` copies
// them to docs-partials.

// Config is what a template says in a `source "strongroom-image"` block.
type Config struct {
	common.PackerConfig `mapstructure:",squash"`

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

	// The distribution that the image stands on: `debian/trixie` (default) or `debian/bookworm`.
	Distribution string `mapstructure:"distribution"`
	// URL of the package archive. Defaults to the distribution's own.
	Mirror string `mapstructure:"mirror"`
	// A moment of the dated archive, as in `20260131T000000Z`: the same packages on every bake.
	// Defaults to today's archive.
	Snapshot string `mapstructure:"snapshot"`
	// Packages beside those that the image needs. Each one widens what has to be trusted.
	Packages []string `mapstructure:"packages"`

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
	// The hostcheck program that goes into the image. Defaults to the one beside the plugin,
	// or else the one in `PATH`.
	Hostcheck string `mapstructure:"hostcheck"`

	// Disk formats: `raw`, `qcow2`, `vmdk`, `vhd`, `raw.tar.gz`; see [Formats](#formats) for which platform takes
	// which. Defaults to `raw` and `qcow2`.
	Formats []string `mapstructure:"formats"`
	// Free room on the disk behind the root, such as `4GiB`: the first boot divides it into the
	// partitions for the server's data, `audit` and `var`. Defaults to `4GiB`. The disk is a whole number of GiB,
	// what that leaves over is free room too. It costs no space in a sparse file nor in the other formats.
	DataPartitionSize string `mapstructure:"data_partition_size"`
	// Where the finished image appears, in one rename. Defaults to `output-NAME` with the name
	// of the build. A directory that exists is an error, unless Packer runs with `-force`; then
	// it is replaced when the new image is complete.
	OutputDirectory string `mapstructure:"output_directory"`
	// Where base trees are kept between bakes. Defaults to `image` in `$STRONGROOM_CACHE`, or else
	// to `strongroom/image` in the user's cache directory.
	CacheDirectory string `mapstructure:"cache_directory"`

	// Boots the finished disk before it is published; a node that does not come up, or whose
	// gate stays closed, fails the build. Without the block nothing is booted.
	BootTest *BootTestConfig `mapstructure:"boot_test"`

	ctx interpolate.Context
}

// ServerConfig is the block `vault` or `openbao`.
type ServerConfig struct {
	// Path of the server's program, `vault` or `bao`: a Linux binary for amd64.
	Binary string `mapstructure:"binary" required:"true"`
	// Its SHA-256 in hex, such as the data source `strongroom-release` gives (docs/release.md). A binary that differs
	// fails the build. Leaving it out means trusting the file as it lies there.
	SHA256 string `mapstructure:"sha256"`
}

// BootTestConfig is the block `boot_test`.
type BootTestConfig struct {
	// Memory of the machine, such as `1GiB` (default).
	Memory string `mapstructure:"memory"`
	// Processors of the machine. Defaults to 2.
	CPUs int `mapstructure:"cpus"`
	// How long the node may take from power-on to its verdict. Defaults to `10m`, which leaves
	// room for a host without KVM.
	Timeout time.Duration `mapstructure:"timeout"`
}
