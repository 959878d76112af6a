package gcp

import (
	"google.golang.org/api/compute/v1"

	"github.com/strongroom/strongroom/internal/launch"
)

// object is a JSON object of Terraform's.
type object = map[string]any

func texts(m map[string]string) object {
	out := object{}
	for key, value := range m {
		out[launch.TerraformText(key)] = launch.TerraformText(value)
	}
	return out
}

// terraform is image and instance template in the words of Terraform's provider hashicorp/google. Where the disk lies is a
// variable: it is to be uploaded first.
func (p *publication) terraform(template *compute.InstanceTemplate) any {
	image := object{
		"name": p.imageName(), "family": plain(p.image.Name), "description": describe("image", p.image.Digest), "labels": texts(p.labels()),
		"raw_disk":          []object{{"source": "${var.disk_url}", "container_type": "TAR"}},
		"guest_os_features": []object{{"type": "UEFI_COMPATIBLE"}, {"type": "GVNIC"}},
	}
	disk := object{
		"source_image": "${google_compute_image.node.self_link}", "boot": true, "auto_delete": true, "disk_type": "pd-balanced", "labels": texts(p.labels()),
	}
	if p.config.DiskSize > 0 {
		disk["disk_size_gb"] = p.config.DiskSize
	}
	if p.config.KMSKey != "" {
		image["image_encryption_key"] = []object{{"kms_key_self_link": p.config.KMSKey}}
		disk["disk_encryption_key"] = []object{{"kms_key_self_link": p.config.KMSKey}}
	}
	if p.config.StorageLocation != "" {
		image["storage_locations"] = []string{launch.TerraformText(p.config.StorageLocation)}
	}
	metadata := object{}
	for _, item := range template.Properties.Metadata.Items {
		metadata[item.Key] = launch.TerraformText(*item.Value)
	}
	nic := object{"nic_type": "GVNIC"}
	if p.config.Network != "" {
		nic["network"] = p.config.Network
	} else {
		nic["subnetwork"] = p.config.Subnetwork
	}
	made := object{
		"name_prefix": p.request.Name + "-", "machine_type": p.config.MachineType, "labels": texts(p.labels()), "metadata": metadata,
		"disk": []object{disk}, "network_interface": []object{nic},
		"shielded_instance_config": []object{{"enable_secure_boot": p.config.SecureBoot, "enable_vtpm": true, "enable_integrity_monitoring": true}},
		"scheduling":               []object{{"automatic_restart": true, "on_host_maintenance": "MIGRATE"}},
		"lifecycle":                object{"create_before_destroy": true}, // a template never changes
	}
	if len(p.config.NetworkTags) > 0 {
		made["tags"] = template.Properties.Tags.Items
	}
	if p.config.ServiceAccount != "" {
		made["service_account"] = []object{{"email": launch.TerraformText(p.config.ServiceAccount), "scopes": []string{"cloud-platform"}}}
	}
	return object{
		"terraform": object{"required_providers": object{"google": object{"source": "hashicorp/google", "version": ">= 5.0"}}},
		"provider":  object{"google": object{"project": p.config.Project}},
		"variable":  object{"disk_url": object{"type": "string", "description": "Where the uploaded disk.raw.tar.gz lies: https://storage.googleapis.com/BUCKET/OBJECT"}},
		"resource": object{
			"google_compute_image":             object{"node": image},
			"google_compute_instance_template": object{"node": made},
		},
	}
}
