package azure

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"net/http"
	"strings"
	"time"

	"github.com/Azure/azure-sdk-for-go/sdk/azcore"
	"github.com/Azure/azure-sdk-for-go/sdk/azcore/runtime"
	"github.com/Azure/azure-sdk-for-go/sdk/resourcemanager/compute/armcompute/v6"
	"github.com/Azure/azure-sdk-for-go/sdk/storage/azblob/pageblob"

	"github.com/strongroom/strongroom/internal/launch"
)

// tagModel is on a scale set: a digest of what this package says about its machines.
const tagModel = "strongroom:model"

// publication is one run.
type publication struct {
	config  Config
	request launch.Request
	image   launch.Image
	clients Clients
	log     *slog.Logger
	undo    launch.Undo
	changed bool
}

// Publish brings the resource group to where a scale set starts its machines from the image. What is there already is left as it
// is. When a step fails, what this run has made is removed again, or named in the error.
func Publish(ctx context.Context, clients Clients, config Config, request launch.Request) (launch.Result, error) {
	p := &publication{config: config, request: request, image: request.Image, clients: clients, log: request.Log}
	if p.config.Version == "" {
		p.config.Version = p.image.Version
	}
	if !version.MatchString(p.config.Version) {
		return launch.Result{}, fmt.Errorf("azure.gallery_version: the image's version %q is not of the form MAJOR.MINOR.PATCH, as a gallery wants it: say here which it is there", p.config.Version)
	}
	if len(launch.Base64(request.NodeConfig)) > maxUserData {
		return launch.Result{}, fmt.Errorf("node_config: %d bytes are more than fit into user data", len(request.NodeConfig))
	}
	result, err := p.run(ctx)
	if err != nil {
		return launch.Result{}, p.undo.Back(ctx, err)
	}
	return result, nil
}

func (p *publication) run(ctx context.Context) (launch.Result, error) {
	if err := p.definition(ctx); err != nil {
		return launch.Result{}, err
	}
	if err := p.version(ctx); err != nil {
		return launch.Result{}, err
	}
	model, err := p.model()
	if err != nil {
		return launch.Result{}, err
	}
	if err := p.scaleSet(ctx, model); err != nil {
		return launch.Result{}, err
	}
	return launch.Result{
		ID: p.id("virtualMachineScaleSets/" + p.request.Name), Image: p.versionID(), Region: p.config.Location, Changed: p.changed, Terraform: p.terraform(),
	}, nil
}

func (p *publication) id(of string) string {
	return "/subscriptions/" + p.config.Subscription + "/resourceGroups/" + p.config.ResourceGroup + "/providers/Microsoft.Compute/" + of
}

func (p *publication) definitionID() string {
	return p.id("galleries/" + p.config.Gallery + "/images/" + p.config.Definition)
}

func (p *publication) versionID() string { return p.definitionID() + "/versions/" + p.config.Version }

// remove is how an operator removes something by hand.
func (p *publication) remove(id string) string { return "az resource delete --ids " + id }

func isStatus(err error, status int) bool {
	var api *azcore.ResponseError
	return errors.As(err, &api) && api.StatusCode == status
}

func ptr[T any](v T) *T { return &v }

func (p *publication) tags() map[string]*string {
	tags := map[string]*string{}
	for key, value := range p.request.AllTags() {
		tags[key] = &value
	}
	return tags
}

// finish waits for what takes long; err is that of the request which began it.
func finish[T any](ctx context.Context, poll time.Duration, poller *runtime.Poller[T], err error) (T, error) {
	if err != nil {
		var none T
		return none, err
	}
	return poller.PollUntilDone(ctx, &runtime.PollUntilDoneOptions{Frequency: poll})
}

// gone is the end of a removal: what is not there does not need to be removed.
func gone(err error) error {
	if isStatus(err, http.StatusNotFound) {
		return nil
	}
	return err
}

