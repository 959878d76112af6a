package azure_test

import (
	"bytes"
	"context"
	"encoding/base64"
	"log/slog"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/strongroom/strongroom/internal/launch"
	"github.com/strongroom/strongroom/internal/launch/azure"
)

const subscription = "00000000-0000-0000-0000-000000000001"

// request has a VHD of 9 MiB, with data in the first and the last of three pages.
func request(t *testing.T) (launch.Request, []byte) {
	t.Helper()
	disk := make([]byte, 9<<20+512)
	copy(disk[1000:], "data")
	copy(disk[9<<20:], "conectix")
	file := filepath.Join(t.TempDir(), "disk.vhd")
	if err := os.WriteFile(file, disk, 0o644); err != nil {
		t.Fatal(err)
	}
	return launch.Request{
		Image: launch.Image{Name: "strongroom-vault", Version: "1.4.0", Profile: "vault/cloud", Digest: strings.Repeat("ab", 32), File: file, Size: 9 << 20},
		Name:  "vault-nodes", NodeConfig: []byte(`cluster { name = "test" }`), Tags: map[string]string{"team": "security"}, Log: slog.New(slog.DiscardHandler),
	}, disk
}

func config() azure.Config {
	net := "/subscriptions/" + subscription + "/resourceGroups/net/providers/"
	return azure.Config{
		Subscription: subscription, ResourceGroup: "vault", Location: "germanywestcentral", Gallery: "images", Definition: "strongroom-vault", Size: "Standard_D2s_v5",
		Subnet: net + "Microsoft.Network/virtualNetworks/v/subnets/s", SecurityGroup: net + "Microsoft.Network/networkSecurityGroups/g",
		Identity: net + "Microsoft.ManagedIdentity/userAssignedIdentities/i", DiskEncryptionSet: net + "Microsoft.Compute/diskEncryptionSets/d", DiskSize: 20,
	}
}

// at walks into JSON.
func at(v any, path ...string) any {
	for _, name := range path {
		if list, ok := v.([]any); ok {
			v = list[0]
		}
		m, ok := v.(map[string]any)
		if !ok {
			return nil
		}
		v = m[name]
	}
	return v
}

