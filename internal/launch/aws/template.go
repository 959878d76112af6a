package aws

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"

	"github.com/aws/aws-sdk-go-v2/service/ec2"
	"github.com/aws/aws-sdk-go-v2/service/ec2/types"
	"github.com/aws/smithy-go"

	"github.com/strongroom/strongroom/internal/launch"
)

// noTemplate is EC2's answer for a name that no template has.
const noTemplate = "InvalidLaunchTemplateName.NotFoundException"

// marshal is a value as JSON without what is not set.
func marshal(v any) ([]byte, error) {
	tree, err := launch.Pruned(v)
	if err != nil {
		return nil, err
	}
	return json.Marshal(tree)
}

func tagList(tags map[string]string) []types.Tag {
	var list []types.Tag
	for _, key := range slices.Sorted(maps.Keys(tags)) {
		list = append(list, types.Tag{Key: ptr(key), Value: ptr(tags[key])})
	}
	return list
}

// resourceTags are those of snapshot and AMI.
func (p *publication) resourceTags() []types.Tag {
	tags := p.request.AllTags()
	tags["Name"] = p.image.Name + " " + p.image.Version
	tags[tagRegistration] = p.registration
	return tagList(tags)
}

// templateData says how an instance starts.
func (p *publication) templateData(image types.Image) *types.RequestLaunchTemplateData {
	tags := p.request.AllTags()
	if _, given := tags["Name"]; !given {
		tags["Name"] = p.request.Name
	}
	root := &types.LaunchTemplateEbsBlockDeviceRequest{Encrypted: ptr(true), VolumeType: types.VolumeTypeGp3, DeleteOnTermination: ptr(true)}
	if p.config.KMSKey != "" {
		root.KmsKeyId = &p.config.KMSKey
	}
	if p.config.VolumeSize > 0 {
		root.VolumeSize = &p.config.VolumeSize
	}
	data := &types.RequestLaunchTemplateData{
		ImageId:      image.ImageId,
		InstanceType: types.InstanceType(p.config.InstanceType),
		EbsOptimized: ptr(true),
		// A machine without a key: nobody logs in. No KeyName.
		MetadataOptions: &types.LaunchTemplateInstanceMetadataOptionsRequest{
			HttpEndpoint: types.LaunchTemplateInstanceMetadataEndpointStateEnabled, HttpTokens: types.LaunchTemplateHttpTokensStateRequired,
			HttpPutResponseHopLimit: ptr(int32(1)), HttpProtocolIpv6: types.LaunchTemplateInstanceMetadataProtocolIpv6Disabled,
			InstanceMetadataTags: types.LaunchTemplateInstanceMetadataTagsStateEnabled,
		},
		Monitoring: &types.LaunchTemplatesMonitoringRequest{Enabled: ptr(true)},
		// The server's data, audit and var are partitions of the root disk (systemd-repart): one volume.
		BlockDeviceMappings: []types.LaunchTemplateBlockDeviceMappingRequest{{DeviceName: image.RootDeviceName, Ebs: root}},
		NetworkInterfaces: []types.LaunchTemplateInstanceNetworkInterfaceSpecificationRequest{{
			DeviceIndex: ptr(int32(0)), AssociatePublicIpAddress: ptr(false), DeleteOnTermination: ptr(true), Groups: p.config.SecurityGroups,
		}},
		EnclaveOptions: &types.LaunchTemplateEnclaveOptionsRequest{Enabled: ptr(false)},
		// A node that was switched off keeps its disk until somebody decides: it steps down, and may come back.
		InstanceInitiatedShutdownBehavior: types.ShutdownBehaviorStop,
	}
	if p.config.InstanceProfile != "" {
		data.IamInstanceProfile = &types.LaunchTemplateIamInstanceProfileSpecificationRequest{Name: &p.config.InstanceProfile}
		if strings.HasPrefix(p.config.InstanceProfile, "arn:") {
			data.IamInstanceProfile = &types.LaunchTemplateIamInstanceProfileSpecificationRequest{Arn: &p.config.InstanceProfile}
		}
	}
	if p.config.Dedicated {
		data.Placement = &types.LaunchTemplatePlacementRequest{Tenancy: types.TenancyDedicated}
	}
	if len(p.request.NodeConfig) > 0 {
		data.UserData = ptr(launch.Base64(p.request.NodeConfig))
	}
	for _, resource := range []types.ResourceType{types.ResourceTypeInstance, types.ResourceTypeVolume, types.ResourceTypeNetworkInterface} {
		data.TagSpecifications = append(data.TagSpecifications, types.LaunchTemplateTagSpecificationRequest{ResourceType: resource, Tags: tagList(tags)})
	}
	return data
}

// template is a launch template as this run leaves it.
type template struct {
	id      string
	version int64
}

func (t template) String() string { return t.id + ":" + strconv.FormatInt(t.version, 10) }