// wantedDefinition is what the gallery says about all versions. Specialized: the image has no user to be made and no key to be
// put into it.
func (p *publication) wantedDefinition() armcompute.GalleryImage {
	return armcompute.GalleryImage{
		Location: &p.config.Location, Tags: pointers(p.request.Tags),
		Properties: &armcompute.GalleryImageProperties{
			OSType: ptr(armcompute.OperatingSystemTypesLinux), OSState: ptr(armcompute.OperatingSystemStateTypesSpecialized),
			HyperVGeneration: ptr(armcompute.HyperVGenerationV2), Architecture: ptr(armcompute.ArchitectureX64),
			Identifier: &armcompute.GalleryImageIdentifier{Publisher: ptr("strongroom"), Offer: &p.config.Definition, SKU: ptr("node")},
			Features:   []*armcompute.GalleryImageFeature{{Name: ptr("SecurityType"), Value: ptr("TrustedLaunchSupported")}},
		},
	}
}

func pointers(m map[string]string) map[string]*string {
	out := map[string]*string{}
	for key, value := range m {
		out[key] = &value
	}
	return out
}

// definition finds the definition of the image, or makes it.
func (p *publication) definition(ctx context.Context) error {
	c := p.config
	there, err := p.clients.Definitions.Get(ctx, c.ResourceGroup, c.Gallery, c.Definition, nil)
	if err == nil {
		return checkDefinition(c.Definition, there.Properties)
	}
	if !isStatus(err, http.StatusNotFound) {
		return fmt.Errorf("cannot look for the image definition: %w", err)
	}
	p.log.Info("Creating the image definition " + c.Definition + "...")
	poller, err := p.clients.Definitions.BeginCreateOrUpdate(ctx, c.ResourceGroup, c.Gallery, c.Definition, p.wantedDefinition(), nil)
	if err == nil {
		p.changed = true
		p.undo.Made("image definition "+c.Definition, p.remove(p.definitionID()), func(ctx context.Context) error {
			poller, err := p.clients.Definitions.BeginDelete(ctx, c.ResourceGroup, c.Gallery, c.Definition, nil)
			_, err = finish(ctx, p.clients.Poll, poller, err)
			return gone(err)
		})
	}
	if _, err := finish(ctx, p.clients.Poll, poller, err); err != nil {
		return fmt.Errorf("cannot create the image definition: %w", err)
	}
	return nil
}

// checkDefinition judges a definition that was there before.
func checkDefinition(name string, d *armcompute.GalleryImageProperties) error {
	trusted := false
	if d != nil {
		for _, f := range d.Features {
			trusted = trusted || f.Name != nil && f.Value != nil && *f.Name == "SecurityType" && strings.HasPrefix(*f.Value, "TrustedLaunch")
		}
	}
	if !trusted || d.OSState == nil || *d.OSState != armcompute.OperatingSystemStateTypesSpecialized ||
		d.HyperVGeneration == nil || *d.HyperVGeneration != armcompute.HyperVGenerationV2 {
		return fmt.Errorf("azure.image_definition: %s is there, and is not specialized, of generation 2 and with Trusted Launch: choose another name", name)
	}
	return nil
}

