package plugin

import (
	"cmp"
	"crypto"
	"errors"
	"fmt"
	"path/filepath"
	"slices"
	"time"

	packersdk "github.com/hashicorp/packer-plugin-sdk/packer"
	"github.com/hashicorp/packer-plugin-sdk/template/config"

	"github.com/strongroom/strongroom/internal/baseline"
	"github.com/strongroom/strongroom/internal/image"
	"github.com/strongroom/strongroom/internal/leaks"
)

// plan is a configuration that holds water: what internal/image needs, and what the steps
// around it need.
type plan struct {
	spec           image.Spec
	baselineDigest string
	overlayDigest  string
	hostcheck      string // "" until the build starts, where the template does not name it
	boot           *bootPlan
	signing        *signingPlan
}

// signingPlan is how the bake's statement is signed.
type signingPlan struct {
	key        crypto.Signer // nil until the build starts
	validUntil time.Time     // zero is without end
}

// bootPlan is the machine of the boot test.
type bootPlan struct {
	memory  int64 // bytes
	cpus    int
	timeout time.Duration
}

// hostcheckPath is where the agent lies in the image.
const hostcheckPath = "/usr/bin/hostcheck"

// layout is the only one that this builder makes: it owns the disk and the boot chain.
const layout = "sealed"

func (c *Config) decode(raws ...any) error {
	return config.Decode(c, &config.DecodeOpts{
		PluginType:         BuilderID,
		Interpolate:        true,
		InterpolateContext: &c.ctx,
	}, raws...)
}

// mistakes collects what is wrong with a configuration, each with the attribute it is about.
type mistakes struct{ err *packersdk.MultiError }

func (m *mistakes) add(attribute, format string, args ...any) {
	m.err = packersdk.MultiErrorAppend(m.err, fmt.Errorf(attribute+": "+format, args...))
}

// plan fills in the defaults and checks everything that can be checked without looking at
// this machine.
func (c *Config) plan(load func() (*baseline.Catalogue, error)) (plan, error) {
	var wrong mistakes

	c.Distribution = cmp.Or(c.Distribution, "debian/trixie")
	product, binary := c.defaults(&wrong)
	c.DataPartitionSize = cmp.Or(c.DataPartitionSize, "4GiB")
	c.OutputDirectory = cmp.Or(c.OutputDirectory, "output-"+c.PackerBuildName)
	c.CacheDirectory = cmp.Or(c.CacheDirectory, userCache("image"))
	if c.Formats == nil {
		c.Formats = []string{image.FormatRaw, image.FormatQCOW2}
	}

	dataSize, err := parseSize(c.DataPartitionSize)
	if err != nil {
		wrong.add("data_partition_size", "%w", err)
	}
	epoch, err := image.SourceDateEpoch(c.Snapshot)
	if err != nil {
		wrong.add("environment", "%w", err)
	}

	p := plan{hostcheck: c.Hostcheck, boot: c.BootTest.plan(&wrong), signing: c.Signing.plan(&wrong)}
	p.spec = image.Spec{
		Name:         c.ImageName,
		Version:      c.ImageVersion,
		Distribution: c.Distribution,
		Mirror:       c.Mirror,
		Snapshot:     c.Snapshot,
		Packages:     c.Packages,
		ShipsLogs:    c.Parameters[baseline.LogShipping] == baseline.JournalUpload,
		LockFile:     c.LockFile,
		Binaries: []image.Binary{
			binary,
			{Source: cmp.Or(c.Hostcheck, "hostcheck"), Path: hostcheckPath, SHA256: c.agentDigest},
		},
		Formats:   mainDiskFirst(c.Formats),
		Netboot:   c.Netboot.plan(),
		DataSize:  dataSize,
		Epoch:     epoch,
		OutputDir: c.OutputDirectory,
		Replace:   c.PackerForce,
		CacheDir:  c.CacheDirectory,
	}
	for _, a := range c.AllowLeak {
		p.spec.AllowedLeaks = append(p.spec.AllowedLeaks, leaks.Allowance{Path: a.Path, Kind: a.Kind, Fingerprint: a.Fingerprint, Reason: a.Reason})
	}
	c.checkSpec(p.spec, &wrong)
	c.checkKeys(&wrong)
	if c.Netboot != nil && !slices.Contains(c.Formats, image.FormatNetboot) {
		wrong.add("netboot", "nothing is made of it: add %q to formats", image.FormatNetboot)
	}
	if c.Netboot != nil && c.Netboot.InstallDisk != "" && c.NodeConfigCA == "" && c.Parameters[authorityParameter] == "" {
		wrong.add("netboot", "install_url: no authority vouches for its server: give %s", authorityParameter)
	}
	if p.boot != nil && slices.Equal(c.Formats, []string{image.FormatTarGz}) {
		wrong.add("boot_test", "no machine boots %s alone: add raw, qcow2, vmdk or vhd to formats", image.FormatTarGz)
	}
	distribution := c.Distribution
	if known := baseline.Distributions(layout); !slices.Contains(known, distribution) {
		distribution = known[0] // reported by checkSpec
	}
	stated := c.compile(load, product, binary.SHA256, layout, distribution, &wrong)
	if wrong.err != nil {
		return plan{}, wrong.err
	}
	p.spec.Hardware = stated.profile.Platform == "metal"
	p.spec.Profile, p.spec.Parameters = stated.profile.Server+"/"+stated.profile.Platform, stated.profile.Parameters
	p.spec.Overlay, p.baselineDigest, p.overlayDigest = stated.overlay, stated.digest, stated.overlayDigest
	return p, nil
}

