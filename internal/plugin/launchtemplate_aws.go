package plugin

import (
	"context"
	"fmt"
	"slices"

	packersdk "github.com/hashicorp/packer-plugin-sdk/packer"

	"github.com/strongroom/strongroom/internal/image"
	"github.com/strongroom/strongroom/internal/launch"
	"github.com/strongroom/strongroom/internal/launch/aws"
)

var _ provider = (*AWSConfig)(nil)

func (*AWSConfig) name() string { return "aws" }

// translate is the block in the words of internal/launch/aws, but for the file.
func (c *AWSConfig) translate() aws.Config {
	return aws.Config{
		Region: c.Region, InstanceType: c.InstanceType, InstanceProfile: c.InstanceProfile, SecurityGroups: c.SecurityGroupIDs,
		KMSKey: c.KMSKeyID, VolumeSize: int32(min(c.VolumeSize, 1<<30)), Dedicated: c.DedicatedTenancy, Parameter: c.SSMParameter,
	}
}

func (c *AWSConfig) check(template string, tags map[string]string) error {
	return c.translate().Check(template, tags)
}

// open takes a raw disk of our builder, or the AMI of the region that another builder has made.
func (c *AWSConfig) open(ctx context.Context, artifact packersdk.Artifact) (launch.Image, error) {
	if !slices.Contains(aws.BuilderIDs, artifact.BuilderId()) {
		return openDisk(ctx, artifact, image.FormatRaw)
	}
	images, err := aws.ParseArtifactID(artifact.Id())
	if err != nil {
		return launch.Image{}, err
	}
	id, ok := images[c.Region]
	if !ok {
		return launch.Image{}, fmt.Errorf("aws.region: the build made no AMI in %s: %s", c.Region, artifact.Id())
	}
	return launch.Image{Digest: id, Unknown: true}, nil
}

func (c *AWSConfig) publish(ctx context.Context, request launch.Request, dry *launch.Calls) (launch.Result, error) {
	config := c.translate()
	var err error
	if config.UEFIData, err = readOptional("aws.uefi_data", c.UEFIData); err != nil {
		return launch.Result{}, err
	}
	if dry != nil {
		return aws.Publish(ctx, aws.Recording(c.Region, dry), config, request)
	}
	clients, err := aws.Connect(ctx, c.Region)
	if err != nil {
		return launch.Result{}, err
	}
	return aws.Publish(ctx, clients, config, request)
}
