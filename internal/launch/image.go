package launch

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"

	"github.com/strongroom/strongroom/internal/digest"
)

// Image is what nodes are to be started from.
type Image struct {
	Name     string // "strongroom-vault"
	Version  string // "1.4.0"
	Profile  string // "vault/vm"; empty: not known
	RootHash string // dm-verity; empty: not known
	Digest   string // SHA-256 of File in hex, or what else tells this image from all others

	File string // the disk in the format that the provider takes; empty: the image is in the cloud already
	Size int64  // of the disk that a machine sees, bytes

	// What node.hcl must agree with. Unknown means that the image is another builder's, and does not say.
	Server      string // "vault", "openbao"
	ClusterPort int
	MemoryLock  bool
	Unknown     bool
}

// manifestLimit bounds what is read of a manifest: one with 2,000 packages has 400 KiB.
const manifestLimit = 16 << 20

// manifest is the part of manifest.json, strongroom.image/v1, that is of use here.
type manifest struct {
	Schema     string            `json:"schema"`
	Name       string            `json:"name"`
	Version    string            `json:"version"`
	Profile    string            `json:"profile"`
	Parameters map[string]string `json:"parameters"`
	RootHash   string            `json:"root_hash"`
	Files      []struct {
		Name        string `json:"name"`
		Format      string `json:"format"`
		VirtualSize int64  `json:"virtual_size"`
		SHA256      string `json:"sha256"`
	} `json:"files"`
}

var (
	hexDigest = regexp.MustCompile(`^[0-9a-f]{64}$`)
	// Names and versions of the builder's images; they become names and tags in a cloud.
	plainName = regexp.MustCompile(`^[a-z0-9][a-z0-9._-]{0,63}$`)
)

// ParseManifest finds the disk of a format in a manifest.json. dir is where the manifest lies.
func ParseManifest(text []byte, dir, format string) (Image, error) {
	var m manifest
	if err := json.Unmarshal(text, &m); err != nil {
		return Image{}, fmt.Errorf("cannot read the manifest: %w", err)
	}
	if m.Schema != "strongroom.image/v1" {
		return Image{}, fmt.Errorf("cannot read the manifest: its schema is %q and not strongroom.image/v1", m.Schema)
	}
	if !plainName.MatchString(m.Name) || !plainName.MatchString(m.Version) {
		return Image{}, errors.New("the manifest has no name and version of an image")
	}
	image := Image{Name: m.Name, Version: m.Version, Profile: m.Profile, RootHash: m.RootHash, MemoryLock: m.Parameters["memory_lock"] == "on"}
	image.Server, _, _ = strings.Cut(m.Profile, "/")
	port, err := strconv.Atoi(m.Parameters["cluster_port"])
	if err != nil || image.Server != "vault" && image.Server != "openbao" {
		return Image{}, errors.New("the manifest does not say what the image was baked for: bake it again with this version of the plugin")
	}
	image.ClusterPort = port
	for _, f := range m.Files {
		if f.Format != format {
			continue
		}
		if f.Name != filepath.Base(f.Name) || f.Name == "." || f.Name == ".." || !hexDigest.MatchString(f.SHA256) || f.VirtualSize <= 0 {
			return Image{}, fmt.Errorf("the manifest describes the disk %q badly", f.Name)
		}
		image.File, image.Digest, image.Size = filepath.Join(dir, f.Name), f.SHA256, f.VirtualSize
		return image, nil
	}
	return Image{}, fmt.Errorf("the image has no disk in the format %s: add %q to formats of the builder", format, format)
}

// OpenImage reads the manifest among an artifact's files, and the disk that it names: what is uploaded must be what
// was baked.
func OpenImage(ctx context.Context, files []string, format string) (Image, error) {
	for _, name := range files {
		if filepath.Base(name) != "manifest.json" {
			continue
		}
		f, err := os.Open(name)
		if err != nil {
			return Image{}, err
		}
		defer f.Close()
		text, err := io.ReadAll(io.LimitReader(f, manifestLimit))
		if err != nil {
			return Image{}, err
		}
		image, err := ParseManifest(text, filepath.Dir(name), format)
		if err != nil {
			return Image{}, err
		}
		return image, image.verify(ctx)
	}
	return Image{}, errors.New("the artifact has no manifest.json: it is not one of the builder strongroom-image")
}

func (i Image) verify(ctx context.Context) error {
	f, err := os.Open(i.File)
	if err != nil {
		return err
	}
	defer f.Close()
	got, _, err := digest.Of(ctx, f)
	if err != nil {
		return fmt.Errorf("cannot read %s: %w", i.File, err)
	}
	if got != i.Digest {
		return fmt.Errorf("%s has sha-256 %s, and its manifest says %s", i.File, got, i.Digest)
	}
	return nil
}
