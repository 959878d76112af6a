package inspect

import (
	"fmt"
	"slices"

	"github.com/strongroom/strongroom/internal/leaks"
	"github.com/strongroom/strongroom/internal/measure"
)

// Schema versions the document.
const Schema = "strongroom.inspection/v1"

// Verdict is that of a check, and of them all.
type Verdict string

// Verdicts.
const (
	Pass    Verdict = "pass"
	Fail    Verdict = "fail"
	Unknown Verdict = "unknown" // nothing here tells, so nobody may take it for a pass
	Absent  Verdict = "absent"  // it is not there, and an image does not have to have it
)

// Inspection is what was found out about one image.
type Inspection struct {
	Schema  string  `json:"schema"`
	Image   Image   `json:"image"`
	Verdict Verdict `json:"verdict"` // fail: a check failed; unknown: of one nothing could be said
	Checks  []Check `json:"checks"`

	Table     *Table     `json:"partition_table,omitempty"`
	Verity    *Verity    `json:"verity,omitempty"`
	Kernels   []Kernel   `json:"kernels,omitempty"`
	Root      *Root      `json:"root,omitempty"`
	Hardening *Hardening `json:"hardening,omitempty"`
}

// Image is the file or directory.
type Image struct {
	Path   string `json:"path"`
	Format string `json:"format"`            // "raw", "qcow2", "vmdk", "vhd", "raw.tar.gz", "netboot", "kernel"
	Files  []File `json:"files,omitempty"`   // of a directory
	Size   int64  `json:"size,omitempty"`    // bytes of the file
	Disk   int64  `json:"virtual,omitempty"` // bytes of the disk that a machine sees
}

// File is one file of a directory, compared with the manifest beside it.
type File struct {
	Name   string `json:"name"`
	Size   int64  `json:"size"`
	SHA256 string `json:"sha256"`
}

// Check is one question and its answer.
type Check struct {
	ID      string  `json:"id"`
	Verdict Verdict `json:"verdict"`
	Where   string  `json:"where,omitempty"` // "partition 2 (strongroom-root)"
	Says    string  `json:"says"`
	Hint    string  `json:"hint,omitempty"`
}

// Table is the partition table.
type Table struct {
	Disk       string      `json:"disk"` // GUID
	Partitions []Partition `json:"partitions"`
}

// Partition is one entry of it.
type Partition struct {
	Number  int    `json:"number"`
	Label   string `json:"label"`
	Type    string `json:"type"`              // GUID
	Name    string `json:"type_name"`         // of the type, by the Discoverable Partitions Specification; "unknown"
	UUID    string `json:"uuid"`              //
	Start   int64  `json:"start"`             // bytes
	Size    int64  `json:"size"`              // bytes
	Content string `json:"content"`           // "squashfs", "fat", "ext", "empty", "unknown", …
	Flags   string `json:"flags,omitempty"`   // attributes, hex
	Files   []File `json:"files,omitempty"`   // of an EFI system partition
	Used    int64  `json:"covered,omitempty"` // bytes that the file system or the hash tree takes
}

// Verity is the hash tree of the root.
type Verity struct {
	RootHash   string `json:"root_hash"` // of the tree as it is
	Algorithm  string `json:"algorithm"`
	Salt       string `json:"salt"`
	UUID       string `json:"uuid"`
	BlockSize  int64  `json:"block_size"`
	Blocks     int64  `json:"blocks"`
	BadBlocks  int64  `json:"bad_blocks"`  // of the data
	BadHashes  int64  `json:"bad_hashes"`  // blocks of the tree
	Unverified int64  `json:"unverified"`  // blocks of data below a part of the tree that is broken
	SaidBy     []Said `json:"promised_by"` // who says which root hash
}

// Said is a root hash and who says so.
type Said struct {
	By       string `json:"by"`
	RootHash string `json:"root_hash"`
}

// Kernel is a unified kernel image.
type Kernel struct {
	Path         string               `json:"path"`
	Size         int64                `json:"size"`
	SHA256       string               `json:"sha256"`
	Authenticode string               `json:"authenticode"`
	Stub         string               `json:"stub,omitempty"`
	Release      string               `json:"release,omitempty"`
	CommandLine  string               `json:"command_line,omitempty"`
	Sections     []Section            `json:"sections"`
	Signers      []Signer             `json:"signers,omitempty"`
	PolicyKey    string               `json:"policy_key,omitempty"` // SHA-256 of the key that signed the policies in .pcrsig
	PCR11        []measure.PhaseValue `json:"pcr11,omitempty"`
}

