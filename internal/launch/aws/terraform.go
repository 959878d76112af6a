package aws

import (
	"github.com/aws/aws-sdk-go-v2/service/ec2/types"

	"github.com/strongroom/strongroom/internal/launch"
)

// object is a JSON object of Terraform's.
type object = map[string]any

// terraform is the same launch template in the words of Terraform's provider hashicorp/aws, for those who do not let
// Packer write templates. The AMI is a variable: Terraform has no resource that uploads a disk.
func (p *publication) terraform(image types.Image) any {
	data := p.templateData(image)
	variable := object{"type": "string", "description": "Id of the AMI"}
	if p.image.File == "" {
		variable["default"] = *image.ImageId
	}
	tags := func(i int) object {
		all := object{}
		for _, t := range data.TagSpecifications[i].Tags {
			all[launch.TerraformText(*t.Key)] = launch.TerraformText(*t.Value)
		}
		return object{"resource_type": string(data.TagSpecifications[i].ResourceType), "tags": all}
	}
	ebs := object{"encrypted": "true", "volume_type": "gp3", "delete_on_termination": "true"}
	if p.config.KMSKey != "" {
		ebs["kms_key_id"] = launch.TerraformText(p.config.KMSKey)
	}
	if p.config.VolumeSize > 0 {
		ebs["volume_size"] = p.config.VolumeSize
	}
	template := object{
		"name":                                 p.request.Name,
		"image_id":                             "${data.aws_ami.node.id}",
		"update_default_version":               true,
		"ebs_optimized":                        "true",
		"instance_initiated_shutdown_behavior": string(data.InstanceInitiatedShutdownBehavior),
		"metadata_options": []object{{
			"http_endpoint": "enabled", "http_tokens": "required", "http_put_response_hop_limit": 1,
			"http_protocol_ipv6": "disabled", "instance_metadata_tags": "enabled",
		}},
		"monitoring":            []object{{"enabled": true}},
		"enclave_options":       []object{{"enabled": false}},
		"block_device_mappings": []object{{"device_name": "${data.aws_ami.node.root_device_name}", "ebs": []object{ebs}}},
		"network_interfaces": []object{{
			"device_index": 0, "associate_public_ip_address": "false", "delete_on_termination": "true", "security_groups": p.config.SecurityGroups,
		}},
		"tag_specifications": []object{tags(0), tags(1), tags(2)},
	}
	if p.config.InstanceType != "" {
		template["instance_type"] = launch.TerraformText(p.config.InstanceType)
	}
	if profile := data.IamInstanceProfile; profile != nil {
		if profile.Arn != nil {
			template["iam_instance_profile"] = []object{{"arn": launch.TerraformText(*profile.Arn)}}
		} else {
			template["iam_instance_profile"] = []object{{"name": launch.TerraformText(*profile.Name)}}
		}
	}
	if p.config.Dedicated {
		template["placement"] = []object{{"tenancy": "dedicated"}}
	}
	if data.UserData != nil {
		template["user_data"] = launch.Base64(p.request.NodeConfig)
	}
	if len(p.request.Tags) > 0 {
		own := object{}
		for key, value := range p.request.Tags {
			own[launch.TerraformText(key)] = launch.TerraformText(value)
		}
		template["tags"] = own
	}
	resources := object{"aws_launch_template": object{"node": template}}
	if p.config.Parameter != "" {
		resources["aws_ssm_parameter"] = object{"ami": object{
			"name": p.config.Parameter, "type": "String", "data_type": "aws:ec2:image", "value": "${data.aws_ami.node.id}",
		}}
	}
	return object{
		"terraform": object{"required_providers": object{"aws": object{"source": "hashicorp/aws", "version": ">= 5.0"}}},
		"provider":  object{"aws": object{"region": p.config.Region}},
		"variable":  object{"image_id": variable},
		"data": object{"aws_ami": object{"node": object{
			"owners": []string{"self"}, "filter": []object{{"name": "image-id", "values": []string{"${var.image_id}"}}},
		}}},
		"resource": resources,
	}
}
