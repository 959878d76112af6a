package gcp

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"regexp"
	"strings"
	"time"

	"google.golang.org/api/compute/v1"
	"google.golang.org/api/option"
	"google.golang.org/api/storage/v1"
	htransport "google.golang.org/api/transport/http"

	"github.com/strongroom/strongroom/internal/launch"
)

// Config is what a template says about Google Cloud.
type Config struct {
	Project         string
	Bucket          string
	MachineType     string
	Network         string // one of network and subnetwork
	Subnetwork      string
	NetworkTags     []string
	ServiceAccount  string // e-mail; empty: none
	KMSKey          string // projects/…/cryptoKeys/…; empty: Google's own
	StorageLocation string // empty: Google chooses
	DiskSize        int64  // GiB; 0: the image's
	SecureBoot      bool
}

var (
	projectID    = regexp.MustCompile(`^([a-z0-9.-]+:)?[a-z][a-z0-9-]{4,28}[a-z0-9]$`)
	bucketName   = regexp.MustCompile(`^[a-z0-9][a-z0-9._-]{1,220}[a-z0-9]$`)
	resourceName = regexp.MustCompile(`^[a-z]([a-z0-9-]{0,48}[a-z0-9])?$`) // 63 with the digest behind it
	machineType  = regexp.MustCompile(`^[a-z0-9-]+$`)
	networkPath  = regexp.MustCompile(`^[a-zA-Z0-9._:/-]+$`)
	networkTag   = regexp.MustCompile(`^[a-z]([a-z0-9-]{0,61}[a-z0-9])?$`)
	keyPath      = regexp.MustCompile(`^projects/[^/]+/locations/[^/]+/keyRings/[^/]+/cryptoKeys/[^/]+$`)
	labelKey     = regexp.MustCompile(`^[a-z][a-z0-9_-]{0,62}$`)
	labelValue   = regexp.MustCompile(`^[a-z0-9_-]{0,63}$`)
)

// maxMetadata is the limit of one value.
const maxMetadata = 256 << 10

// Check reports everything that is wrong, each with the attribute that it is about. It looks at nothing outside. The name is empty
// while it is not known.
func (c Config) Check(name string, labels map[string]string) error {
	var errs []error
	wrong := func(format string, args ...any) { errs = append(errs, fmt.Errorf(format, args...)) }
	if name != "" && !resourceName.MatchString(name) {
		wrong("name: %q is no name of an instance template: 1 to 50 lower-case letters, digits and dashes, a letter first", name)
	}
	if !projectID.MatchString(c.Project) {
		wrong("gcp.project: %q is no id of a project", c.Project)
	}
	if !bucketName.MatchString(c.Bucket) {
		wrong("gcp.bucket: %q is no name of a bucket of Cloud Storage", c.Bucket)
	}
	if !machineType.MatchString(c.MachineType) {
		wrong("gcp.machine_type: %q is no machine type such as \"n2-standard-2\"", c.MachineType)
	}
	if (c.Network == "") == (c.Subnetwork == "") {
		wrong("gcp.network, gcp.subnetwork: exactly one of the two is needed")
	}
	if !networkPath.MatchString(c.Network + c.Subnetwork) {
		wrong("gcp.network, gcp.subnetwork: %q is no name such as \"projects/p/regions/europe-west3/subnetworks/s\"", c.Network+c.Subnetwork)
	}
	for _, tag := range c.NetworkTags {
		if !networkTag.MatchString(tag) {
			wrong("gcp.network_tags: %q is no network tag", tag)
		}
	}
	if c.ServiceAccount != "" && !strings.Contains(c.ServiceAccount, "@") {
		wrong("gcp.service_account: %q is no e-mail address of a service account", c.ServiceAccount)
	}
	if c.KMSKey != "" && !keyPath.MatchString(c.KMSKey) {
		wrong("gcp.kms_key: %q is not of the form projects/…/locations/…/keyRings/…/cryptoKeys/…", c.KMSKey)
	}
	if c.DiskSize < 0 {
		wrong("gcp.disk_size: %d is not a number of GiB", c.DiskSize)
	}
	for key, value := range labels {
		if !labelKey.MatchString(key) || !labelValue.MatchString(value) {
			wrong("tags: %q = %q is no label of Google Cloud: lower-case letters, digits, _ and -, at most 63 of each", key, value)
		}
	}
	return errors.Join(errs...)
}

// Clients are what talks to Google.
type Clients struct {
	Compute *compute.Service
	Storage *storage.Service
}

// Connect takes credentials as the SDK finds them: application default credentials.
func Connect(ctx context.Context, options ...option.ClientOption) (Clients, error) {
	options = append([]option.ClientOption{option.WithScopes(compute.CloudPlatformScope)}, options...)
	transport, err := htransport.NewTransport(ctx, launch.Patient(time.Second), options...)
	if err != nil {
		return Clients{}, fmt.Errorf("cannot find credentials of Google Cloud: %w", err)
	}
	return NewClients(ctx, &http.Client{Transport: transport}, "")
}

// NewClients makes the clients of an HTTP client. base is where the APIs are; empty: Google's.
func NewClients(ctx context.Context, client *http.Client, base string) (Clients, error) {
	at := func(path string) []option.ClientOption {
		options := []option.ClientOption{option.WithHTTPClient(client)}
		if base != "" {
			options = append(options, option.WithEndpoint(base+path))
		}
		return options
	}
	var c Clients
	var err error
	if c.Compute, err = compute.NewService(ctx, at("/compute/v1/")...); err != nil {
		return c, err
	}
	c.Storage, err = storage.NewService(ctx, at("/storage/v1/")...)
	return c, err
}