// version finds the version of the image, or makes it.
func (p *publication) version(ctx context.Context) error {
	c := p.config
	there, err := p.clients.Versions.Get(ctx, c.ResourceGroup, c.Gallery, c.Definition, c.Version, nil)
	if err == nil {
		if digest := there.Tags[launch.TagDigest]; digest == nil || *digest != p.image.Digest {
			return fmt.Errorf("the version %s of %s is there, and is of another disk: give the image a new image_version", c.Version, c.Definition)
		}
		if there.Properties == nil || there.Properties.ProvisioningState == nil || *there.Properties.ProvisioningState != armcompute.GalleryProvisioningStateSucceeded {
			return fmt.Errorf("the version %s of %s is there, and is not ready: wait until another build has made it, or remove it: %s", c.Version, c.Definition, p.remove(p.versionID()))
		}
		p.log.Info("The version " + c.Version + " of " + c.Definition + " is there already")
		return nil
	}
	if !isStatus(err, http.StatusNotFound) {
		return fmt.Errorf("cannot look for the image version: %w", err)
	}
	disk, err := p.disk(ctx)
	if err != nil {
		return err
	}
	p.log.Info("Creating the version " + c.Version + " of " + c.Definition + "...")
	poller, err := p.clients.Versions.BeginCreateOrUpdate(ctx, c.ResourceGroup, c.Gallery, c.Definition, c.Version, armcompute.GalleryImageVersion{
		Location: &c.Location, Tags: p.tags(),
		Properties: &armcompute.GalleryImageVersionProperties{
			StorageProfile:    &armcompute.GalleryImageVersionStorageProfile{Source: &armcompute.GalleryArtifactVersionFullSource{ID: ptr(p.id("disks/" + disk))}},
			PublishingProfile: &armcompute.GalleryImageVersionPublishingProfile{TargetRegions: []*armcompute.TargetRegion{{Name: &c.Location}}},
		},
	}, nil)
	if err == nil {
		p.changed = true
		p.undo.Made("image version "+c.Version, p.remove(p.versionID()), func(ctx context.Context) error {
			poller, err := p.clients.Versions.BeginDelete(ctx, c.ResourceGroup, c.Gallery, c.Definition, c.Version, nil)
			_, err = finish(ctx, p.clients.Poll, poller, err)
			return gone(err)
		})
	}
	if _, err := finish(ctx, p.clients.Poll, poller, err); err != nil {
		return fmt.Errorf("cannot create the image version: %w", err)
	}
	if err := p.removeDisk(ctx, disk); err != nil {
		return fmt.Errorf("cannot remove the uploaded disk: %w", err)
	}
	return nil
}

func (p *publication) removeDisk(ctx context.Context, name string) error {
	poller, err := p.clients.Disks.BeginDelete(ctx, p.config.ResourceGroup, name, nil)
	_, err = finish(ctx, p.clients.Poll, poller, err)
	return gone(err)
}

// disk makes a managed disk of the VHD, and gives its name.
func (p *publication) disk(ctx context.Context) (string, error) {
	c := p.config
	file, size, err := openVHD(p.image.File)
	if err != nil {
		return "", err
	}
	defer file.Close()
	name := "strongroom-" + p.image.Digest[:min(len(p.image.Digest), 16)]
	p.log.Info("Uploading " + p.image.File + " to the disk " + name + "...")
	poller, err := p.clients.Disks.BeginCreateOrUpdate(ctx, c.ResourceGroup, name, armcompute.Disk{
		Location: &c.Location, Tags: p.tags(), SKU: &armcompute.DiskSKU{Name: ptr(armcompute.DiskStorageAccountTypesStandardLRS)},
		Properties: &armcompute.DiskProperties{
			OSType: ptr(armcompute.OperatingSystemTypesLinux), HyperVGeneration: ptr(armcompute.HyperVGenerationV2),
			CreationData: &armcompute.CreationData{CreateOption: ptr(armcompute.DiskCreateOptionUpload), UploadSizeBytes: &size},
		},
	}, nil)
	if err == nil {
		p.undo.Made("disk "+name, p.remove(p.id("disks/"+name)), func(ctx context.Context) error {
			if err := p.revoke(ctx, name); err != nil && !isStatus(err, http.StatusNotFound) && !isStatus(err, http.StatusConflict) {
				return err
			}
			return p.removeDisk(ctx, name)
		})
	}
	if _, err := finish(ctx, p.clients.Poll, poller, err); err != nil {
		return "", fmt.Errorf("cannot create the disk: %w", err)
	}
	access, err := p.clients.Disks.BeginGrantAccess(ctx, c.ResourceGroup, name, armcompute.GrantAccessData{Access: ptr(armcompute.AccessLevelWrite), DurationInSeconds: ptr(int32(4 * 3600))}, nil)
	granted, err := finish(ctx, p.clients.Poll, access, err)
	if err != nil {
		return "", fmt.Errorf("cannot get access to the disk: %w", err)
	}
	if granted.AccessSAS == nil {
		return "", errors.New("cannot get access to the disk: Azure gave no URL")
	}
	if err := upload(ctx, file, size, *granted.AccessSAS, &pageblob.ClientOptions{ClientOptions: p.clients.Pages}); err != nil {
		return "", fmt.Errorf("cannot fill the disk: %w", err)
	}
	if err := p.revoke(ctx, name); err != nil {
		return "", fmt.Errorf("cannot end the access to the disk: %w", err)
	}
	return name, nil
}

