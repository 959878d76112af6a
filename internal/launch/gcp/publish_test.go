package gcp_test

import (
	"context"
	"fmt"
	"log/slog"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/strongroom/strongroom/internal/launch"
	"github.com/strongroom/strongroom/internal/launch/gcp"
)

func request(t *testing.T) launch.Request {
	t.Helper()
	file := filepath.Join(t.TempDir(), "disk.raw.tar.gz")
	if err := os.WriteFile(file, []byte("a disk"), 0o644); err != nil {
		t.Fatal(err)
	}
	return launch.Request{
		Image: launch.Image{Name: "strongroom-vault", Version: "1.4.0", Profile: "vault/cloud", Digest: strings.Repeat("ab", 32), File: file, Size: 2 << 30},
		Name:  "vault", NodeConfig: []byte(`cluster { name = "test" }`), Tags: map[string]string{"team": "security"}, Log: slog.New(slog.DiscardHandler),
	}
}

func config() gcp.Config {
	return gcp.Config{
		Project: "my-project", Bucket: "my-bucket", MachineType: "n2-standard-2", Subnetwork: "projects/my-project/regions/europe-west3/subnetworks/vault",
		NetworkTags: []string{"vault"}, ServiceAccount: "vault@my-project.iam.gserviceaccount.com", StorageLocation: "europe-west3", DiskSize: 20,
		KMSKey: "projects/my-project/locations/europe-west3/keyRings/r/cryptoKeys/k",
	}
}

func TestPublish(t *testing.T) {
	p, r := newProject(t), request(t)
	if err := config().Check(r.Name, r.Tags); err != nil {
		t.Fatal(err)
	}
	first, err := gcp.Publish(t.Context(), p.clients(), config(), r)
	if err != nil {
		t.Fatal(err)
	}
	if want := "objects.insert images.insert objects.delete instanceTemplates.insert"; p.wrote() != want || len(p.objects) != 0 {
		t.Errorf("called %s", p.wrote())
	}
	image := p.images[first.Image[strings.LastIndex(first.Image, "/")+1:]]
	if image == nil || image.GuestOsFeatures[0].Type != "UEFI_COMPATIBLE" || image.GuestOsFeatures[1].Type != "GVNIC" || image.Architecture != "X86_64" ||
		image.ImageEncryptionKey.KmsKeyName != config().KMSKey || image.StorageLocations[0] != "europe-west3" || image.Labels["strongroom-image-version"] != "1-4-0" {
		t.Fatalf("the image is %+v", image)
	}
	template := p.templates[first.ID[strings.LastIndex(first.ID, "/")+1:]]
	if template == nil || !first.Changed {
		t.Fatalf("got %+v", first)
	}
	got := template.Properties
	metadata := map[string]string{}
	for _, item := range got.Metadata.Items {
		metadata[item.Key] = *item.Value
	}
	if shield := got.ShieldedInstanceConfig; !shield.EnableVtpm || !shield.EnableIntegrityMonitoring || shield.EnableSecureBoot {
		t.Errorf("shielded: %+v", shield)
	}
	if metadata["strongroom-node-hcl"] != string(r.NodeConfig) || metadata["block-project-ssh-keys"] != "TRUE" || metadata["serial-port-enable"] != "FALSE" {
		t.Errorf("metadata: %v", metadata)
	}
	if nic := got.NetworkInterfaces[0]; nic.AccessConfigs != nil || nic.Subnetwork != config().Subnetwork || nic.NicType != "GVNIC" {
		t.Errorf("network interface: %+v", nic)
	}
	if disk := got.Disks[0]; !disk.Boot || !disk.AutoDelete || disk.DiskEncryptionKey.KmsKeyName != config().KMSKey || disk.InitializeParams.DiskSizeGb != 20 {
		t.Errorf("disk: %+v", disk)
	}
	if got.ServiceAccounts[0].Email != config().ServiceAccount || got.Tags.Items[0] != "vault" || got.Labels["team"] != "security" {
		t.Errorf("properties: %+v", got)
	}

	p.forget()
	again, err := gcp.Publish(t.Context(), p.clients(), config(), r)
	if err != nil || again.Changed || again.ID != first.ID || p.wrote() != "" {
		t.Errorf("the second run: %+v, %v after %s", again, err, p.wrote())
	}
	p.forget()
	other := config()
	other.MachineType = "n2-standard-4"
	next, err := gcp.Publish(t.Context(), p.clients(), other, r)
	if err != nil || !next.Changed || next.ID == first.ID || p.wrote() != "instanceTemplates.insert" {
		t.Errorf("another machine: %+v, %v after %s", next, err, p.wrote())
	}
	template.Description = "mine"
	if _, err := gcp.Publish(t.Context(), p.clients(), config(), r); err == nil || !strings.Contains(err.Error(), "says something else") {
		t.Errorf("a template that was made by hand: %v", err)
	}
	image.Status = "PENDING"
	if _, err := gcp.Publish(t.Context(), p.clients(), config(), r); err == nil || !strings.Contains(err.Error(), "is PENDING") {
		t.Errorf("an image that is not ready: %v", err)
	}
	image.Description = "mine"
	if _, err := gcp.Publish(t.Context(), p.clients(), config(), r); err == nil || !strings.Contains(err.Error(), "is not of this disk") {
		t.Errorf("an image that was made by hand: %v", err)
	}
}

