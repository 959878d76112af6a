//go:generate packer-sdc mapstructure-to-hcl2 -type MetalConfig,MetalNetworkConfig

package plugin

import (
	"github.com/hashicorp/packer-plugin-sdk/common"
	"github.com/hashicorp/packer-plugin-sdk/template/interpolate"
)

// The comments of the fields below are the reference documentation, as in config.go.

// MetalConfig is what a template says in a `post-processor "strongroom-metal"` block.
type MetalConfig struct {
	common.PackerConfig `mapstructure:",squash"`
	HardeningConfig     `mapstructure:",squash"`

	// The distribution to install: `debian/trixie`, `debian/bookworm`, `ubuntu/noble`, `rhel/10` or `rhel/9`. It decides which installer gets its answers:
	// preseed, autoinstall or kickstart.
	Distribution string `mapstructure:"distribution" required:"true"`
	// Where the directory will be served: `https://host/path`.
	URL string `mapstructure:"url" required:"true"`
	// The one disk to install on: `/dev/disk/by-id/NAME`. No other is touched.
	Disk string `mapstructure:"disk" required:"true"`
	// `true` allows that disk to hold data. Without it the installation stops at a disk that is not empty.
	Overwrite bool `mapstructure:"overwrite"`
	// A PEM file with the authorities of that server. Defaults to those that the installer knows.
	CA string `mapstructure:"ca"`
	// Where the packages come from: a mirror of Debian (by default `https://deb.debian.org/debian`), or the BaseOS repository of the RHEL family, which is required there.
	Source string `mapstructure:"source"`
	// A proxy for packages, as a URL without a password.
	Proxy string `mapstructure:"proxy"`
	// A static address. Defaults to DHCP.
	Network *MetalNetworkConfig `mapstructure:"network"`
	// The directory to write. Defaults to `output-BUILD-metal`.
	OutputDirectory string `mapstructure:"output_directory"`

	ctx interpolate.Context
}

// MetalNetworkConfig is the block `network`.
type MetalNetworkConfig struct {
	// The address with the length of its prefix, such as `192.0.2.10/24`: IPv4.
	Address string `mapstructure:"address" required:"true"`
	// The gateway, in that network.
	Gateway string `mapstructure:"gateway" required:"true"`
	// Name servers.
	Nameservers []string `mapstructure:"nameservers" required:"true"`
}