// revoke ends the access by URL. A disk that can be written to is not taken for an image.
func (p *publication) revoke(ctx context.Context, name string) error {
	poller, err := p.clients.Disks.BeginRevokeAccess(ctx, p.config.ResourceGroup, name, nil)
	_, err = finish(ctx, p.clients.Poll, poller, err)
	return err
}

// model is a scale set that has no machine yet.
func (p *publication) model() (armcompute.VirtualMachineScaleSet, error) {
	c := p.config
	managed := &armcompute.VirtualMachineScaleSetManagedDiskParameters{StorageAccountType: ptr(armcompute.StorageAccountTypesPremiumLRS)}
	if c.DiskEncryptionSet != "" {
		managed.DiskEncryptionSet = &armcompute.DiskEncryptionSetParameters{ID: &c.DiskEncryptionSet}
	}
	// The server's data, audit and var are partitions of the root disk (systemd-repart): one disk.
	disk := &armcompute.VirtualMachineScaleSetOSDisk{
		CreateOption: ptr(armcompute.DiskCreateOptionTypesFromImage), Caching: ptr(armcompute.CachingTypesReadOnly), OSType: ptr(armcompute.OperatingSystemTypesLinux), ManagedDisk: managed,
	}
	if c.DiskSize > 0 {
		disk.DiskSizeGB = &c.DiskSize
	}
	// No PublicIPAddressConfiguration: no public address.
	network := &armcompute.VirtualMachineScaleSetNetworkConfigurationProperties{
		Primary: ptr(true), EnableAcceleratedNetworking: ptr(true),
		IPConfigurations: []*armcompute.VirtualMachineScaleSetIPConfiguration{{
			Name: ptr("node"), Properties: &armcompute.VirtualMachineScaleSetIPConfigurationProperties{Primary: ptr(true), Subnet: &armcompute.APIEntityReference{ID: &c.Subnet}},
		}},
	}
	if c.SecurityGroup != "" {
		network.NetworkSecurityGroup = &armcompute.SubResource{ID: &c.SecurityGroup}
	}
	machine := &armcompute.VirtualMachineScaleSetVMProfile{
		// No OSProfile: a specialized image has no administrator.
		SecurityProfile: &armcompute.SecurityProfile{
			SecurityType: ptr(armcompute.SecurityTypesTrustedLaunch), EncryptionAtHost: ptr(true),
			UefiSettings: &armcompute.UefiSettings{SecureBootEnabled: &c.SecureBoot, VTpmEnabled: ptr(true)},
		},
		StorageProfile: &armcompute.VirtualMachineScaleSetStorageProfile{ImageReference: &armcompute.ImageReference{ID: ptr(p.versionID())}, OSDisk: disk},
		NetworkProfile: &armcompute.VirtualMachineScaleSetNetworkProfile{
			NetworkInterfaceConfigurations: []*armcompute.VirtualMachineScaleSetNetworkConfiguration{{Name: ptr("node"), Properties: network}},
		},
		DiagnosticsProfile: &armcompute.DiagnosticsProfile{BootDiagnostics: &armcompute.BootDiagnostics{Enabled: ptr(true)}},
	}
	if len(p.request.NodeConfig) > 0 {
		machine.UserData = ptr(launch.Base64(p.request.NodeConfig))
	}
	model := armcompute.VirtualMachineScaleSet{
		Location: &c.Location, Tags: p.tags(), SKU: &armcompute.SKU{Name: &c.Size, Capacity: ptr(int64(0))},
		Properties: &armcompute.VirtualMachineScaleSetProperties{
			OrchestrationMode: ptr(armcompute.OrchestrationModeUniform), Overprovision: ptr(false),
			UpgradePolicy: &armcompute.UpgradePolicy{Mode: ptr(armcompute.UpgradeModeManual)}, VirtualMachineProfile: machine,
		},
	}
	if c.Identity != "" {
		model.Identity = &armcompute.VirtualMachineScaleSetIdentity{
			Type: ptr(armcompute.ResourceIdentityTypeUserAssigned), UserAssignedIdentities: map[string]*armcompute.UserAssignedIdentitiesValue{c.Identity: {}},
		}
	}
	text, err := json.Marshal(machine)
	if err != nil {
		return model, err
	}
	sum := sha256.Sum256(text)
	model.Tags[tagModel] = ptr(hex.EncodeToString(sum[:]))
	return model, nil
}

