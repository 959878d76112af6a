package plugin

import (
	"context"

	packersdk "github.com/hashicorp/packer-plugin-sdk/packer"

	"github.com/strongroom/strongroom/internal/image"
	"github.com/strongroom/strongroom/internal/launch"
	"github.com/strongroom/strongroom/internal/launch/gcp"
)

var _ provider = (*GCPConfig)(nil)

func (*GCPConfig) name() string { return "gcp" }

// translate is the block in the words of internal/launch/gcp.
func (c *GCPConfig) translate() gcp.Config {
	return gcp.Config{
		Project: c.Project, Bucket: c.Bucket, MachineType: c.MachineType, Network: c.Network, Subnetwork: c.Subnetwork, NetworkTags: c.NetworkTags,
		ServiceAccount: c.ServiceAccount, KMSKey: c.KMSKey, StorageLocation: c.StorageLocation, DiskSize: int64(c.DiskSize), SecureBoot: c.SecureBoot,
	}
}

func (c *GCPConfig) check(template string, tags map[string]string) error {
	return c.translate().Check(template, tags)
}

// open takes a disk of our builder, packed as Google Cloud wants it.
func (*GCPConfig) open(ctx context.Context, artifact packersdk.Artifact) (launch.Image, error) {
	return openDisk(ctx, artifact, image.FormatTarGz)
}

func (c *GCPConfig) publish(ctx context.Context, request launch.Request, dry *launch.Calls) (launch.Result, error) {
	var clients gcp.Clients
	var err error
	if dry != nil {
		clients, err = gcp.Recording(ctx, dry)
	} else {
		clients, err = gcp.Connect(ctx)
	}
	if err != nil {
		return launch.Result{}, err
	}
	return gcp.Publish(ctx, clients, c.translate(), request)
}