// plan is the block as the bake takes it; what a missing one lacks, the check of the spec says.
func (c *NetbootConfig) plan() image.Netboot {
	if c == nil {
		return image.Netboot{}
	}
	return image.Netboot{DataDisk: c.DataDisk, InstallDisk: c.InstallDisk, InstallURL: c.InstallURL, KeyFile: c.SigningKey, CertificateFile: c.SigningCertificate}
}

// mainDiskFirst puts the raw disk first: post-processors take the first file for the image.
func mainDiskFirst(formats []string) []string {
	sorted := slices.Clone(formats)
	if i := slices.Index(sorted, image.FormatRaw); i > 0 {
		sorted[0], sorted[i] = sorted[i], sorted[0]
	}
	return sorted
}

// bootFormat is the format that the boot test boots: the first that QEMU can open.
func bootFormat(formats []string) string {
	for _, f := range formats {
		if image.QEMUDriver(f) != "" {
			return f
		}
	}
	return ""
}

// attributes names the attribute that each field of an image.Spec comes from.
var attributes = map[string]string{
	"Name":         "image_name",
	"Version":      "image_version",
	"Distribution": "distribution",
	"Mirror":       "mirror",
	"Snapshot":     "snapshot",
	"Packages":     "packages",
	"Formats":      "formats",
	"Netboot":      "netboot",
	"DataSize":     "data_partition_size",
	"Epoch":        "environment: SOURCE_DATE_EPOCH",
	"OutputDir":    "output_directory",
	"CacheDir":     "cache_directory",
	"AllowedLeaks": "allow_leak",
}

// checkSpec reports what internal/image finds in the spec, but for what plan has said in
// better words already.
func (c *Config) checkSpec(s image.Spec, wrong *mistakes) {
	for _, err := range image.Validate(s) {
		var field *image.FieldError
		if !errors.As(err, &field) {
			wrong.add("strongroom-image", "%w", err)
			continue
		}
		if field.Field == "Binaries" || field.Field == "Version" && c.ImageVersion == "" || field.Field == "Epoch" && s.Epoch.IsZero() {
			continue
		}
		wrong.add(cmp.Or(attributes[field.Field], field.Field), "%w", field.Err)
	}
}

func unjoin(err error) []error {
	if joined, ok := err.(interface{ Unwrap() []error }); ok {
		return joined.Unwrap()
	}
	return []error{err}
}

// plan fills in the machine; a nil block means that nothing is booted.
func (t *BootTestConfig) plan(wrong *mistakes) *bootPlan {
	if t == nil {
		return nil
	}
	p := &bootPlan{cpus: cmp.Or(t.CPUs, 2), timeout: cmp.Or(t.Timeout, 10*time.Minute)}
	if p.cpus < 1 {
		wrong.add("boot_test.cpus", "%d is not a number of processors: give 1 or more", t.CPUs)
	}
	if p.timeout < time.Second {
		wrong.add("boot_test.timeout", "%s is too short: give a duration such as \"10m\"", t.Timeout)
	}
	var err error
	if p.memory, err = parseSize(cmp.Or(t.Memory, "1GiB")); err != nil {
		wrong.add("boot_test.memory", "%w", err)
	} else if p.memory < 512<<20 {
		wrong.add("boot_test.memory", "%s is too little to boot a node: give 512MiB or more", t.Memory)
	}
	return p
}

// generatedData is what provisioners read as build.NAME.
func (p plan) generatedData() map[string]any {
	return map[string]any{
		varImageName:      p.spec.Name,
		varImageVersion:   p.spec.Version,
		varBaselineDigest: p.baselineDigest,
		varOverlayDigest:  p.overlayDigest,
	}
}

// userCache is where this user's cache of that name lies, or "".
func userCache(name string) string {
	dir, err := image.UserCache()
	if err != nil {
		return ""
	}
	return filepath.Join(dir, name)
}