func TestPublish(t *testing.T) {
	g := newGroup(t)
	r, disk := request(t)
	if err := config().Check(r.Name, r.Tags); err != nil {
		t.Fatal(err)
	}
	first, err := azure.Publish(t.Context(), g.clients(), config(), r)
	if err != nil {
		t.Fatal(err)
	}
	if want := "images.put disks.put disks.beginGetAccess pages.put disks.endGetAccess versions.put disks.delete virtualMachineScaleSets.put"; g.wrote() != want || g.left() != "0 1 1 1" {
		t.Errorf("called %s; left %s", g.wrote(), g.left())
	}
	if len(g.pages) != 1 || !bytes.Equal(g.pages["strongroom-abababababababab"], disk) {
		t.Error("the disk is another")
	}
	if g.count["pages.put"] != 2 {
		t.Errorf("%d requests with pages; the one that is zero was to be left out", g.count["pages.put"])
	}
	definition := g.there["galleries/images/images/strongroom-vault"]["properties"]
	if at(definition, "osState") != "Specialized" || at(definition, "hyperVGeneration") != "V2" || at(definition, "features", "value") != "TrustedLaunchSupported" {
		t.Errorf("the definition is %v", definition)
	}
	set := g.there["virtualMachineScaleSets/vault-nodes"]
	machine := at(set, "properties", "virtualMachineProfile")
	security := at(machine, "securityProfile")
	if at(security, "securityType") != "TrustedLaunch" || at(security, "encryptionAtHost") != true || at(security, "uefiSettings", "vTpmEnabled") != true || at(security, "uefiSettings", "secureBootEnabled") != false {
		t.Errorf("security: %v", security)
	}
	if at(machine, "osProfile") != nil || at(machine, "storageProfile", "imageReference", "id") != first.Image || at(machine, "storageProfile", "osDisk", "managedDisk", "diskEncryptionSet", "id") != config().DiskEncryptionSet {
		t.Errorf("the machine is %v", machine)
	}
	if text, err := base64.StdEncoding.DecodeString(at(machine, "userData").(string)); err != nil || !bytes.Equal(text, r.NodeConfig) {
		t.Errorf("user data: %s, %v", text, err)
	}
	address := at(machine, "networkProfile", "networkInterfaceConfigurations", "properties", "ipConfigurations", "properties")
	if at(address, "subnet", "id") != config().Subnet || at(address, "publicIPAddressConfiguration") != nil || at(set, "sku", "capacity") != 0.0 {
		t.Errorf("address: %v, set: %v", address, set)
	}

	g.actions = nil
	again, err := azure.Publish(t.Context(), g.clients(), config(), r)
	if err != nil || again.Changed || again.ID != first.ID || g.wrote() != "" {
		t.Errorf("the second run: %+v, %v after %s", again, err, g.wrote())
	}

	// An operator has given the set machines and a tag of his own: both stay.
	set["sku"].(map[string]any)["capacity"] = 3.0
	set["tags"].(map[string]any)["mine"] = "yes"
	r.Image.Version, r.Image.Digest = "1.5.0", strings.Repeat("cd", 32)
	g.actions = nil
	next, err := azure.Publish(t.Context(), g.clients(), config(), r)
	if want := "disks.put disks.beginGetAccess pages.put disks.endGetAccess versions.put disks.delete virtualMachineScaleSets.patch"; err != nil || !next.Changed || g.wrote() != want {
		t.Errorf("another image: %+v, %v after %s", next, err, g.wrote())
	}
	set = g.there["virtualMachineScaleSets/vault-nodes"]
	if at(set, "properties", "virtualMachineProfile", "storageProfile", "imageReference", "id") != next.Image || at(set, "sku", "capacity") != 3.0 ||
		at(set, "tags", "mine") != "yes" || at(set, "tags", "strongroom:image-version") != "1.5.0" {
		t.Errorf("the set is %v", set)
	}

	r.Image.Digest = strings.Repeat("ef", 32)
	if _, err := azure.Publish(t.Context(), g.clients(), config(), r); err == nil || !strings.Contains(err.Error(), "is of another disk") {
		t.Errorf("another disk of the same version: %v", err)
	}
	definition.(map[string]any)["osState"] = "Generalized"
	if _, err := azure.Publish(t.Context(), g.clients(), config(), r); err == nil || !strings.Contains(err.Error(), "azure.image_definition") {
		t.Errorf("a generalized definition: %v", err)
	}
}

func TestThrottling(t *testing.T) {
	g := newGroup(t)
	r, _ := request(t)
	throttled := map[string]bool{}
	g.fault = func(action string, nth int) int {
		if nth > 0 {
			return 0
		}
		throttled[action] = true
		return http.StatusTooManyRequests
	}
	if _, err := azure.Publish(t.Context(), g.clients(), config(), r); err != nil || len(throttled) != 11 || g.left() != "0 1 1 1" {
		t.Errorf("got %v, left %s, throttled %v", err, g.left(), throttled)
	}
}

