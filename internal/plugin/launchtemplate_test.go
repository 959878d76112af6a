package plugin_test

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/json"
	"flag"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	packersdk "github.com/hashicorp/packer-plugin-sdk/packer"

	"github.com/strongroom/strongroom/internal/launch/awstest"
	"github.com/strongroom/strongroom/internal/plugin"
)

var update = flag.Bool("update", false, "write testdata/launch-template")

// baked is the artifact of a bake: small disks in the formats of the three clouds, and their manifest.
func baked(t *testing.T) *packersdk.MockArtifact {
	t.Helper()
	dir := t.TempDir()
	a := &packersdk.MockArtifact{BuilderIdValue: plugin.BuilderID, IdValue: "sha256:0", StateValues: map[string]any{
		"generated_data": map[any]any{"ImageVersion": "1.4.0"}, // as it comes over the wire
	}}
	disk := make([]byte, 3<<20)
	copy(disk[600<<10:], "data")
	contents := map[string][]byte{"raw": disk, "raw.tar.gz": []byte("tar"), "vhd": append(slices.Clone(disk), append([]byte("conectix"), make([]byte, 504)...)...)}
	var files []map[string]any
	for _, format := range []string{"raw", "raw.tar.gz", "vhd"} {
		name := "disk." + format
		path := filepath.Join(dir, name)
		if err := os.WriteFile(path, contents[format], 0o644); err != nil {
			t.Fatal(err)
		}
		a.FilesValue = append(a.FilesValue, path)
		files = append(files, map[string]any{
			"name": name, "format": format, "size": len(contents[format]), "virtual_size": len(disk), "sha256": fmt.Sprintf("%x", sha256.Sum256(contents[format])),
		})
	}
	text, err := json.Marshal(map[string]any{
		"schema": "strongroom.image/v1", "name": "strongroom-vault", "version": "1.4.0", "profile": "vault/cloud", "root_hash": strings.Repeat("12", 32),
		"parameters": map[string]string{"memory_lock": "off", "cluster_port": "8201"}, "files": files,
	})
	if err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(dir, "manifest.json")
	if err := os.WriteFile(path, text, 0o644); err != nil {
		t.Fatal(err)
	}
	a.FilesValue = append(a.FilesValue, path)
	return a
}

const launchNodeConfig = `cluster { name = "prod" }
api_addr     = "https://{{ GetPrivateIP }}:8200"
cluster_addr = "https://{{ GetPrivateIP }}:8201"
join { srv = "_vault._tcp.example.net" }
firewall {
  api_clients    = ["10.0.0.0/8"]
  cluster_peers  = ["10.1.0.0/16"]
  monitoring     = []
  load_balancers = []
  egress         = []
}
`

// launchConfig is a whole configuration for a provider.
func launchConfig(t *testing.T, provider string) map[string]any {
	t.Helper()
	path := filepath.Join(t.TempDir(), "node.hcl")
	if err := os.WriteFile(path, []byte(launchNodeConfig), 0o644); err != nil {
		t.Fatal(err)
	}
	block := map[string]map[string]any{
		"aws": {
			"region": "eu-central-1", "security_group_ids": []string{"sg-0123456789abcdef0"}, "instance_type": "m7i.large", "instance_profile": "vault",
			"kms_key_id": "arn:aws:kms:eu-central-1:111122223333:key/1234", "volume_size": 20, "ssm_parameter": "/strongroom/vault/ami",
		},
		"gcp": {
			"project": "my-project", "bucket": "my-bucket", "machine_type": "n2-standard-2", "subnetwork": "projects/my-project/regions/europe-west3/subnetworks/vault",
			"network_tags": []string{"vault"}, "service_account": "vault@my-project.iam.gserviceaccount.com", "storage_location": "europe-west3", "disk_size": 20,
			"kms_key": "projects/my-project/locations/europe-west3/keyRings/r/cryptoKeys/k",
		},
		"azure": {
			"subscription_id": "00000000-0000-0000-0000-000000000001", "resource_group": "vault", "location": "germanywestcentral", "gallery": "images",
			"image_definition": "strongroom-vault", "vm_size": "Standard_D2s_v5", "disk_size": 20,
			"subnet_id":                 "/subscriptions/s/resourceGroups/net/providers/Microsoft.Network/virtualNetworks/v/subnets/s",
			"network_security_group_id": "/subscriptions/s/resourceGroups/net/providers/Microsoft.Network/networkSecurityGroups/g",
		},
	}[provider]
	return map[string]any{
		"packer_build_name": "node", "name": "vault", "node_config": path, "tags": map[string]string{"team": "security"}, provider: block,
	}
}

