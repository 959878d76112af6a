package awstest

import (
	"cmp"
	"encoding/base64"
	"fmt"
	"maps"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"

	"github.com/aws/aws-sdk-go-v2/service/ec2"
	"github.com/aws/aws-sdk-go-v2/service/ec2/types"
)

func (s *Server) ec2(action string, form url.Values) (string, error) {
	serve, ok := map[string]func(url.Values) (string, error){
		"DescribeSnapshots": s.describeSnapshots, "DeleteSnapshot": s.deleteSnapshot,
		"DescribeImages": s.describeImages, "RegisterImage": s.registerImage, "DeregisterImage": s.deregisterImage,
		"DescribeLaunchTemplateVersions": s.describeVersions, "CreateLaunchTemplate": s.createTemplate,
		"CreateLaunchTemplateVersion": s.createVersion, "ModifyLaunchTemplate": s.modifyTemplate, "DeleteLaunchTemplateVersions": s.deleteVersions,
	}[action]
	if !ok {
		return "", wrong("EC2 has no action %q here", action)
	}
	return serve(form)
}

// matches judges filters by tag; of the others it knows that what lies here is available.
func matches(filters []types.Filter, tags map[string]string) (bool, error) {
	for _, f := range filters {
		key, ok := strings.CutPrefix(*f.Name, "tag:")
		switch {
		case ok && !slices.Contains(f.Values, tags[key]):
			return false, nil
		case !ok && *f.Name != "state" && *f.Name != "status":
			return false, wrong("there is no filter %q", *f.Name)
		}
	}
	return true, nil
}

func (s *Server) describeSnapshots(form url.Values) (string, error) {
	var in ec2.DescribeSnapshotsInput
	if err := decode(form, &in); err != nil {
		return "", err
	}
	var out strings.Builder
	for _, id := range slices.Sorted(maps.Keys(s.Snapshots)) {
		snapshot := s.Snapshots[id]
		tags := map[string]string{}
		for _, t := range snapshot.Input.Tags {
			tags[*t.Key] = *t.Value
		}
		match, err := matches(in.Filters, tags)
		if err != nil {
			return "", err
		}
		if !match || len(in.SnapshotIds) > 0 && !slices.Contains(in.SnapshotIds, id) || len(in.Filters) > 0 && !snapshot.Complete {
			continue
		}
		state := "completed"
		if s.Slow && !snapshot.asked {
			state = "pending"
		}
		snapshot.asked = true
		fmt.Fprintf(&out, "<item><snapshotId>%s</snapshotId><status>%s</status></item>", id, state)
	}
	return "<snapshotSet>" + out.String() + "</snapshotSet>", nil
}

func (s *Server) deleteSnapshot(form url.Values) (string, error) {
	var in ec2.DeleteSnapshotInput
	if err := decode(form, &in); err != nil {
		return "", err
	}
	for id, image := range s.Images {
		for _, m := range image.BlockDeviceMappings {
			if *m.Ebs.SnapshotId == *in.SnapshotId {
				return "", refusal{http.StatusBadRequest, "InvalidSnapshot.InUse", "is in use by " + id}
			}
		}
	}
	if _, ok := s.Snapshots[*in.SnapshotId]; !ok {
		return "", refusal{http.StatusBadRequest, "InvalidSnapshot.NotFound", *in.SnapshotId}
	}
	delete(s.Snapshots, *in.SnapshotId)
	return "<return>true</return>", nil
}

func (s *Server) describeImages(form url.Values) (string, error) {
	var in ec2.DescribeImagesInput
	if err := decode(form, &in); err != nil {
		return "", err
	}
	var out strings.Builder
	for _, id := range slices.Sorted(maps.Keys(s.Images)) {
		image := s.Images[id]
		tags := map[string]string{}
		for _, spec := range image.TagSpecifications {
			for _, t := range spec.Tags {
				tags[*t.Key] = *t.Value
			}
		}
		match, err := matches(in.Filters, tags)
		if err != nil {
			return "", err
		}
		if match && (len(in.ImageIds) == 0 || slices.Contains(in.ImageIds, id)) {
			fmt.Fprintf(&out, "<item><imageId>%s</imageId><imageState>available</imageState><rootDeviceName>%s</rootDeviceName><bootMode>%s</bootMode><tpmSupport>%s</tpmSupport></item>",
				id, *image.RootDeviceName, image.BootMode, image.TpmSupport)
		}
	}
	return "<imagesSet>" + out.String() + "</imagesSet>", nil
}

