package plugin_test

import (
	"encoding/json"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

var launchProviders = []string{"aws", "gcp", "azure"}

// documented are the arguments that the providers' own documentation has, of those that we could use: a resource's, then those
// of its blocks, as "resource.block".
var documented = map[string]string{
	"terraform":                                                 "required_providers",
	"provider.aws":                                              "region profile default_tags",
	"variable":                                                  "type description default",
	"data.aws_ami":                                              "owners most_recent executable_users include_deprecated filter name_regex",
	"data.aws_ami.filter":                                       "name values",
	"provider.azurerm":                                          "features subscription_id tenant_id",
	"provider.azurerm.features":                                 "",
	"azurerm_shared_image":                                      "name gallery_name resource_group_name location identifier os_type purchase_plan description disk_types_not_allowed end_of_life_date eula specialized architecture hyper_v_generation trusted_launch_supported trusted_launch_enabled accelerated_network_support_enabled tags",
	"azurerm_shared_image.identifier":                           "offer publisher sku",
	"azurerm_shared_image_version":                              "name gallery_name image_name location resource_group_name target_region blob_uri end_of_life_date exclude_from_latest managed_image_id os_disk_snapshot_id deletion_of_replicated_locations_enabled replication_mode storage_account_id tags",
	"azurerm_shared_image_version.target_region":                "name regional_replica_count disk_encryption_set_id exclude_from_latest_enabled storage_account_type",
	"provider.google":                                           "project region zone credentials",
	"google_compute_image":                                      "name description storage_locations disk_size_gb family guest_os_features image_encryption_key labels licenses raw_disk source_disk source_image source_snapshot project",
	"google_compute_image.guest_os_features":                    "type",
	"google_compute_image.image_encryption_key":                 "kms_key_self_link kms_key_service_account raw_key",
	"google_compute_image.raw_disk":                             "container_type sha1 source",
	"google_compute_instance_template":                          "name name_prefix disk machine_type can_ip_forward description instance_description labels metadata network_interface network_performance_config project region resource_policies scheduling service_account tags min_cpu_platform shielded_instance_config confidential_instance_config advanced_machine_features lifecycle",
	"google_compute_instance_template.lifecycle":                "create_before_destroy",
	"google_compute_instance_template.disk":                     "auto_delete boot device_name disk_name provisioned_iops source_image source_image_encryption_key source disk_type disk_size_gb labels type disk_encryption_key resource_policies",
	"google_compute_instance_template.disk.disk_encryption_key": "kms_key_self_link kms_key_service_account",
	"google_compute_instance_template.network_interface":        "network subnetwork subnetwork_project network_ip access_config alias_ip_range nic_type stack_type queue_count",
	"google_compute_instance_template.shielded_instance_config": "enable_secure_boot enable_vtpm enable_integrity_monitoring",
	"google_compute_instance_template.scheduling":               "automatic_restart on_host_maintenance preemptible provisioning_model min_node_cpus",
	"google_compute_instance_template.service_account":          "email scopes",
	"aws_ssm_parameter":                                         "name type allowed_pattern data_type description insecure_value key_id overwrite tags tier value",
	"aws_launch_template":                                       "block_device_mappings cpu_options default_version description disable_api_stop disable_api_termination ebs_optimized enclave_options hibernation_options iam_instance_profile image_id instance_initiated_shutdown_behavior instance_type key_name maintenance_options metadata_options monitoring name name_prefix network_interfaces placement private_dns_name_options tag_specifications tags update_default_version user_data vpc_security_group_ids",
	"aws_launch_template.block_device_mappings":                 "device_name ebs no_device virtual_name",
	"aws_launch_template.block_device_mappings.ebs":             "delete_on_termination encrypted iops kms_key_id snapshot_id throughput volume_size volume_initialization_rate volume_type",
	"aws_launch_template.enclave_options":                       "enabled",
	"aws_launch_template.monitoring":                            "enabled",
	"aws_launch_template.iam_instance_profile":                  "arn name",
	"aws_launch_template.metadata_options":                      "http_endpoint http_tokens http_put_response_hop_limit http_protocol_ipv6 instance_metadata_tags",
	"aws_launch_template.network_interfaces":                    "associate_carrier_ip_address associate_public_ip_address delete_on_termination description device_index interface_type network_card_index network_interface_id private_ip_address security_groups subnet_id",
	"aws_launch_template.placement":                             "affinity availability_zone group_name host_id host_resource_group_arn spread_domain tenancy partition_number",
	"aws_launch_template.tag_specifications":                    "resource_type tags",
}

// maps of names that the operator chooses.
var freeForm = []string{"tags", "labels", "metadata", "required_providers"}

// Terraform itself is not at hand: every argument of what a dry run writes is one that is documented.
func TestTerraformArguments(t *testing.T) {
	for _, provider := range launchProviders {
		text, err := os.ReadFile(filepath.Join("testdata", "launch-template", provider, "main.tf.json"))
		if err != nil {
			t.Fatal(err)
		}
		var file struct {
			Terraform map[string]any                       `json:"terraform"`
			Provider  map[string]map[string]any            `json:"provider"`
			Variable  map[string]map[string]any            `json:"variable"`
			Data      map[string]map[string]map[string]any `json:"data"`
			Resource  map[string]map[string]map[string]any `json:"resource"`
			Output    map[string]map[string]any            `json:"output"`
		}
		d := json.NewDecoder(strings.NewReader(string(text)))
		d.DisallowUnknownFields()
		if err := d.Decode(&file); err != nil {
			t.Fatal(err)
		}
		arguments(t, "terraform", file.Terraform)
		for name, block := range file.Provider {
			arguments(t, "provider."+name, block)
		}
		for _, block := range file.Variable {
			arguments(t, "variable", block)
		}
		for kind, blocks := range file.Data {
			for _, block := range blocks {
				arguments(t, "data."+kind, block)
			}
		}
		for kind, blocks := range file.Resource {
			for _, block := range blocks {
				arguments(t, kind, block)
			}
		}
		if len(file.Resource) == 0 {
			t.Error("no resource")
		}
	}
}

func arguments(t *testing.T, path string, block map[string]any) {
	t.Helper()
	known, ok := documented[path]
	if !ok {
		t.Errorf("nothing is known of %s", path)
		return
	}
	for name, value := range block {
		if !slices.Contains(strings.Fields(known), name) {
			t.Errorf("%s has no argument %s", path, name)
		}
		if slices.Contains(freeForm, name) {
			continue
		}
		switch v := value.(type) {
		case map[string]any:
			arguments(t, path+"."+name, v)
		case []any:
			for _, item := range v {
				if inner, ok := item.(map[string]any); ok {
					arguments(t, path+"."+name, inner)
				}
			}
		}
	}
}