// A dry run of each provider: every input and Terraform's JSON, byte for byte.
func TestLaunchTemplateDryRun(t *testing.T) {
	for _, provider := range launchProviders {
		t.Run(provider, func(t *testing.T) {
			source := baked(t)
			var p plugin.LaunchTemplate
			for range 2 { // Packer configures more than once
				if err := p.Configure(launchConfig(t, provider)); err != nil {
					t.Fatal(err)
				}
			}
			var last packersdk.Artifact
			for range 2 { // the second run replaces the files of the first
				ui := packersdk.TestUi(t)
				made, keep, force, err := p.PostProcess(t.Context(), ui, source)
				if err != nil || !keep || !force {
					t.Fatalf("got %v, keep %t, force %t", err, keep, force)
				}
				if last != nil && last.Id() != made.Id() {
					t.Errorf("the second run is another: %s", made.Id())
				}
				last = made
			}
			golden := filepath.Join("testdata", "launch-template", provider)
			if *update {
				if err := os.RemoveAll(golden); err != nil {
					t.Fatal(err)
				}
				if err := os.MkdirAll(golden, 0o755); err != nil {
					t.Fatal(err)
				}
			}
			var names []string
			for _, path := range last.Files() {
				names = append(names, filepath.Base(path))
				got, err := os.ReadFile(path)
				if err != nil {
					t.Fatal(err)
				}
				if filepath.Dir(path) != filepath.Join(filepath.Dir(source.FilesValue[0]), "launch-template-"+provider) {
					t.Errorf("%s is not beside the image", path)
				}
				if *update {
					if err := os.WriteFile(filepath.Join(golden, filepath.Base(path)), got, 0o644); err != nil {
						t.Fatal(err)
					}
				}
				want, err := os.ReadFile(filepath.Join(golden, filepath.Base(path)))
				if err != nil || !bytes.Equal(got, want) {
					t.Errorf("%s is not the golden file (go test ./internal/plugin -run DryRun -update): %v\n%s", filepath.Base(path), err, got)
				}
			}
			entries, err := os.ReadDir(golden)
			if err != nil || len(entries) != len(names) {
				t.Errorf("wrote %v; there are %d golden files, %v", names, len(entries), err)
			}
			if last.BuilderId() != plugin.LaunchTemplateID || !strings.HasPrefix(last.Id(), "sha256:") || last.State("dry_run") != true ||
				fmt.Sprint(last.State("generated_data")) != "map[ImageVersion:1.4.0]" {
				t.Errorf("the artifact is %s %s %v", last.BuilderId(), last.Id(), last.State("generated_data"))
			}
			if err := last.Destroy(); err != nil {
				t.Error(err)
			}
			if _, err := os.Stat(filepath.Dir(last.Files()[0])); err == nil {
				t.Error("the files of the dry run are still there")
			}
			if _, err := os.Stat(source.FilesValue[0]); err != nil {
				t.Error("and the image is not")
			}
		})
	}
}