// A disk of some pieces: the upload goes on after a piece was refused.
func TestUploadInPieces(t *testing.T) {
	p, r := newProject(t), request(t)
	if err := os.WriteFile(r.Image.File, []byte(strings.Repeat("0123456789abcdef", 3<<20/2)), 0o644); err != nil { // 24 MiB; a piece has 16
		t.Fatal(err)
	}
	p.fault = func(action string, nth int) int {
		if action == "objects.insert" && nth == 1 {
			return http.StatusServiceUnavailable
		}
		return 0
	}
	if _, err := gcp.Publish(t.Context(), p.clients(), config(), r); err != nil {
		t.Error(err)
	}
}

func TestFailures(t *testing.T) {
	tests := map[string]struct {
		fails  []string // actions that are refused
		broken string   // an operation that ends badly
		says   []string
		left   string // objects, images, templates
	}{
		"look for the image":     {[]string{"images.get"}, "", []string{"cannot look for the image", "nothing was left behind"}, "0 0 0"},
		"upload":                 {[]string{"objects.insert"}, "", []string{"cannot upload the disk", "was removed again"}, "0 0 0"},
		"create the image":       {[]string{"images.insert"}, "", []string{"cannot create the image", "object gs://my-bucket/strongroom/", "was removed again"}, "0 0 0"},
		"the image ends badly":   {nil, "images.insert", []string{"QUOTA_EXCEEDED", "image strongroom-vault-", "was removed again"}, "0 0 0"},
		"remove the object":      {[]string{"objects.delete"}, "", []string{"cannot remove the uploaded disk", "gcloud storage rm gs://my-bucket/strongroom/"}, "1 0 0"},
		"look for the template":  {[]string{"instanceTemplates.get"}, "", []string{"cannot look for the instance template"}, "0 0 0"},
		"create the template":    {[]string{"instanceTemplates.insert"}, "", []string{"cannot create the instance template", "image strongroom-vault-"}, "0 0 0"},
		"the template ends so":   {nil, "instanceTemplates.insert", []string{"QUOTA_EXCEEDED", "instance template vault-", "was removed again"}, "0 0 0"},
		"and the way back":       {[]string{"instanceTemplates.insert", "images.delete"}, "", []string{"gcloud compute images delete strongroom-vault-", "--project my-project"}, "0 1 0"},
		"and the template stays": {[]string{"instanceTemplates.delete"}, "instanceTemplates.insert", []string{"gcloud compute instance-templates delete vault-"}, "0 0 1"},
		"and the operation":      {[]string{"operations.wait"}, "", []string{"cannot create the image", "gcloud compute images delete"}, "0 0 0"},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			p, r := newProject(t), request(t)
			p.fault = func(action string, _ int) int {
				if strings.Contains(" "+strings.Join(tt.fails, " ")+" ", " "+action+" ") {
					return http.StatusForbidden
				}
				return 0
			}
			p.broken = tt.broken
			got, err := gcp.Publish(t.Context(), p.clients(), config(), r)
			if err == nil {
				t.Fatalf("got %+v", got)
			}
			for _, s := range tt.says {
				if !strings.Contains(err.Error(), s) {
					t.Errorf("does not say %q: %v", s, err)
				}
			}
			if left := fmt.Sprint(len(p.objects), len(p.images), len(p.templates)); left != tt.left {
				t.Errorf("left %q, want %q: %v", left, tt.left, err)
			}
			p.fault, p.broken = nil, ""
			if _, err := gcp.Publish(t.Context(), p.clients(), config(), r); err != nil {
				t.Errorf("the next run: %v", err)
			}
		})
	}
}

// Every kind of request is throttled once; what goes again is the transport below the SDK.
func TestThrottling(t *testing.T) {
	p, r := newProject(t), request(t)
	throttled := map[string]bool{}
	p.fault = func(action string, nth int) int {
		if nth > 0 {
			return 0
		}
		throttled[action] = true
		return http.StatusTooManyRequests
	}
	c, err := gcp.NewClients(t.Context(), &http.Client{Transport: launch.Patient(time.Millisecond)}, p.url)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := gcp.Publish(t.Context(), c, config(), r); err != nil {
		t.Fatal(err)
	}
	if len(throttled) != 7 || len(p.images) != 1 || len(p.templates) != 1 {
		t.Errorf("throttled %v", throttled)
	}
}

func TestCancel(t *testing.T) {
	p, r := newProject(t), request(t)
	ctx, cancel := context.WithCancel(t.Context())
	p.fault = func(action string, _ int) int {
		if action == "instanceTemplates.insert" {
			cancel()
			return http.StatusServiceUnavailable
		}
		return 0
	}
	_, err := gcp.Publish(ctx, p.clients(), config(), r)
	if err == nil || !strings.Contains(err.Error(), "was removed again") || len(p.images) != 0 {
		t.Errorf("got %v; there are %d images", err, len(p.images))
	}
}

func TestCheck(t *testing.T) {
	bad := gcp.Config{Project: "My Project", Bucket: "B", MachineType: "N2", Network: "a b", Subnetwork: "c", NetworkTags: []string{"A"}, ServiceAccount: "x", KMSKey: "k", DiskSize: -1}
	err := bad.Check("Vault", map[string]string{"Team": "x"})
	for _, s := range []string{"name:", "gcp.project", "gcp.bucket", "gcp.machine_type", "exactly one", "gcp.network_tags", "gcp.service_account", "gcp.kms_key", "gcp.disk_size", `"Team"`} {
		if err == nil || !strings.Contains(err.Error(), s) {
			t.Errorf("%q is not reported: %v", s, err)
		}
	}
}
