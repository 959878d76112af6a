package aws

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"time"

	"github.com/aws/aws-sdk-go-v2/service/ec2"
	"github.com/aws/aws-sdk-go-v2/service/ec2/types"
)

const (
	// tagRegistration is on snapshot and AMI: a digest of all that makes the AMI what it is. By it they are found again.
	tagRegistration = "strongroom:registration"
	rootDevice      = "/dev/xvda"
	waitLimit       = 30 * time.Minute
)

// registrationOf is a digest of the disk and of what RegisterImage says about it. The settings that are the same for
// every AMI count too, by the number at the front.
func registrationOf(digest string, c Config) string {
	sum := sha256.Sum256(fmt.Appendf(nil, "1\n%s\n%s\n%s\n", digest, c.KMSKey, c.UEFIData))
	return hex.EncodeToString(sum[:])
}

// register finds the AMI of this image, or makes it.
func (p *publication) register(ctx context.Context) (types.Image, error) {
	found, err := p.clients.EC2.DescribeImages(ctx, &ec2.DescribeImagesInput{
		Owners:  []string{"self"}, // anybody may publish an AMI with any tag
		Filters: []types.Filter{{Name: ptr("tag:" + tagRegistration), Values: []string{p.registration}}, {Name: ptr("state"), Values: []string{"available"}}},
	})
	if err != nil {
		return types.Image{}, fmt.Errorf("cannot look for the image: %w", err)
	}
	if len(found.Images) > 0 {
		p.log.Info("The image " + *found.Images[0].ImageId + " is there already")
		return found.Images[0], nil
	}
	snapshot, err := p.snapshot(ctx)
	if err != nil {
		return types.Image{}, err
	}
	p.log.Info("Registering the image...")
	input := p.registerInput(snapshot)
	made, err := p.clients.EC2.RegisterImage(ctx, input)
	if err != nil {
		return types.Image{}, fmt.Errorf("cannot register the image: %w", err)
	}
	id := *made.ImageId
	p.changed = true
	p.undo.Made("image "+id, p.command("deregister-image --image-id "+id), func(ctx context.Context) error {
		_, err := p.clients.EC2.DeregisterImage(ctx, &ec2.DeregisterImageInput{ImageId: &id})
		return err
	})
	wait := ec2.NewImageAvailableWaiter(looker{images: p.clients.EC2.DescribeImages}, func(o *ec2.ImageAvailableWaiterOptions) {
		if p.clients.Poll > 0 {
			o.MinDelay, o.MaxDelay = p.clients.Poll, p.clients.Poll
		}
	})
	if err := wait.Wait(ctx, &ec2.DescribeImagesInput{ImageIds: []string{id}}, waitLimit); err != nil {
		return types.Image{}, fmt.Errorf("the image %s does not get ready: %w", id, err)
	}
	return types.Image{ImageId: &id, RootDeviceName: input.RootDeviceName}, nil
}

// registerInput is the input of RegisterImage.
func (p *publication) registerInput(snapshot string) *ec2.RegisterImageInput {
	input := &ec2.RegisterImageInput{
		// Unique in account and region; the digest's head tells two bakes of one version apart.
		Name:               ptr(fmt.Sprintf("%s-%s-%s", p.image.Name, p.image.Version, p.registration[:12])),
		Description:        ptr(p.image.Name + " " + p.image.Version),
		Architecture:       types.ArchitectureValuesX8664,
		VirtualizationType: ptr("hvm"),
		RootDeviceName:     ptr(rootDevice),
		BootMode:           types.BootModeValuesUefi,
		TpmSupport:         types.TpmSupportValuesV20,
		ImdsSupport:        types.ImdsSupportValuesV20,
		EnaSupport:         ptr(true),
		BlockDeviceMappings: []types.BlockDeviceMapping{{
			DeviceName: ptr(rootDevice),
			Ebs:        &types.EbsBlockDevice{SnapshotId: &snapshot, VolumeType: types.VolumeTypeGp3, DeleteOnTermination: ptr(true)},
		}},
		TagSpecifications: []types.TagSpecification{{ResourceType: types.ResourceTypeImage, Tags: p.resourceTags()}},
	}
	if p.config.UEFIData != "" {
		input.UefiData = &p.config.UEFIData
	}
	return input
}

// existing looks at an AMI that another builder has made.
func (p *publication) existing(ctx context.Context) (types.Image, error) {
	found, err := p.clients.EC2.DescribeImages(ctx, &ec2.DescribeImagesInput{ImageIds: []string{p.image.Digest}})
	if err != nil {
		return types.Image{}, fmt.Errorf("cannot look at the image %s: %w", p.image.Digest, err)
	}
	if len(found.Images) != 1 || found.Images[0].RootDeviceName == nil {
		return types.Image{}, fmt.Errorf("cannot look at the image %s: the region does not know it", p.image.Digest)
	}
	image := found.Images[0]
	if image.TpmSupport != types.TpmSupportValuesV20 {
		p.log.Info(p.image.Digest + " has no TPM: its nodes cannot bind anything to one")
	}
	return image, nil
}