func TestLaunchTemplateConfigure(t *testing.T) {
	aws := map[string]any{"region": "eu-central-1", "security_group_ids": []string{"sg-01234567"}}
	tests := map[string]struct {
		config map[string]any
		says   []string // nothing: it is right
	}{
		"least":     {map[string]any{"aws": aws}, nil},
		"undecided": {map[string]any{"aws": map[string]any{"region": "<unknown>", "security_group_ids": []string{"<unknown>"}}}, nil},
		"nothing":   {map[string]any{}, []string{"exactly one of the blocks aws, gcp and azure"}},
		"values": {map[string]any{"name": "a b", "aws": map[string]any{"region": "x", "kms_key_id": "alias/x"}, "tags": map[string]string{"a b": "c"}},
			[]string{"name: ", "aws.region: ", "aws.security_group_ids: ", "aws.kms_key_id: ", "tags: "}},
		"two": {map[string]any{"aws": aws, "gcp": map[string]any{}}, []string{"exactly one of the blocks"}},
		"gcp": {map[string]any{"name": "A", "gcp": map[string]any{"project": "P"}}, []string{"name: ", "gcp.project: ", "gcp.bucket: ", "gcp.machine_type: ", "gcp.network, gcp.subnetwork: "}},
		"azure": {map[string]any{"name": "/", "azure": map[string]any{"location": "x y"}},
			[]string{"name: ", "azure.subscription_id: ", "azure.resource_group: ", "azure.location: ", "azure.gallery: ", "azure.image_definition: ", "azure.vm_size: ", "azure.subnet_id: "}},
		"typo": {map[string]any{"aws": aws, "colour": "red"}, []string{"colour"}},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			var p plugin.LaunchTemplate
			for range 2 {
				err := p.Configure(tt.config)
				if (err == nil) != (tt.says == nil) {
					t.Fatalf("got %v", err)
				}
				for _, s := range tt.says {
					if !strings.Contains(err.Error(), s) {
						t.Errorf("%q is not reported: %v", s, err)
					}
				}
			}
		})
	}
}

// The real calls, by the SDK's own way to credentials and endpoint: first a template, then no change.
func TestLaunchTemplateAWS(t *testing.T) {
	server := awsAccount(t)
	source := baked(t)
	config := launchConfig(t, "aws")
	config["dry_run"] = false
	var p plugin.LaunchTemplate
	if err := p.Configure(config); err != nil {
		t.Fatal(err)
	}
	run := func() (packersdk.Artifact, string) {
		t.Helper()
		var said bytes.Buffer
		ui := &packersdk.BasicUi{Reader: new(bytes.Buffer), Writer: &said, ErrorWriter: &said}
		made, keep, _, err := p.PostProcess(t.Context(), ui, source)
		if err != nil || !keep {
			t.Fatalf("got %v, keep %t", err, keep)
		}
		return made, said.String()
	}
	first, said := run()
	if len(first.Files()) != 0 || !strings.HasPrefix(first.Id(), "eu-central-1:lt-") || !strings.Contains(said, "Registering the image...") {
		t.Errorf("got %s %v, and said %q", first.Id(), first.Files(), said)
	}
	if metadata := first.State("par.artifact.metadata"); metadata == nil || !strings.Contains(fmt.Sprint(metadata), "ami-") {
		t.Errorf("the registry gets %v", metadata)
	}
	again, said := run()
	if again.Id() != first.Id() || !strings.Contains(said, ", unchanged") {
		t.Errorf("got %s, and said %q", again.Id(), said)
	}
	if err := again.Destroy(); err != nil || len(server.Templates) != 1 || len(server.Images) != 1 {
		t.Errorf("destroying the artifact touched the cloud: %v", err)
	}
}

// awsAccount is a server that the SDK finds, with credentials, by the environment.
func awsAccount(t *testing.T) *awstest.Server {
	server := awstest.New(t)
	none := filepath.Join(t.TempDir(), "none")
	for name, value := range map[string]string{
		"AWS_ENDPOINT_URL": server.URL, "AWS_ACCESS_KEY_ID": "AKIDEXAMPLE", "AWS_SECRET_ACCESS_KEY": "secret", "AWS_SESSION_TOKEN": "",
		"AWS_CONFIG_FILE": none, "AWS_SHARED_CREDENTIALS_FILE": none, "AWS_PROFILE": "", "AWS_EC2_METADATA_DISABLED": "true",
	} {
		t.Setenv(name, value)
	}
	return server
}

