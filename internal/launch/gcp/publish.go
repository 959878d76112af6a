package gcp

import (
	"context"
	"crypto/sha256"
	"encoding/base64"
	"encoding/binary"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"log/slog"
	"maps"
	"net/http"
	"os"
	"slices"
	"strings"

	"google.golang.org/api/compute/v1"
	"google.golang.org/api/googleapi"
	"google.golang.org/api/storage/v1"

	"github.com/strongroom/strongroom/internal/launch"
)

const (
	ready = "READY" // of an image
	done  = "DONE"  // of an operation

	metadataKey = "strongroom-node-hcl" // where a node looks: docs/node-sources.md
)

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

// Publish brings the project to where an instance template starts nodes from the image. What is there already is left as it is.
// When a step fails, what this run has made is removed again, or named in the error.
func Publish(ctx context.Context, clients Clients, config Config, request launch.Request) (launch.Result, error) {
	p := &publication{config: config, request: request, image: request.Image, clients: clients, log: request.Log}
	if len(request.NodeConfig) > maxMetadata {
		return launch.Result{}, fmt.Errorf("node_config: %d bytes are more than the %d that a value of the metadata may have", len(request.NodeConfig), maxMetadata)
	}
	result, err := p.run(ctx)
	if err != nil {
		return launch.Result{}, p.undo.Back(ctx, err)
	}
	return result, nil
}

func (p *publication) run(ctx context.Context) (launch.Result, error) {
	image, err := p.findOrMakeImage(ctx)
	if err != nil {
		return launch.Result{}, err
	}
	template, err := p.template()
	if err != nil {
		return launch.Result{}, err
	}
	if err := p.findOrMakeTemplate(ctx, template); err != nil {
		return launch.Result{}, err
	}
	return launch.Result{
		ID: "projects/" + p.config.Project + "/global/instanceTemplates/" + template.Name, Image: image, Region: "global", Changed: p.changed,
		Terraform: p.terraform(template),
	}, nil
}

// isStatus tells an answer of Google's by its status.
func isStatus(err error, status int) bool {
	var api *googleapi.Error
	return errors.As(err, &api) && api.Code == status
}

// shortDigest is what a name has room for.
const shortDigest = 12

func digestOf(parts ...string) string {
	sum := sha256.Sum256([]byte(strings.Join(parts, "\n")))
	return hex.EncodeToString(sum[:])
}

// plain makes a name of Compute Engine out of one of the builder's.
func plain(name string) string {
	name = strings.Trim(strings.NewReplacer(".", "-", "_", "-", "/", "-").Replace(name), "-")
	if name == "" || name[0] < 'a' {
		name = "i-" + name
	}
	return strings.TrimRight(name[:min(len(name), 49)], "-")
}

// imageName has a digest of the disk and of what is said about it, so that another image never has the same name.
func (p *publication) imageName() string {
	return plain(p.image.Name) + "-" + digestOf("1", p.image.Digest, p.config.KMSKey, p.config.StorageLocation)[:shortDigest]
}

func (p *publication) imagePath() string {
	return "projects/" + p.config.Project + "/global/images/" + p.imageName()
}

// labels are those of image, disk and nodes.
func (p *publication) labels() map[string]string {
	labels := map[string]string{
		"strongroom-image-digest":  p.image.Digest[:min(len(p.image.Digest), 63)], // a label has room for 63 of the 64 digits
		"strongroom-image-version": plainLabel(p.image.Version),
		"strongroom-profile":       plainLabel(p.image.Profile),
	}
	maps.Copy(labels, p.request.Tags)
	return labels
}

func plainLabel(text string) string {
	return strings.NewReplacer(".", "-", "/", "-").Replace(text)
}

