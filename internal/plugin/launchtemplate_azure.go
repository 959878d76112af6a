package plugin

import (
	"context"

	packersdk "github.com/hashicorp/packer-plugin-sdk/packer"

	"github.com/strongroom/strongroom/internal/image"
	"github.com/strongroom/strongroom/internal/launch"
	"github.com/strongroom/strongroom/internal/launch/azure"
)

var _ provider = (*AzureConfig)(nil)

func (*AzureConfig) name() string { return "azure" }

// translate is the block in the words of internal/launch/azure.
func (c *AzureConfig) translate() azure.Config {
	return azure.Config{
		Subscription: c.SubscriptionID, ResourceGroup: c.ResourceGroup, Location: c.Location, Gallery: c.Gallery, Definition: c.ImageDefinition,
		Version: c.GalleryVersion, Size: c.VMSize, Subnet: c.SubnetID, SecurityGroup: c.NetworkSecurityGroupID, Identity: c.IdentityID,
		DiskEncryptionSet: c.DiskEncryptionSetID, DiskSize: int32(min(c.DiskSize, 1<<30)), SecureBoot: c.SecureBoot,
	}
}

func (c *AzureConfig) check(template string, tags map[string]string) error {
	return c.translate().Check(template, tags)
}

// open takes a fixed VHD of our builder.
func (*AzureConfig) open(ctx context.Context, artifact packersdk.Artifact) (launch.Image, error) {
	return openDisk(ctx, artifact, image.FormatVHD)
}

func (c *AzureConfig) publish(ctx context.Context, request launch.Request, dry *launch.Calls) (launch.Result, error) {
	var clients azure.Clients
	var err error
	if dry != nil {
		clients, err = azure.Recording(c.SubscriptionID, dry)
	} else {
		clients, err = azure.Connect(c.SubscriptionID)
	}
	if err != nil {
		return launch.Result{}, err
	}
	return azure.Publish(ctx, clients, c.translate(), request)
}