// An AMI that another builder has made.
func TestLaunchTemplateAMI(t *testing.T) {
	server := awsAccount(t)
	server.AddImage("ami-0123456789abcdef0")
	source := &packersdk.MockArtifact{BuilderIdValue: "mitchellh.amazonebs", IdValue: "eu-central-1:ami-0123456789abcdef0,us-east-1:ami-12345678", StateValues: map[string]any{}}
	config := launchConfig(t, "aws")
	config["dry_run"] = false
	var p plugin.LaunchTemplate
	if err := p.Configure(config); err != nil {
		t.Fatal(err)
	}
	if _, keep, force, err := p.PostProcess(t.Context(), packersdk.TestUi(t), source); err != nil || !keep || !force {
		t.Fatalf("got %v, keep %t, force %t", err, keep, force)
	}
	if want := []string{"CreateLaunchTemplate", "PutParameter"}; !slices.Equal(server.Wrote(), want) {
		t.Errorf("called %v", server.Wrote())
	}
	delete(config, "dry_run")
	config["output_directory"] = filepath.Join(t.TempDir(), "dry")
	if err := p.Configure(config); err != nil {
		t.Fatal(err)
	}
	made, _, _, err := p.PostProcess(t.Context(), packersdk.TestUi(t), source)
	if err != nil {
		t.Fatal(err)
	}
	text, err := fs.ReadFile(os.DirFS(filepath.Dir(made.Files()[0])), "main.tf.json")
	if err != nil || !strings.Contains(string(text), `"default": "ami-0123456789abcdef0"`) {
		t.Errorf("Terraform gets %s, %v", text, err)
	}
	for says, id := range map[string]string{"the build made no AMI in eu-central-1": "us-east-1:ami-12345678", "is not \"region:ami-…\"": "ami-12345678"} {
		source.IdValue = id
		if _, _, _, err := p.PostProcess(t.Context(), packersdk.TestUi(t), source); err == nil || !strings.Contains(err.Error(), says) {
			t.Errorf("%s: %v", id, err)
		}
	}
}

// What is wrong is told before anything is sent, and what the nodes would refuse is wrong.
func TestLaunchTemplateRefusals(t *testing.T) {
	server := awsAccount(t)
	config := launchConfig(t, "aws")
	config["dry_run"] = false
	var p plugin.LaunchTemplate
	run := func(change func(map[string]any), source packersdk.Artifact) error {
		changed := map[string]any{}
		for k, v := range config {
			changed[k] = v
		}
		change(changed)
		if err := p.Configure(changed); err != nil {
			t.Fatal(err)
		}
		_, _, _, err := p.PostProcess(t.Context(), packersdk.TestUi(t), source)
		return err
	}
	none := func(map[string]any) {}
	if err := run(none, &packersdk.MockArtifact{BuilderIdValue: "mitchellh.googlecompute"}); err == nil || !strings.Contains(err.Error(), "mitchellh.googlecompute cannot be used here") {
		t.Errorf("another builder: %v", err)
	}
	secret := filepath.Join(t.TempDir(), "node.hcl")
	if err := os.WriteFile(secret, []byte("# hvs."+strings.Repeat("B", 30)+"\n"+launchNodeConfig), 0o644); err != nil {
		t.Fatal(err)
	}
	err := run(func(c map[string]any) { c["node_config"] = secret }, baked(t))
	if err == nil || !strings.Contains(err.Error(), "node_config: ") || strings.Contains(err.Error(), "BBBB") {
		t.Errorf("a token in node.hcl: %v", err)
	}
	if err := run(func(c map[string]any) { c["node_config"] = "/nowhere" }, baked(t)); err == nil || !strings.Contains(err.Error(), "node_config: ") {
		t.Errorf("no node.hcl: %v", err)
	}
	if len(server.Actions) != 0 {
		t.Errorf("called %v", server.Actions)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := p.Configure(config); err != nil {
		t.Fatal(err)
	}
	if _, _, _, err := p.PostProcess(ctx, packersdk.TestUi(t), baked(t)); err == nil || len(server.Wrote()) != 0 {
		t.Errorf("cancelled: %v after %v", err, server.Wrote())
	}
}