// findOrMakeImage gives the path of the image.
func (p *publication) findOrMakeImage(ctx context.Context) (string, error) {
	name := p.imageName()
	switch there, err := p.clients.Compute.Images.Get(p.config.Project, name).Context(ctx).Do(); {
	case err == nil:
		return p.imagePath(), p.sameImage(there)
	case !isStatus(err, http.StatusNotFound):
		return "", fmt.Errorf("cannot look for the image: %w", err)
	}
	object, err := p.upload(ctx, name+".tar.gz")
	if err != nil {
		return "", err
	}
	p.log.Info("Creating the image " + name + "...")
	image := &compute.Image{
		Name: name, Description: describe("image", p.image.Digest), Family: plain(p.image.Name), Architecture: "X86_64", Labels: p.labels(),
		RawDisk:         &compute.ImageRawDisk{ContainerType: "TAR", Source: "https://storage.googleapis.com/" + p.config.Bucket + "/" + object},
		GuestOsFeatures: []*compute.GuestOsFeature{{Type: "UEFI_COMPATIBLE"}, {Type: "GVNIC"}},
	}
	if p.config.KMSKey != "" {
		image.ImageEncryptionKey = &compute.CustomerEncryptionKey{KmsKeyName: p.config.KMSKey}
	}
	if p.config.StorageLocation != "" {
		image.StorageLocations = []string{p.config.StorageLocation}
	}
	operation, err := p.clients.Compute.Images.Insert(p.config.Project, image).Context(ctx).Do()
	if err != nil {
		return "", fmt.Errorf("cannot create the image: %w", err)
	}
	p.changed = true
	p.undo.Made("image "+name, "gcloud compute images delete "+name+" --project "+p.config.Project, func(ctx context.Context) error {
		operation, err := p.clients.Compute.Images.Delete(p.config.Project, name).Context(ctx).Do()
		if isStatus(err, http.StatusNotFound) { // an image that failed is not always there
			return nil
		}
		return p.wait(ctx, operation, err)
	})
	if err := p.wait(ctx, operation, nil); err != nil {
		return "", fmt.Errorf("cannot create the image: %w", err)
	}
	there, err := p.clients.Compute.Images.Get(p.config.Project, name).Context(ctx).Do()
	if err != nil {
		return "", fmt.Errorf("cannot look at the image: %w", err)
	}
	if there.Status != ready {
		return "", fmt.Errorf("the image %s is %s and not %s", name, there.Status, ready)
	}
	if err := p.clients.Storage.Objects.Delete(p.config.Bucket, object).Context(ctx).Do(); err != nil && !isStatus(err, http.StatusNotFound) {
		return "", fmt.Errorf("cannot remove the uploaded disk: %w", err)
	}
	return p.imagePath(), nil
}

// sameImage judges an image that has our name.
func (p *publication) sameImage(there *compute.Image) error {
	if there.Description != describe("image", p.image.Digest) {
		return fmt.Errorf("the image %s is there, and is not of this disk: remove it, or choose another image_name", there.Name)
	}
	if there.Status != ready {
		return fmt.Errorf("the image %s is there, and is %s: wait until another build has made it, or remove it", there.Name, there.Status)
	}
	p.log.Info("The image " + there.Name + " is there already")
	return nil
}

// describe is the description of what was made; it tells by all digits what a name tells by twelve.
func describe(what, digest string) string { return "strongroom " + what + " " + digest }

// upload puts the disk into the bucket, and gives the object's name. The object is ours alone: nothing reads it but the
// image that is made of it.
func (p *publication) upload(ctx context.Context, name string) (string, error) {
	object := "strongroom/" + name
	disk, err := os.Open(p.image.File)
	if err != nil {
		return "", err
	}
	defer disk.Close()
	sum := crc32.New(crc32.MakeTable(crc32.Castagnoli))
	if _, err := io.Copy(sum, disk); err != nil {
		return "", fmt.Errorf("cannot read %s: %w", p.image.File, err)
	}
	if _, err := disk.Seek(0, io.SeekStart); err != nil {
		return "", err
	}
	p.log.Info("Uploading " + p.image.File + " to gs://" + p.config.Bucket + "/" + object + "...")
	p.undo.Made("object gs://"+p.config.Bucket+"/"+object, "gcloud storage rm gs://"+p.config.Bucket+"/"+object, func(ctx context.Context) error {
		err := p.clients.Storage.Objects.Delete(p.config.Bucket, object).Context(ctx).Do()
		if isStatus(err, http.StatusNotFound) {
			return nil
		}
		return err
	})
	_, err = p.clients.Storage.Objects.Insert(p.config.Bucket, &storage.Object{
		Name: object, ContentType: "application/gzip", Crc32c: base64.StdEncoding.EncodeToString(binary.BigEndian.AppendUint32(nil, sum.Sum32())),
	}).Media(disk, googleapi.ContentType("application/gzip")).Context(ctx).Do()
	if err != nil {
		return "", fmt.Errorf("cannot upload the disk: %w", err)
	}
	return object, nil
}