func (s *Server) registerImage(form url.Values) (string, error) {
	in := new(ec2.RegisterImageInput)
	if err := decode(form, in); err != nil {
		return "", err
	}
	for id, image := range s.Images {
		if image.Name != nil && *image.Name == *in.Name {
			return "", refusal{http.StatusBadRequest, "InvalidAMIName.Duplicate", "is in use by " + id}
		}
	}
	if len(in.BlockDeviceMappings) != 1 || *in.BlockDeviceMappings[0].DeviceName != *in.RootDeviceName {
		return "", wrong("an image without its root device")
	}
	if snapshot := s.Snapshots[*in.BlockDeviceMappings[0].Ebs.SnapshotId]; snapshot == nil || !snapshot.Complete || !snapshot.asked {
		return "", refusal{http.StatusBadRequest, "InvalidSnapshot.NotFound", "is not completed"}
	}
	if in.TpmSupport != "" && in.BootMode != types.BootModeValuesUefi {
		return "", wrong("a TPM without UEFI")
	}
	id := s.id("ami")
	s.Images[id] = in
	return "<imageId>" + id + "</imageId>", nil
}

func (s *Server) deregisterImage(form url.Values) (string, error) {
	var in ec2.DeregisterImageInput
	if err := decode(form, &in); err != nil {
		return "", err
	}
	if _, ok := s.Images[*in.ImageId]; !ok {
		return "", refusal{http.StatusBadRequest, "InvalidAMIID.NotFound", *in.ImageId}
	}
	delete(s.Images, *in.ImageId)
	return "<return>true</return>", nil
}

// template finds one by id or name.
func (s *Server) template(id, name *string) (string, *Template, error) {
	for found, t := range s.Templates {
		if id != nil && *id == found || name != nil && *name == t.Name {
			return found, t, nil
		}
	}
	return "", nil, refusal{http.StatusBadRequest, "InvalidLaunchTemplateName.NotFoundException", "there is none"}
}

// checkData is the little that EC2 itself is known to say about a template.
func (s *Server) checkData(data *types.RequestLaunchTemplateData) error {
	if data == nil {
		return wrong("a template without data")
	}
	if _, ok := s.Images[*data.ImageId]; !ok {
		return wrong("a template of %s, which is no image", *data.ImageId)
	}
	if len(data.NetworkInterfaces) > 0 && (len(data.SecurityGroupIds) > 0 || len(data.SecurityGroups) > 0) {
		return wrong("security groups in two places")
	}
	if data.UserData != nil {
		if text, err := base64.StdEncoding.DecodeString(*data.UserData); err != nil || len(text) > 16<<10 {
			return wrong("user data of %d bytes: %v", len(text), err)
		}
	}
	return nil
}

func (s *Server) describeVersions(form url.Values) (string, error) {
	var in ec2.DescribeLaunchTemplateVersionsInput
	if err := decode(form, &in); err != nil {
		return "", err
	}
	id, t, err := s.template(in.LaunchTemplateId, in.LaunchTemplateName)
	if err != nil {
		return "", err
	}
	wanted := map[int64]bool{}
	for _, v := range in.Versions {
		switch n, err := strconv.ParseInt(v, 10, 64); {
		case v == "$Latest":
			wanted[t.latest()] = true
		case v == "$Default":
			wanted[t.Default] = true
		case err == nil:
			wanted[n] = true
		default:
			return "", wrong("there is no version %q", v)
		}
	}
	var out strings.Builder
	for _, n := range slices.Sorted(maps.Keys(wanted)) {
		v := t.Versions[n]
		if v == nil {
			continue
		}
		fmt.Fprintf(&out, "<item><launchTemplateId>%s</launchTemplateId><launchTemplateName>%s</launchTemplateName><versionNumber>%d</versionNumber>"+
			"<defaultVersion>%t</defaultVersion><versionDescription>%s</versionDescription><launchTemplateData><imageId>%s</imageId></launchTemplateData></item>",
			id, t.Name, n, n == t.Default, *cmp.Or(v.VersionDescription, ptr("")), *v.LaunchTemplateData.ImageId)
	}
	return "<launchTemplateVersionSet>" + out.String() + "</launchTemplateVersionSet>", nil
}

