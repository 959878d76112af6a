// Package netboot is a bundle of files from which machines start over the network: what is in it, the script that iPXE
// runs, signatures that iPXE checks, and a server for trying it out. internal/image bakes the files themselves.
package netboot

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"regexp"

	"github.com/strongroom/strongroom/internal/digest"
	"github.com/strongroom/strongroom/internal/strictjson"
)

// Files of a bundle with a name of their own; the others carry their digest in it.
const (
	ManifestName = "manifest.json"
	ScriptName   = "boot.ipxe"
)

// Schema versions the manifest.
const Schema = "strongroom.netboot/v1"

// Role is what a file of a bundle is for.
type Role string

const (
	UnifiedKernel Role = "uki"       // all of the others in one EFI program
	Kernel        Role = "kernel"    // for firmware without UEFI
	Initrd        Role = "initrd"    // the first of its two archives
	Root          Role = "root"      // the second: root file system and hash tree
	Disk          Role = "disk"      // what a machine installs to its disk; of a bundle that installs
	Signature     Role = "signature" // CMS, detached, of the file before its suffix .sig
	Script        Role = "script"
)

// stems are the names of the files, in two parts that the digest goes between.
var stems = map[Role][2]string{
	UnifiedKernel: {"netboot-", ".efi"}, Kernel: {"vmlinuz-", ""}, Initrd: {"initrd-", ".img"}, Root: {"root-", ".cpio"},
	Disk: {"disk-", ".img"},
}

// Manifest describes a bundle. It lies beside the files.
type Manifest struct {
	Schema      string `json:"schema"`
	Name        string `json:"name"`         // IMAGE_ID
	Version     string `json:"version"`      // IMAGE_VERSION
	Profile     string `json:"profile"`      // "vault/metal"
	RootHash    string `json:"root_hash"`    // dm-verity, hex; the same as that of the disk image
	Kernel      string `json:"kernel"`       // release
	CommandLine string `json:"command_line"` // of the kernel: in the unified kernel image, and in the script
	Signed      bool   `json:"signed"`       // whether the script has signatures checked
	Files       []File `json:"files"`        // all but this one
}

// File is one file of a bundle.
type File struct {
	Role   Role   `json:"role"`
	Name   string `json:"name"`
	Size   int64  `json:"size"`   // bytes
	SHA256 string `json:"sha256"` // hex
}

// NameOf is the name of a file with these contents: another image's file never has it, so that a script cannot pick up
// what a half-finished upload has left, nor a cache serve it.
func NameOf(role Role, digest string) string {
	return stems[role][0] + digest[:16] + stems[role][1]
}

// file is the one with a role that only one has.
func (m Manifest) file(role Role) File {
	for _, f := range m.Files {
		if f.Role == role {
			return f
		}
	}
	return File{}
}

var (
	fileName  = regexp.MustCompile(`^[a-z0-9][a-z0-9.-]{0,127}$`)
	hexDigest = regexp.MustCompile(`^[0-9a-f]{64}$`)
)

// parseManifest refuses what no bake has written.
func parseManifest(text []byte) (Manifest, error) {
	var m Manifest
	if err := strictjson.Document(text, &m); err != nil {
		return Manifest{}, err
	}
	if m.Schema != Schema {
		return Manifest{}, fmt.Errorf("its schema is %q and not %s", m.Schema, Schema)
	}
	if !hexDigest.MatchString(m.RootHash) {
		return Manifest{}, fmt.Errorf("its root hash is %q", m.RootHash)
	}
	seen := map[string]bool{ManifestName: true}
	once := map[Role]bool{}
	for _, f := range m.Files {
		if !fileName.MatchString(f.Name) || seen[f.Name] || !hexDigest.MatchString(f.SHA256) || f.Size < 0 {
			return Manifest{}, fmt.Errorf("it describes the file %q badly", f.Name)
		}
		seen[f.Name] = true
		switch _, named := stems[f.Role]; {
		case named && f.Name != NameOf(f.Role, f.SHA256), f.Role == Script && f.Name != ScriptName:
			return Manifest{}, fmt.Errorf("the file %s of it cannot be its %s", f.Name, f.Role)
		case f.Role == Signature:
			continue
		case !named && f.Role != Script:
			return Manifest{}, fmt.Errorf("nothing is known about a %q", f.Role)
		case once[f.Role]:
			return Manifest{}, fmt.Errorf("it has two files for %s", f.Role)
		}
		once[f.Role] = true
	}
	for _, role := range []Role{UnifiedKernel, Kernel, Initrd, Root, Script} {
		if !once[role] {
			return Manifest{}, fmt.Errorf("it has no %s", role)
		}
	}
	return m, nil
}

const manifestLimit = 1 << 20

// Verify reads the manifest of a bundle and every file that it names: sizes and digests must be those of the manifest,
// and the script must be a script for them.
func Verify(ctx context.Context, bundle fs.FS) (Manifest, error) {
	text, err := readLimited(bundle, ManifestName)
	if err != nil {
		return Manifest{}, err
	}
	m, err := parseManifest(text)
	if err != nil {
		return Manifest{}, fmt.Errorf("cannot use %s: %w", ManifestName, err)
	}
	var errs []error
	for _, f := range m.Files {
		if err := verifyFile(ctx, bundle, f); err != nil {
			errs = append(errs, fmt.Errorf("%s: %w", f.Name, err))
		}
	}
	if len(errs) > 0 {
		return Manifest{}, fmt.Errorf("the files are not those of %s: %w", ManifestName, errors.Join(errs...))
	}
	script, err := readLimited(bundle, ScriptName)
	if err != nil {
		return Manifest{}, err
	}
	if err := CheckScript(script, m); err != nil {
		return Manifest{}, fmt.Errorf("%s: %w", ScriptName, err)
	}
	return m, nil
}

func verifyFile(ctx context.Context, bundle fs.FS, want File) error {
	f, err := bundle.Open(want.Name)
	if err != nil {
		return err
	}
	defer f.Close()
	got, size, err := digest.Of(ctx, f)
	if err != nil {
		return err
	}
	if size != want.Size {
		return fmt.Errorf("it has %d bytes, and %d were baked", size, want.Size)
	}
	if got != want.SHA256 {
		return fmt.Errorf("its SHA-256 is %s, and %s was baked", got, want.SHA256)
	}
	return nil
}

func readLimited(bundle fs.FS, name string) ([]byte, error) {
	f, err := bundle.Open(name)
	if err != nil {
		return nil, fmt.Errorf("cannot read the bundle: %w", err)
	}
	defer f.Close()
	text, err := io.ReadAll(io.LimitReader(f, manifestLimit))
	if err != nil {
		return nil, fmt.Errorf("cannot read %s: %w", name, err)
	}
	return text, nil
}