// wait waits for an operation; err is that of the request which began it.
func (p *publication) wait(ctx context.Context, operation *compute.Operation, err error) error {
	for err == nil && operation.Status != done {
		// Wait answers after two minutes at the latest, done or not.
		operation, err = p.clients.Compute.GlobalOperations.Wait(p.config.Project, operation.Name).Context(ctx).Do()
	}
	if err != nil {
		return err
	}
	if operation.Error != nil && len(operation.Error.Errors) > 0 {
		e := operation.Error.Errors[0]
		return fmt.Errorf("%s: %s", e.Code, e.Message)
	}
	return nil
}

// template says how an instance starts. Its name has a digest of all that it says.
func (p *publication) template() (*compute.InstanceTemplate, error) {
	disk := &compute.AttachedDisk{
		Boot: true, AutoDelete: true, Type: "PERSISTENT", Mode: "READ_WRITE",
		// The server's data, audit and var are partitions of the root disk (systemd-repart): one disk.
		InitializeParams: &compute.AttachedDiskInitializeParams{SourceImage: p.imagePath(), DiskType: "pd-balanced", DiskSizeGb: p.config.DiskSize, Labels: p.labels()},
	}
	if p.config.KMSKey != "" {
		disk.DiskEncryptionKey = &compute.CustomerEncryptionKey{KmsKeyName: p.config.KMSKey}
	}
	yes := func(text string) *string { return &text }
	metadata := []*compute.MetadataItems{{Key: "block-project-ssh-keys", Value: yes("TRUE")}, {Key: "serial-port-enable", Value: yes("FALSE")}}
	if len(p.request.NodeConfig) > 0 {
		metadata = append(metadata, &compute.MetadataItems{Key: metadataKey, Value: yes(string(p.request.NodeConfig))})
	}
	properties := &compute.InstanceProperties{
		MachineType: p.config.MachineType, Disks: []*compute.AttachedDisk{disk}, Labels: p.labels(), Metadata: &compute.Metadata{Items: metadata},
		// No accessConfigs: no public address.
		NetworkInterfaces: []*compute.NetworkInterface{{Network: p.config.Network, Subnetwork: p.config.Subnetwork, NicType: "GVNIC"}},
		ShieldedInstanceConfig: &compute.ShieldedInstanceConfig{
			EnableSecureBoot: p.config.SecureBoot, EnableVtpm: true, EnableIntegrityMonitoring: true, ForceSendFields: []string{"EnableSecureBoot"},
		},
		Scheduling: &compute.Scheduling{AutomaticRestart: googleapi.Bool(true), OnHostMaintenance: "MIGRATE"},
	}
	if p.config.ServiceAccount != "" {
		properties.ServiceAccounts = []*compute.ServiceAccount{{Email: p.config.ServiceAccount, Scopes: []string{compute.CloudPlatformScope}}}
	}
	if len(p.config.NetworkTags) > 0 {
		properties.Tags = &compute.Tags{Items: slices.Sorted(slices.Values(p.config.NetworkTags))}
	}
	text, err := json.Marshal(properties)
	if err != nil {
		return nil, err
	}
	digest := digestOf("1", string(text))
	return &compute.InstanceTemplate{Name: p.request.Name + "-" + digest[:shortDigest], Description: describe("template", digest), Properties: properties}, nil
}

func (p *publication) findOrMakeTemplate(ctx context.Context, template *compute.InstanceTemplate) error {
	switch there, err := p.clients.Compute.InstanceTemplates.Get(p.config.Project, template.Name).Context(ctx).Do(); {
	case err == nil && there.Description == template.Description:
		return nil
	case err == nil:
		return fmt.Errorf("the instance template %s is there, and says something else: remove it, or choose another name", template.Name)
	case !isStatus(err, http.StatusNotFound):
		return fmt.Errorf("cannot look for the instance template: %w", err)
	}
	p.log.Info("Creating the instance template " + template.Name + "...")
	operation, err := p.clients.Compute.InstanceTemplates.Insert(p.config.Project, template).Context(ctx).Do()
	if err != nil {
		return fmt.Errorf("cannot create the instance template: %w", err)
	}
	p.changed = true
	p.undo.Made("instance template "+template.Name, "gcloud compute instance-templates delete "+template.Name+" --project "+p.config.Project, func(ctx context.Context) error {
		operation, err := p.clients.Compute.InstanceTemplates.Delete(p.config.Project, template.Name).Context(ctx).Do()
		if isStatus(err, http.StatusNotFound) {
			return nil
		}
		return p.wait(ctx, operation, err)
	})
	if err := p.wait(ctx, operation, nil); err != nil {
		return fmt.Errorf("cannot create the instance template: %w", err)
	}
	return nil
}