func (t *Template) latest() int64 {
	latest := int64(0)
	for n, v := range t.Versions {
		if v != nil {
			latest = max(latest, n)
		}
	}
	return latest
}

func (s *Server) createTemplate(form url.Values) (string, error) {
	var in ec2.CreateLaunchTemplateInput
	if err := decode(form, &in); err != nil {
		return "", err
	}
	if _, _, err := s.template(nil, in.LaunchTemplateName); err == nil {
		return "", refusal{http.StatusBadRequest, "InvalidLaunchTemplateName.AlreadyExistsException", "there is one"}
	}
	if err := s.checkData(in.LaunchTemplateData); err != nil {
		return "", err
	}
	for _, spec := range in.TagSpecifications {
		if len(spec.Tags) == 0 {
			return "", wrong("a tag specification without tags")
		}
	}
	id := s.id("lt")
	s.Templates[id] = &Template{*in.LaunchTemplateName, map[int64]*ec2.CreateLaunchTemplateVersionInput{
		1: {LaunchTemplateData: in.LaunchTemplateData, VersionDescription: in.VersionDescription},
	}, 1}
	return fmt.Sprintf("<launchTemplate><launchTemplateId>%s</launchTemplateId><defaultVersionNumber>1</defaultVersionNumber><latestVersionNumber>1</latestVersionNumber></launchTemplate>", id), nil
}

func (s *Server) createVersion(form url.Values) (string, error) {
	in := new(ec2.CreateLaunchTemplateVersionInput)
	if err := decode(form, in); err != nil {
		return "", err
	}
	id, t, err := s.template(in.LaunchTemplateId, in.LaunchTemplateName)
	if err != nil {
		return "", err
	}
	if err := s.checkData(in.LaunchTemplateData); err != nil {
		return "", err
	}
	n := int64(len(t.Versions) + 1) // numbers are not used again
	t.Versions[n] = in
	return fmt.Sprintf("<launchTemplateVersion><launchTemplateId>%s</launchTemplateId><versionNumber>%d</versionNumber></launchTemplateVersion>", id, n), nil
}

func (s *Server) modifyTemplate(form url.Values) (string, error) {
	var in ec2.ModifyLaunchTemplateInput
	if err := decode(form, &in); err != nil {
		return "", err
	}
	id, t, err := s.template(in.LaunchTemplateId, in.LaunchTemplateName)
	if err != nil {
		return "", err
	}
	n, err := strconv.ParseInt(*in.DefaultVersion, 10, 64)
	if err != nil || t.Versions[n] == nil {
		return "", wrong("there is no version %q", *in.DefaultVersion)
	}
	t.Default = n
	return "<launchTemplate><launchTemplateId>" + id + "</launchTemplateId></launchTemplate>", nil
}

func (s *Server) deleteVersions(form url.Values) (string, error) {
	var in ec2.DeleteLaunchTemplateVersionsInput
	if err := decode(form, &in); err != nil {
		return "", err
	}
	_, t, err := s.template(in.LaunchTemplateId, in.LaunchTemplateName)
	if err != nil {
		return "", err
	}
	var failed string
	for _, v := range in.Versions {
		n, err := strconv.ParseInt(v, 10, 64)
		if err != nil || t.Versions[n] == nil || n == t.Default {
			failed += "<item><responseError><code>unexpectedError</code><message>version " + v + " is the default one</message></responseError></item>"
			continue
		}
		t.Versions[n] = nil
	}
	return "<unsuccessfullyDeletedLaunchTemplateVersionSet>" + failed + "</unsuccessfullyDeletedLaunchTemplateVersionSet>", nil
}
