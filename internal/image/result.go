package image

import (
	"time"

	"github.com/strongroom/strongroom/internal/netboot"
)

// Result says what a bake made.
type Result struct {
	Name         string            `json:"name"`
	Version      string            `json:"version"`
	Distribution string            `json:"distribution"`
	Snapshot     string            `json:"snapshot,omitempty"`
	Profile      string            `json:"profile,omitempty"`    // "openbao/vm"
	Parameters   map[string]string `json:"parameters,omitempty"` // of the profile, every one resolved
	BaseKey      string            `json:"base_key"`             // digest of what determines the base tree
	BaseCached   bool              `json:"-"`                    // whether it came from the cache
	Lock         LockFile          `json:"lock"`
	Overlay      string            `json:"overlay_sha256"`
	RootHash     string            `json:"root_hash"` // dm-verity
	Kernel       string            `json:"kernel"`    // release: "6.12.48+deb13-cloud-amd64"
	CommandLine  string            `json:"command_line"`
	Partitions   []Partition       `json:"partitions"`
	Binaries     []InstalledBinary `json:"binaries"`
	Packages     []Package         `json:"packages"`
	Files        []File            `json:"files"`             // artifacts; the manifest itself is not among them
	Netboot      *netboot.Manifest `json:"netboot,omitempty"` // what lies in the directory of that name, if it was asked for
	Beside       []SideFile        `json:"beside,omitempty"`
	Steps        []StepTime        `json:"-"` // a clock's reading is no property of the image
	Dir          string            `json:"-"` // where Publish put the files
}

// File is one artifact: the disk in one format. The root hash of the result is that of all of them.
type File struct {
	Name        string `json:"name"` // relative to the output directory
	Format      string `json:"format"`
	Size        int64  `json:"size"`         // bytes of the file
	VirtualSize int64  `json:"virtual_size"` // bytes of the disk that a machine sees
	SHA256      string `json:"sha256"`       // of the file
}

// SideFile is a file that lies beside the disks: the measurements, the enrolment bundle.
type SideFile struct {
	Name   string `json:"name"` // relative to the output directory: "secure-boot/db.cer"
	Size   int64  `json:"size"`
	SHA256 string `json:"sha256"`
}

// InstalledBinary is a program that came from the host.
type InstalledBinary struct {
	Path   string `json:"path"`
	Size   int64  `json:"size"`
	SHA256 string `json:"sha256"`
}

// Partition is one partition of the disk image.
type Partition struct {
	Label string `json:"label"`
	Type  string `json:"type"` // GUID of the Discoverable Partitions Specification
	UUID  string `json:"uuid"`
	Start int64  `json:"start"` // bytes
	Size  int64  `json:"size"`  // bytes
}

// Package is one entry of the package database, written down before the database is sealed away.
type Package struct {
	Name          string `json:"name"`
	Version       string `json:"version"`
	Architecture  string `json:"architecture"`
	Source        string `json:"source"`
	SourceVersion string `json:"source_version"`
	Sealed        bool   `json:"sealed_away"` // was there at bake time only; its files are not in the image
}

// StepTime is the wall time of one step.
type StepTime struct {
	Step     string
	Duration time.Duration
}
