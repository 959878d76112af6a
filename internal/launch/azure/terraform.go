package azure

import "github.com/strongroom/strongroom/internal/launch"

// object is a JSON object of Terraform's.
type object = map[string]any

func texts(m map[string]string) object {
	out := object{}
	for key, value := range m {
		out[launch.TerraformText(key)] = launch.TerraformText(value)
	}
	return out
}

// terraform is definition and version in the words of Terraform's provider hashicorp/azurerm. A snapshot of the disk is a variable: the
// disk is to be uploaded first. The scale set is not there: azurerm_linux_virtual_machine_scale_set asks for an administrator, and a specialized
// image has none.
func (p *publication) terraform() any {
	c := p.config
	return object{
		"terraform": object{"required_providers": object{"azurerm": object{"source": "hashicorp/azurerm", "version": ">= 4.0"}}},
		"provider":  object{"azurerm": object{"subscription_id": c.Subscription, "features": object{}}},
		"variable":  object{"snapshot_id": object{"type": "string", "description": "Id of a snapshot of the disk that the VHD was uploaded to"}},
		"resource": object{
			"azurerm_shared_image": object{"node": object{
				"name": c.Definition, "gallery_name": c.Gallery, "resource_group_name": c.ResourceGroup, "location": c.Location, "os_type": "Linux",
				"hyper_v_generation": "V2", "architecture": "x64", "specialized": true, "trusted_launch_supported": true, "tags": texts(p.request.Tags),
				"identifier": []object{{"publisher": "strongroom", "offer": c.Definition, "sku": "node"}},
			}},
			"azurerm_shared_image_version": object{"node": object{
				"name": c.Version, "gallery_name": c.Gallery, "image_name": "${azurerm_shared_image.node.name}", "resource_group_name": c.ResourceGroup, "location": c.Location,
				"os_disk_snapshot_id": "${var.snapshot_id}", "tags": texts(p.request.AllTags()),
				"target_region": []object{{"name": c.Location, "regional_replica_count": 1}},
			}},
		},
	}
}