// scaleSet makes the scale set, or tells it what its next machines are started from. Machines that run stay as they are: a member of a
// cluster is replaced when the cluster can bear it.
func (p *publication) scaleSet(ctx context.Context, model armcompute.VirtualMachineScaleSet) error {
	c, name := p.config, p.request.Name
	there, err := p.clients.ScaleSets.Get(ctx, c.ResourceGroup, name, nil)
	if isStatus(err, http.StatusNotFound) {
		return p.createScaleSet(ctx, model)
	}
	if err != nil {
		return fmt.Errorf("cannot look for the scale set: %w", err)
	}
	if same(there.VirtualMachineScaleSet, model) {
		return nil
	}
	p.log.Info("Updating the scale set " + name + "...")
	tags := there.Tags
	if tags == nil {
		tags = map[string]*string{}
	}
	maps.Copy(tags, model.Tags)
	machine := model.Properties.VirtualMachineProfile
	poller, err := p.clients.ScaleSets.BeginUpdate(ctx, c.ResourceGroup, name, armcompute.VirtualMachineScaleSetUpdate{
		Tags: tags,
		Properties: &armcompute.VirtualMachineScaleSetUpdateProperties{VirtualMachineProfile: &armcompute.VirtualMachineScaleSetUpdateVMProfile{
			SecurityProfile: machine.SecurityProfile, UserData: machine.UserData,
			StorageProfile: &armcompute.VirtualMachineScaleSetUpdateStorageProfile{ImageReference: machine.StorageProfile.ImageReference},
		}},
	}, nil)
	if err == nil {
		p.changed = true
		p.undo.Keep() // whatever comes, machines may start from it
	}
	if _, err := finish(ctx, p.clients.Poll, poller, err); err != nil {
		return fmt.Errorf("cannot update the scale set: %w", err)
	}
	return nil
}

// same tells whether a scale set is what we made, and starts from our image.
func same(there, model armcompute.VirtualMachineScaleSet) bool {
	if tag := there.Tags[tagModel]; tag == nil || *tag != *model.Tags[tagModel] || there.Properties == nil || there.Properties.VirtualMachineProfile == nil {
		return false
	}
	storage := there.Properties.VirtualMachineProfile.StorageProfile
	return storage != nil && storage.ImageReference != nil && storage.ImageReference.ID != nil &&
		strings.EqualFold(*storage.ImageReference.ID, *model.Properties.VirtualMachineProfile.StorageProfile.ImageReference.ID)
}

func (p *publication) createScaleSet(ctx context.Context, model armcompute.VirtualMachineScaleSet) error {
	c, name := p.config, p.request.Name
	p.log.Info("Creating the scale set " + name + " without machines...")
	poller, err := p.clients.ScaleSets.BeginCreateOrUpdate(ctx, c.ResourceGroup, name, model, nil)
	if err == nil {
		p.changed = true
		p.undo.Made("scale set "+name, p.remove(p.id("virtualMachineScaleSets/"+name)), func(ctx context.Context) error {
			poller, err := p.clients.ScaleSets.BeginDelete(ctx, c.ResourceGroup, name, nil)
			_, err = finish(ctx, p.clients.Poll, poller, err)
			return gone(err)
		})
	}
	if _, err := finish(ctx, p.clients.Poll, poller, err); err != nil {
		return fmt.Errorf("cannot create the scale set: %w", err)
	}
	return nil
}