// launchTemplate makes a version of the launch template the default one. A version never changes, so its description,
// which has a digest of what it says, tells whether the latest is what is wanted.
func (p *publication) launchTemplate(ctx context.Context, image types.Image) (template, error) {
	data := p.templateData(image)
	text, err := marshal(data)
	if err != nil {
		return template{}, err
	}
	sum := sha256.Sum256(text)
	description := "strongroom " + hex.EncodeToString(sum[:])

	there, err := p.clients.EC2.DescribeLaunchTemplateVersions(ctx, &ec2.DescribeLaunchTemplateVersionsInput{
		LaunchTemplateName: &p.request.Name, Versions: []string{"$Latest", "$Default"},
	})
	var api smithy.APIError
	if errors.As(err, &api) && api.ErrorCode() == noTemplate {
		return p.createTemplate(ctx, data, description)
	}
	if err != nil {
		return template{}, fmt.Errorf("cannot look for the launch template: %w", err)
	}
	var latest, standard types.LaunchTemplateVersion
	for _, v := range there.LaunchTemplateVersions {
		if latest.VersionNumber == nil || *v.VersionNumber > *latest.VersionNumber {
			latest = v
		}
		if v.DefaultVersion != nil && *v.DefaultVersion {
			standard = v
		}
	}
	if latest.VersionNumber == nil || latest.LaunchTemplateId == nil {
		return template{}, fmt.Errorf("cannot look for the launch template: %s has no version", p.request.Name)
	}
	t := template{*latest.LaunchTemplateId, *latest.VersionNumber}
	if latest.VersionDescription == nil || *latest.VersionDescription != description || latest.LaunchTemplateData == nil || *latest.LaunchTemplateData.ImageId != *image.ImageId {
		if t, err = p.addVersion(ctx, t.id, data, description); err != nil {
			return template{}, err
		}
	} else if standard.VersionNumber != nil && *standard.VersionNumber == t.version {
		return t, nil
	}
	p.log.Info("Making " + t.String() + " the default version...")
	_, err = p.clients.EC2.ModifyLaunchTemplate(ctx, &ec2.ModifyLaunchTemplateInput{LaunchTemplateId: &t.id, DefaultVersion: ptr(strconv.FormatInt(t.version, 10))})
	if err != nil {
		return template{}, fmt.Errorf("cannot make %s the default version: %w", t, err)
	}
	p.changed = true
	p.undo.Keep()
	return t, nil
}

func (p *publication) createTemplate(ctx context.Context, data *types.RequestLaunchTemplateData, description string) (template, error) {
	p.log.Info("Creating the launch template " + p.request.Name + "...")
	input := &ec2.CreateLaunchTemplateInput{LaunchTemplateName: &p.request.Name, LaunchTemplateData: data, VersionDescription: &description}
	if len(p.request.Tags) > 0 {
		input.TagSpecifications = []types.TagSpecification{{ResourceType: types.ResourceTypeLaunchTemplate, Tags: tagList(p.request.Tags)}}
	}
	made, err := p.clients.EC2.CreateLaunchTemplate(ctx, input)
	if err != nil {
		return template{}, fmt.Errorf("cannot create the launch template: %w", err)
	}
	p.warn(made.Warning)
	t := template{*made.LaunchTemplate.LaunchTemplateId, 1}
	p.undo.Made("launch template "+t.id, p.command("delete-launch-template --launch-template-id "+t.id), nil)
	p.changed = true
	p.undo.Keep() // its first version is the default one from this moment
	return t, nil
}

func (p *publication) addVersion(ctx context.Context, id string, data *types.RequestLaunchTemplateData, description string) (template, error) {
	p.log.Info("Adding a version to the launch template " + p.request.Name + "...")
	made, err := p.clients.EC2.CreateLaunchTemplateVersion(ctx, &ec2.CreateLaunchTemplateVersionInput{
		LaunchTemplateId: &id, LaunchTemplateData: data, VersionDescription: &description,
	})
	if err != nil {
		return template{}, fmt.Errorf("cannot add a version to the launch template: %w", err)
	}
	p.warn(made.Warning)
	p.changed = true
	t := template{id, *made.LaunchTemplateVersion.VersionNumber}
	number := strconv.FormatInt(t.version, 10)
	p.undo.Made("version "+number+" of launch template "+id,
		p.command("delete-launch-template-versions --launch-template-id "+id+" --versions "+number), func(ctx context.Context) error {
			gone, err := p.clients.EC2.DeleteLaunchTemplateVersions(ctx, &ec2.DeleteLaunchTemplateVersionsInput{LaunchTemplateId: &id, Versions: []string{number}})
			if err != nil {
				return err
			}
			if failed := gone.UnsuccessfullyDeletedLaunchTemplateVersions; len(failed) > 0 {
				if failed[0].ResponseError != nil && failed[0].ResponseError.Message != nil {
					return errors.New(*failed[0].ResponseError.Message)
				}
				return errors.New("AWS does not say why")
			}
			return nil
		})
	return t, nil
}

// warn shows what EC2 found odd about a template that it took.
func (p *publication) warn(w *types.ValidationWarning) {
	if w == nil {
		return
	}
	for _, e := range w.Errors {
		if e.Message != nil {
			p.log.Warn("EC2 warns: " + *e.Message)
		}
	}
}
