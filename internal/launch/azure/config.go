package azure

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"regexp"
	"strings"
	"time"

	"github.com/Azure/azure-sdk-for-go/sdk/azcore"
	"github.com/Azure/azure-sdk-for-go/sdk/azcore/arm"
	"github.com/Azure/azure-sdk-for-go/sdk/azcore/cloud"
	"github.com/Azure/azure-sdk-for-go/sdk/azcore/policy"
	"github.com/Azure/azure-sdk-for-go/sdk/azidentity"
	"github.com/Azure/azure-sdk-for-go/sdk/resourcemanager/compute/armcompute/v6"
)

// Config is what a template says about Azure.
type Config struct {
	Subscription      string
	ResourceGroup     string
	Location          string
	Gallery           string
	Definition        string // of the image in the gallery
	Version           string // of the image in the gallery: MAJOR.MINOR.PATCH; empty: the image's
	Size              string // of the machines
	Subnet            string // id
	SecurityGroup     string // id; empty: that of the subnet
	Identity          string // id of a user-assigned identity; empty: none
	DiskEncryptionSet string // id; empty: Azure's own keys
	DiskSize          int32  // GiB; 0: the image's
	SecureBoot        bool
}

var (
	uuid         = regexp.MustCompile(`^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$`)
	groupName    = regexp.MustCompile(`^[A-Za-z0-9_.()-]{1,90}$`)
	location     = regexp.MustCompile(`^[a-z0-9]{3,40}$`)
	galleryName  = regexp.MustCompile(`^[A-Za-z0-9][A-Za-z0-9_.]{0,79}$`)
	resourceName = regexp.MustCompile(`^[A-Za-z0-9][A-Za-z0-9_.-]{0,62}[A-Za-z0-9]$`)
	version      = regexp.MustCompile(`^(0|[1-9]\d{0,8})(\.(0|[1-9]\d{0,8})){2}$`)
	sizeName     = regexp.MustCompile(`^[A-Za-z0-9]+_[A-Za-z0-9_-]+$`)
)

// maxUserData is Azure's limit, after base64.
const maxUserData = 64 << 10

// Check reports everything that is wrong, each with the attribute that it is about. It looks at nothing outside. The name is empty
// while it is not known.
func (c Config) Check(name string, tags map[string]string) error {
	var errs []error
	wrong := func(format string, args ...any) { errs = append(errs, fmt.Errorf(format, args...)) }
	match := func(attribute string, shape *regexp.Regexp, value, example string) {
		if !shape.MatchString(value) {
			wrong("%s: %q is not of the form %s", attribute, value, example)
		}
	}
	if name != "" {
		match("name", resourceName, name, "\"vault-nodes\": 2 to 64 letters, digits, and _ . -")
	}
	match("azure.subscription_id", uuid, c.Subscription, "\"00000000-0000-0000-0000-000000000000\"")
	match("azure.resource_group", groupName, c.ResourceGroup, "\"vault\"")
	match("azure.location", location, c.Location, "\"germanywestcentral\"")
	match("azure.gallery", galleryName, c.Gallery, "\"images\": letters, digits, and _ .")
	match("azure.image_definition", resourceName, c.Definition, "\"strongroom-vault\"")
	if c.Version != "" {
		match("azure.gallery_version", version, c.Version, "\"1.4.0\"")
	}
	match("azure.vm_size", sizeName, c.Size, "\"Standard_D2s_v5\"")
	id := func(attribute, value, kind string) {
		if !strings.HasPrefix(value, "/subscriptions/") || !strings.Contains(strings.ToLower(value), "/providers/"+strings.ToLower(kind)+"/") {
			wrong("%s: %q is no id of the kind %s", attribute, value, kind)
		}
	}
	id("azure.subnet_id", c.Subnet, "Microsoft.Network/virtualNetworks")
	for attribute, given := range map[string][2]string{
		"azure.network_security_group_id": {c.SecurityGroup, "Microsoft.Network/networkSecurityGroups"},
		"azure.identity_id":               {c.Identity, "Microsoft.ManagedIdentity/userAssignedIdentities"},
		"azure.disk_encryption_set_id":    {c.DiskEncryptionSet, "Microsoft.Compute/diskEncryptionSets"},
	} {
		if given[0] != "" {
			id(attribute, given[0], given[1])
		}
	}
	if c.DiskSize < 0 {
		wrong("azure.disk_size: %d is not a number of GiB", c.DiskSize)
	}
	for key, value := range tags {
		if key == "" || len(key) > 512 || len(value) > 256 || strings.ContainsAny(key, `<>%&\?/`) {
			wrong("tags: %q is no tag of Azure: not < > %% & \\ ? /, at most 512 characters, and a value of at most 256", key)
		}
	}
	return errors.Join(errs...)
}

// Clients are what talks to Azure.
type Clients struct {
	Disks       *armcompute.DisksClient
	Definitions *armcompute.GalleryImagesClient
	Versions    *armcompute.GalleryImageVersionsClient
	ScaleSets   *armcompute.VirtualMachineScaleSetsClient
	// Pages is for the upload, whose requests are authorised by their URL.
	Pages policy.ClientOptions
	// Poll is the pause between two looks at something that takes long. 0: as Azure says, or 30 s.
	Poll time.Duration
}

// Connect takes credentials as the SDK finds them: environment, workload or managed identity, the Azure CLI.
func Connect(subscription string) (Clients, error) {
	credential, err := azidentity.NewDefaultAzureCredential(nil)
	if err != nil {
		return Clients{}, fmt.Errorf("cannot find credentials of Azure: %w", err)
	}
	return NewClients(subscription, credential, policy.ClientOptions{Retry: policy.RetryOptions{MaxRetries: 11, MaxRetryDelay: 20 * time.Second}})
}

// NewClients makes the clients of a subscription.
func NewClients(subscription string, credential azcore.TokenCredential, options policy.ClientOptions) (Clients, error) {
	factory, err := armcompute.NewClientFactory(subscription, credential, &arm.ClientOptions{ClientOptions: options, DisableRPRegistration: true})
	if err != nil {
		return Clients{}, err
	}
	return Clients{
		Disks: factory.NewDisksClient(), Definitions: factory.NewGalleryImagesClient(), Versions: factory.NewGalleryImageVersionsClient(),
		ScaleSets: factory.NewVirtualMachineScaleSetsClient(), Pages: options,
	}, nil
}

// nobody is the credential of a dry run.
type nobody struct{}

func (nobody) GetToken(context.Context, policy.TokenRequestOptions) (azcore.AccessToken, error) {
	return azcore.AccessToken{Token: "none", ExpiresOn: time.Now().Add(time.Hour)}, nil
}

// sender makes a transport of the SDK's out of one of Go's.
type sender struct{ http.RoundTripper }

func (s sender) Do(r *http.Request) (*http.Response, error) { return s.RoundTrip(r) }

// public is where Azure's resource manager is.
var public = cloud.AzurePublic
