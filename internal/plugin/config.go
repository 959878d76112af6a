//go:generate packer-sdc mapstructure-to-hcl2 -type Config,ServerConfig,BootTestConfig,NetbootConfig,SecureBootConfig,PCRPolicyConfig,SigningConfig,AllowLeakConfig

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
	HardeningConfig     `mapstructure:",squash"`

	// The distribution that the image stands on: `debian/trixie` (default) or `debian/bookworm`.
	Distribution string `mapstructure:"distribution"`
	// URL of the package archive. Defaults to the distribution's own.
	Mirror string `mapstructure:"mirror"`
	// A moment of the dated archive, as in `20260131T000000Z`: the same packages on every bake.
	// Defaults to today's archive.
	Snapshot string `mapstructure:"snapshot"`
	// Path of the lock, such as `"${path.root}/strongroom.lock"`: every package and program of the image by its SHA-256. The
	// first bake writes it, later ones take in nothing else, until `imagebuild lock --update` (docs/reproducible.md).
	// Without it the archive is asked once a day. Each image needs a lock of its own.
	LockFile string `mapstructure:"lock_file"`
	// Packages beside those that the image needs. Each one widens what has to be trusted.
	Packages []string `mapstructure:"packages"`

	// Disk formats: `raw`, `qcow2`, `vmdk`, `vhd`, `raw.tar.gz`, and `netboot`, which is a directory; see [Formats](#formats) for which platform takes
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
	// Where packages and base trees are kept between bakes. Defaults to `image` in `$STRONGROOM_CACHE`, or else
	// to `strongroom/image` in the user's cache directory.
	CacheDirectory string `mapstructure:"cache_directory"`

	// Something that the leak gate finds and that may stay in the image (docs/leaked-secrets.md). May be given more than once; each
	// allows one finding, and one that allows nothing fails the build.
	AllowLeak []AllowLeakConfig `mapstructure:"allow_leak"`

	// What the format `netboot` needs to know (docs/netboot.md).
	Netboot *NetbootConfig `mapstructure:"netboot"`

	// Boots the finished disk before it is published; a node that does not come up, or whose
	// gate stays closed, fails the build. Without the block nothing is booted.
	BootTest *BootTestConfig `mapstructure:"boot_test"`

	// Signs the unified kernel image for UEFI Secure Boot. Without the block it is not signed.
	SecureBoot *SecureBootConfig `mapstructure:"secure_boot"`
	// Signs policies over what the image measures, for what a TPM shall open. Without the block there are none.
	PCRPolicy *PCRPolicyConfig `mapstructure:"pcr_policy"`

	ctx interpolate.Context
}

// AllowLeakConfig is the block `allow_leak`.
type AllowLeakConfig struct {
	// The file in the image, as the error names it.
	Path string `mapstructure:"path" required:"true"`
	// The kind of finding, as the error names it: `private-key`.
	Kind string `mapstructure:"kind" required:"true"`
	// Which one, where a file has several of a kind: the eight digits behind the kind. Given, it allows this secret and no other in its place.
	Fingerprint string `mapstructure:"fingerprint"`
	// Why it may be in every copy of the image.
	Reason string `mapstructure:"reason" required:"true"`
}

// SecureBootConfig is the block `secure_boot`.
type SecureBootConfig struct {
	// Path of the private key, PEM: RSA of 2048 bits or more, without a passphrase. It is read when the build starts, and
	// is in no log, cache or artifact.
	Key string `mapstructure:"key" required:"true"`
	// Path of the key's certificate, PEM or DER: what firmware knows it by.
	Certificate string `mapstructure:"certificate" required:"true"`
	// Machines whose PCR 7 is to be predicted: a name, and a directory with the signature lists of its firmware as
	// `PK.esl`, `KEK.esl`, `db.esl` and `dbx.esl` (`efi-readvar -v db -o db.esl`). A list that is not there is an empty
	// variable. A machine with the enrolment bundle of the image is always predicted.
	Firmware map[string]string `mapstructure:"firmware"`
}

// PCRPolicyConfig is the block `pcr_policy`.
type PCRPolicyConfig struct {
	// Path of the private key, PEM: RSA of 2048 bits, without a passphrase. Not that of `secure_boot`: who holds this one
	// opens what nodes have sealed. What a node has sealed, each image opens whose measurements the same key has signed.
	Key string `mapstructure:"key" required:"true"`
}

// SigningConfig is the block `signing`.
type SigningConfig struct {
	// The private key, Ed25519 or ECDSA on P-256: the path of a PEM file without a passphrase, or a key of the transit engine of a Vault
	// or OpenBao, as `vault:MOUNT/KEY`. The server and its token are those of the environment (`VAULT_ADDR`, `VAULT_TOKEN`,
	// `VAULT_CACERT`, `VAULT_NAMESPACE`); the token is in no log and no artifact.
	Key string `mapstructure:"key" required:"true"`
	// Until when the statement of a bake is valid, such as `2027-06-30T00:00:00Z`. Without it the statement has no end. Only the builder writes one.
	ValidUntil string `mapstructure:"valid_until"`
}

// ServerConfig is the block `vault` or `openbao`.
type ServerConfig struct {
	// Path of the server's program, `vault` or `bao`: a Linux binary for amd64.
	Binary string `mapstructure:"binary" required:"true"`
	// Its SHA-256 in hex, such as the data source `strongroom-release` gives (docs/release.md). A binary that differs
	// fails the build. Leaving it out means trusting the file as it lies there.
	SHA256 string `mapstructure:"sha256"`
}

// NetbootConfig is the block `netboot`.
type NetbootConfig struct {
	// The one disk of a machine that a node may keep its data on: `id:NAME` with a name below `/dev/disk/by-id`,
	// `size:900GB-1TB`, or `label:NAME` of a partition. Partitions are made on it only when it is empty. Exactly one of `data_disk` and `install_disk` is
	// needed.
	DataDisk string `mapstructure:"data_disk"`
	// The one disk of a machine that the image is installed to, in the same words: the machine writes it there, verifies it and
	// starts from it. Only an empty disk is written to.
	InstallDisk string `mapstructure:"install_disk"`
	// The https URL of the directory that the bundle's `disk-DIGEST.img` is served from, for `install_disk`. Its certificate is believed by
	// `node_config_ca`.
	InstallURL string `mapstructure:"install_url"`
	// An RSA key in PEM, not encrypted, with which each file is signed for iPXE's `imgverify`.
	SigningKey string `mapstructure:"signing_key"`
	// Its certificate in PEM, for signing code, followed by those that lead to the authority that iPXE was built to trust.
	SigningCertificate string `mapstructure:"signing_certificate"`
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