// Section is one section of the program.
type Section struct {
	Name   string `json:"name"`
	Size   int64  `json:"size"`
	SHA256 string `json:"sha256"`
}

// Signer is who a signature says has made it.
type Signer struct {
	Subject string `json:"subject"`
	SHA256  string `json:"sha256"` // of the certificate in DER form
	Trusted bool   `json:"trusted"`
}

// Root is the root file system.
type Root struct {
	FileSystem  string `json:"file_system"` // "squashfs (zstd)"
	ImageID     string `json:"image_id,omitempty"`
	Version     string `json:"image_version,omitempty"`
	System      string `json:"system,omitempty"` // PRETTY_NAME
	Files       int    `json:"files"`
	Bytes       int64  `json:"bytes"`        // of all files' content
	PackedBytes int64  `json:"packed_bytes"` // of the file system

	Privileged  []Privileged `json:"privileged"`  // files that give rights to whoever runs them
	Enabled     []string     `json:"enabled"`     // units that something wants or requires, by what is in /etc and /usr/lib
	Listening   []Listening  `json:"listening"`   // sockets that systemd opens
	Directories []Directory  `json:"directories"` // the largest ones
	Packages    []Package    `json:"packages"`
	PackagesBy  string       `json:"packages_by,omitempty"` // where that list was
	Bills       []Bill       `json:"bills"`                 // of materials

	Leaks []leaks.Finding `json:"leaks"` // what must not be in an image; never the secret itself
}

// Privileged is a file that gives its runner more than the runner has.
type Privileged struct {
	Path       string `json:"path"`
	Mode       string `json:"mode"` // "4755"
	UID        uint32 `json:"uid"`
	GID        uint32 `json:"gid"`
	Capability string `json:"capability,omitempty"` // security.capability, hex
}

// Listening is an address on which systemd listens for a unit.
type Listening struct {
	Unit    string `json:"unit"`
	Address string `json:"address"`
	Network bool   `json:"network"` // reachable from outside of the machine, and not only by a path
	Enabled bool   `json:"enabled"`
}

// Directory is a directory with everything below it.
type Directory struct {
	Path  string `json:"path"`
	Files int    `json:"files"`
	Bytes int64  `json:"bytes"`
}

// Package is an installed package.
type Package struct {
	Name    string `json:"name"`
	Version string `json:"version"`
}

// Hardening is what the image states of itself and how far it holds on the tree.
type Hardening struct {
	Baseline string         `json:"baseline"` // SHA-256
	Profile  string         `json:"profile"`  // "vault/vm"
	Verdict  string         `json:"verdict"`  // of hostcheck's stage image
	Controls map[string]int `json:"controls"` // number by outcome
	Failed   []Finding      `json:"failed"`   // what fails, or could not be told
}

// Finding is a control that does not hold.
type Finding struct {
	Control  string `json:"control"`
	Severity string `json:"severity"`
	Outcome  string `json:"outcome"`
	Source   string `json:"source"`
	Want     string `json:"want,omitempty"`
	Got      string `json:"got,omitempty"`
}

// add notes an answer.
func (i *Inspection) add(id string, v Verdict, where, says string, args ...any) *Check {
	i.Checks = append(i.Checks, Check{ID: id, Verdict: v, Where: where, Says: fmt.Sprintf(says, args...)})
	return &i.Checks[len(i.Checks)-1]
}

// judge notes a pass, or a failure in the words of err.
func (i *Inspection) judge(id, where string, err error, good string, args ...any) {
	if err != nil {
		i.add(id, Fail, where, "%v", err)
		return
	}
	i.add(id, Pass, where, good, args...)
}

// finish makes the verdict of all checks, and lists out of what is nil.
func (i *Inspection) finish() {
	i.Schema, i.Verdict = Schema, Pass
	has := func(v Verdict) bool {
		return slices.ContainsFunc(i.Checks, func(c Check) bool { return c.Verdict == v })
	}
	switch {
	case has(Fail):
		i.Verdict = Fail
	case has(Unknown), !has(Pass):
		i.Verdict = Unknown
	}
	if r := i.Root; r != nil {
		r.Privileged, r.Enabled, r.Listening = filled(r.Privileged), filled(r.Enabled), filled(r.Listening)
		r.Directories, r.Packages, r.Bills = filled(r.Directories), filled(r.Packages), filled(r.Bills)
	}
	if h := i.Hardening; h != nil {
		h.Failed = filled(h.Failed)
	}
	if v := i.Verity; v != nil {
		v.SaidBy = filled(v.SaidBy)
	}
	i.Checks = filled(i.Checks)
}

func filled[T any](list []T) []T {
	if list == nil {
		return []T{}
	}
	return list
}
