//go:generate packer-sdc mapstructure-to-hcl2 -type LaunchTemplateConfig,AWSConfig,GCPConfig,AzureConfig

package plugin

import (
	"github.com/hashicorp/packer-plugin-sdk/common"
	"github.com/hashicorp/packer-plugin-sdk/template/config"
	"github.com/hashicorp/packer-plugin-sdk/template/interpolate"
)

// The comments of the fields below are the reference documentation, as in config.go.

// LaunchTemplateConfig is what a template says in a `post-processor "strongroom-launch-template"` block.
type LaunchTemplateConfig struct {
	common.PackerConfig `mapstructure:",squash"`

	// Name of the launch template; on Azure, of the scale set. Defaults to the name of the image, or of the build when another builder made the image.
	Name string `mapstructure:"name"`
	// Writes what would be sent as files, and sends nothing: `true` is the default. Only `false` calls the provider.
	DryRun config.Trilean `mapstructure:"dry_run"`
	// Where a dry run writes its files. Defaults to `launch-template-aws` (or `-gcp`, `-azure`) in the directory of the image, or
	// to `output-BUILD-launch-template-aws` when the image is not a file. Files of an earlier dry run are replaced.
	OutputDirectory string `mapstructure:"output_directory"`
	// A node.hcl that every node gets as its user data or metadata: whom it joins, how it is unsealed, who may talk to it. What the
	// nodes would refuse is an error, and so is anything that looks like a secret. Without it the nodes need theirs in another way: docs/node-sources.md.
	NodeConfig string `mapstructure:"node_config"`
	// Tags (labels on Google Cloud) of everything that is made and of the nodes, beside those that say which image it is.
	Tags map[string]string `mapstructure:"tags"`

	// For Amazon EC2. Exactly one of `aws`, `gcp` and `azure` is needed.
	AWS *AWSConfig `mapstructure:"aws"`
	// For Compute Engine.
	GCP *GCPConfig `mapstructure:"gcp"`
	// For Azure.
	Azure *AzureConfig `mapstructure:"azure"`

	ctx interpolate.Context
}

// AWSConfig is the block `aws`.
type AWSConfig struct {
	// The region, such as `eu-central-1`. AMIs and launch templates belong to one; for several write several post-processors.
	Region string `mapstructure:"region" required:"true"`
	// Ids of the security groups of the nodes. They get no public address.
	SecurityGroupIDs []string `mapstructure:"security_group_ids" required:"true"`
	// Such as `m7i.large`: Nitro, x86-64. Left out, whoever starts a node says.
	InstanceType string `mapstructure:"instance_type"`
	// Name or ARN of the instance profile of the nodes, for a seal by AWS KMS.
	InstanceProfile string `mapstructure:"instance_profile"`
	// ARN of the KMS key that encrypts snapshot and disks. Disks are encrypted without it too, by the account's default key.
	KMSKeyID string `mapstructure:"kms_key_id"`
	// Size of the root disk in GiB, not less than the image's. The first boot divides the free room into the partitions for the
	// server's data, `audit` and `var`. Defaults to the size of the image.
	VolumeSize int `mapstructure:"volume_size"`
	// `true` asks for hardware that no other account uses.
	DedicatedTenancy bool `mapstructure:"dedicated_tenancy"`
	// Name of a parameter of Systems Manager that gets the id of the AMI, for `resolve:ssm:NAME`.
	SSMParameter string `mapstructure:"ssm_parameter"`
	// A file with the UEFI variables of the AMI, in the base64 of `python-uefivars`: keys for Secure Boot.
	UEFIData string `mapstructure:"uefi_data"`
}

// GCPConfig is the block `gcp`.
type GCPConfig struct {
	// Id of the project.
	Project string `mapstructure:"project" required:"true"`
	// A bucket of Cloud Storage that the disk goes through. The object is removed again.
	Bucket string `mapstructure:"bucket" required:"true"`
	// Such as `n2-standard-2`: one with a vTPM and gVNIC.
	MachineType string `mapstructure:"machine_type" required:"true"`
	// The network of the nodes, or in its place `subnetwork`, such as `projects/p/regions/europe-west3/subnetworks/s`. They get no
	// public address.
	Network string `mapstructure:"network"`
	// The subnetwork of the nodes.
	Subnetwork string `mapstructure:"subnetwork"`
	// Network tags of the nodes, for firewall rules.
	NetworkTags []string `mapstructure:"network_tags"`
	// E-mail address of the service account of the nodes, for a seal by Cloud KMS. Without it they have none.
	ServiceAccount string `mapstructure:"service_account"`
	// The key of Cloud KMS that encrypts image and disks: `projects/…/locations/…/keyRings/…/cryptoKeys/…`. Defaults to Google's own.
	KMSKey string `mapstructure:"kms_key"`
	// Where the image is kept, such as `europe-west3`. Defaults to Google's choice.
	StorageLocation string `mapstructure:"storage_location"`
	// Size of the root disk in GiB. The first boot divides the free room into the partitions for the server's data, `audit` and `var`.
	// Defaults to the size of the image.
	DiskSize int `mapstructure:"disk_size"`
	// Secure Boot of Shielded VM. The kernel image must then be signed by a key that the firmware knows; the builder signs none.
	SecureBoot bool `mapstructure:"secure_boot"`
}

// AzureConfig is the block `azure`.
type AzureConfig struct {
	// Id of the subscription.
	SubscriptionID string `mapstructure:"subscription_id" required:"true"`
	// The resource group of the gallery and the scale set.
	ResourceGroup string `mapstructure:"resource_group" required:"true"`
	// Such as `germanywestcentral`.
	Location string `mapstructure:"location" required:"true"`
	// A Compute Gallery that exists.
	Gallery string `mapstructure:"gallery" required:"true"`
	// The image definition in the gallery. It is made when it is not there; one that is must be specialized, of generation 2 and with
	// Trusted Launch.
	ImageDefinition string `mapstructure:"image_definition" required:"true"`
	// The version in the gallery, such as `1.4.0`. Defaults to the version of the image, when that has this form.
	GalleryVersion string `mapstructure:"gallery_version"`
	// Such as `Standard_D2s_v5`: one that knows Trusted Launch and encryption at host.
	VMSize string `mapstructure:"vm_size" required:"true"`
	// Id of the subnet of the nodes. They get no public address.
	SubnetID string `mapstructure:"subnet_id" required:"true"`
	// Id of a network security group. Without it that of the subnet counts alone.
	NetworkSecurityGroupID string `mapstructure:"network_security_group_id"`
	// Id of a user-assigned identity of the nodes, for a seal by Key Vault.
	IdentityID string `mapstructure:"identity_id"`
	// Id of a disk encryption set. Defaults to Azure's own keys.
	DiskEncryptionSetID string `mapstructure:"disk_encryption_set_id"`
	// Size of the root disk in GiB. The first boot divides the free room into the partitions for the server's data, `audit` and `var`.
	// Defaults to the size of the image.
	DiskSize int `mapstructure:"disk_size"`
	// Secure Boot of Trusted Launch. The kernel image must then be signed by a key that the firmware knows; the builder signs none.
	SecureBoot bool `mapstructure:"secure_boot"`
}