func TestFailures(t *testing.T) {
	tests := map[string]struct {
		fails  []string
		broken string
		says   []string
		left   string // disks, definitions, versions, scale sets
	}{
		"look for the definition": {[]string{"images.get"}, "", []string{"cannot look for the image definition", "nothing was left behind"}, "0 0 0 0"},
		"create the definition":   {[]string{"images.put"}, "", []string{"cannot create the image definition"}, "0 0 0 0"},
		"look for the version":    {[]string{"versions.get"}, "", []string{"cannot look for the image version", "image definition strongroom-vault was removed again"}, "0 0 0 0"},
		"create the disk":         {[]string{"disks.put"}, "", []string{"cannot create the disk"}, "0 0 0 0"},
		"get access":              {[]string{"disks.beginGetAccess"}, "", []string{"cannot get access to the disk", "disk strongroom-abababababababab was removed again"}, "0 0 0 0"},
		"upload":                  {[]string{"pages.put"}, "", []string{"cannot fill the disk", "was removed again"}, "0 0 0 0"},
		"create the version":      {[]string{"versions.put"}, "", []string{"cannot create the image version", "was removed again"}, "0 0 0 0"},
		"the version ends badly":  {nil, "versions.put", []string{"cannot create the image version", "image version 1.4.0 was removed again"}, "0 0 0 0"},
		"remove the disk":         {[]string{"disks.delete"}, "", []string{"cannot remove the uploaded disk", "az resource delete --ids /subscriptions/"}, "1 0 0 0"},
		"look for the set":        {[]string{"virtualMachineScaleSets.get"}, "", []string{"cannot look for the scale set", "image version 1.4.0 was removed again"}, "0 0 0 0"},
		"create the set":          {[]string{"virtualMachineScaleSets.put"}, "", []string{"cannot create the scale set", "image version 1.4.0 was removed again"}, "0 0 0 0"},
		"and the version stays":   {[]string{"virtualMachineScaleSets.put", "versions.delete"}, "", []string{"/versions/1.4.0"}, "0 0 1 0"},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			g := newGroup(t)
			r, _ := request(t)
			g.fault = func(action string, _ int) int {
				if strings.Contains(" "+strings.Join(tt.fails, " ")+" ", " "+action+" ") {
					return http.StatusForbidden
				}
				return 0
			}
			g.broken = tt.broken
			got, err := azure.Publish(t.Context(), g.clients(), config(), r)
			if err == nil {
				t.Fatalf("got %+v", got)
			}
			for _, s := range tt.says {
				if !strings.Contains(err.Error(), s) {
					t.Errorf("does not say %q: %v", s, err)
				}
			}
			if strings.Contains(err.Error(), "SIGNATURE") {
				t.Errorf("the permission to write is shown: %v", err)
			}
			if g.left() != tt.left {
				t.Errorf("left %q, want %q: %v", g.left(), tt.left, err)
			}
			g.fault, g.broken = nil, ""
			if _, err := azure.Publish(t.Context(), g.clients(), config(), r); err != nil {
				t.Errorf("the next run: %v", err)
			}
		})
	}
}

func TestCancel(t *testing.T) {
	g := newGroup(t)
	r, _ := request(t)
	ctx, cancel := context.WithCancel(t.Context())
	g.fault = func(action string, nth int) int {
		if action == "pages.put" && nth == 0 {
			cancel()
			return http.StatusServiceUnavailable
		}
		return 0
	}
	_, err := azure.Publish(ctx, g.clients(), config(), r)
	if err == nil || !strings.Contains(err.Error(), "was removed again") || strings.Contains(err.Error(), "SIGNATURE") || g.left() != "0 0 0 0" {
		t.Errorf("got %v; left %s", err, g.left())
	}
}

func TestCheck(t *testing.T) {
	bad := azure.Config{Subscription: "x", ResourceGroup: "a/b", Location: "Germany West", Gallery: "-", Definition: "/", Version: "1.4", Size: "big", Subnet: "s", SecurityGroup: "g", DiskSize: -1}
	err := bad.Check("/", map[string]string{"a/b": ""})
	for _, s := range []string{"name:", "azure.subscription_id", "azure.resource_group", "azure.location", "azure.gallery:", "azure.image_definition", "azure.gallery_version", "azure.vm_size", "azure.subnet_id", "azure.network_security_group_id", "azure.disk_size", `"a/b"`} {
		if err == nil || !strings.Contains(err.Error(), s) {
			t.Errorf("%q is not reported: %v", s, err)
		}
	}
	r, _ := request(t)
	r.Image.Version = "today"
	if _, err := azure.Publish(t.Context(), azure.Clients{}, config(), r); err == nil || !strings.Contains(err.Error(), "azure.gallery_version") {
		t.Errorf("a version that a gallery does not take: %v", err)
	}
}
