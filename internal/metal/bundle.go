package metal

import (
	"archive/tar"
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"maps"
	"path"
	"slices"
	"time"

	"github.com/strongroom/strongroom/internal/harden"
	"github.com/strongroom/strongroom/internal/image"
	"github.com/strongroom/strongroom/internal/sign"
)

// Bundle is everything that a server serves to the machines that install themselves.
type Bundle struct {
	Installer string
	Files     map[string][]byte // by name
	Programs  []Program         // by name, from this machine's disk
}

// Program is a file of a bundle that is too big to hold.
type Program struct {
	Name, Source, SHA256 string
	Size                 int64
}

// Manifest says what a bundle is: the file manifest.json.
type Manifest struct {
	Schema        string         `json:"schema"` // "strongroom.metal/v1"
	Distribution  string         `json:"distribution"`
	Installer     string         `json:"installer"` // preseed, kickstart or autoinstall
	Disk          string         `json:"disk"`
	Baseline      string         `json:"baseline"`       // digest of what hostcheck judges the machine by
	OverlaySHA256 string         `json:"overlay_sha256"` // as in the manifest of an image
	Files         []ManifestFile `json:"files"`
}

// ManifestFile is a file beside the manifest.
type ManifestFile struct {
	Name   string `json:"name"`
	Size   int64  `json:"size"`
	SHA256 string `json:"sha256"`
}

// ManifestName is the name of the manifest.
const ManifestName = "manifest.json"

// SignatureName is the name of the signature over the manifest, as gpgv takes it.
const SignatureName = ManifestName + ".sig"

// Sign signs the manifest, which has the digests of all other files. No installer reads the signature: what an installer fetches is pinned by its answers, and those
// come by a way that is trusted already. It is for whoever carries the directory to the server, or the answers to a machine.
func (b *Bundle) Sign(s sign.Signer) error {
	var signature bytes.Buffer
	if err := s.Sign(&signature, bytes.NewReader(b.Files[ManifestName])); err != nil {
		return fmt.Errorf("cannot sign %s: %w", ManifestName, err)
	}
	b.Files[SignatureName] = signature.Bytes()
	return nil
}

// Make renders a bundle. The programs of the spec are looked at on this machine's disk; baseline is the digest of the statement in the overlay. What is
// rendered is read again by the strict checks.
func Make(c Config, spec harden.Spec, baseline string) (*Bundle, error) {
	if err := c.Complete(); err != nil {
		return nil, err
	}
	tree, err := spec.Overlay(c.Distribution)
	if err != nil {
		return nil, err
	}
	overlay, err := tree.Tar()
	if err != nil {
		return nil, err
	}
	kit, err := harden.Kit(spec, c.Distribution, digest(overlay))
	if err != nil {
		return nil, err
	}
	packed, err := pack(kit)
	if err != nil {
		return nil, err
	}
	b := &Bundle{Installer: Installer(c.Distribution), Files: map[string][]byte{OverlayName: overlay, KitName: packed}}
	served := []Served{{OverlayName, digest(overlay), "now.tar"}, {KitName, digest(packed), KitName}}
	installed, err := image.InspectBinaries(spec.Programs)
	if err != nil {
		return nil, err
	}
	for i, p := range installed {
		name := path.Base(p.Path)
		b.Programs = append(b.Programs, Program{name, spec.Programs[i].Source, p.SHA256, p.Size})
		served = append(served, Served{name, p.SHA256, fmt.Sprintf("program-%d", i)})
	}
	script := Script(c, served)
	b.Files[ScriptName] = script
	answers := render(c, digest(script))
	if err := Check(FileName(b.Installer), answers); err != nil {
		return nil, fmt.Errorf("what was rendered does not pass the strict checks, which is a mistake in this program: %w", err)
	}
	b.Files[FileName(b.Installer)] = answers
	if b.Installer == Autoinstall {
		b.Files["meta-data"] = []byte("instance-id: strongroom\n") // cloud-init wants one beside the user data
	}
	m := Manifest{
		Schema: "strongroom.metal/v1", Distribution: c.Distribution.ID, Installer: b.Installer, Disk: c.Disk, Baseline: baseline, OverlaySHA256: digest(overlay),
	}
	for _, name := range slices.Sorted(maps.Keys(b.Files)) {
		m.Files = append(m.Files, ManifestFile{name, int64(len(b.Files[name])), digest(b.Files[name])})
	}
	for _, p := range b.Programs {
		m.Files = append(m.Files, ManifestFile{p.Name, p.Size, p.SHA256})
	}
	text, err := json.MarshalIndent(m, "", "  ")
	if err != nil {
		return nil, err
	}
	b.Files[ManifestName] = append(text, '\n')
	return b, nil
}

// render renders the file of the installer that the distribution has.
func render(c Config, digest string) []byte {
	switch Installer(c.Distribution) {
	case Kickstart:
		return RenderKickstart(c, digest)
	case Autoinstall:
		return RenderAutoinstall(c, digest)
	}
	return RenderPreseed(c, digest)
}

// pack makes a tar of files. The same files give the same bytes.
func pack(files map[string][]byte) ([]byte, error) {
	var out bytes.Buffer
	w := tar.NewWriter(&out)
	for _, name := range slices.Sorted(maps.Keys(files)) {
		// The oldest format: busybox reads it.
		if err := w.WriteHeader(&tar.Header{Name: name, Mode: 0o600, Size: int64(len(files[name])), ModTime: time.Unix(0, 0), Format: tar.FormatUSTAR}); err != nil {
			return nil, err
		}
		if _, err := w.Write(files[name]); err != nil {
			return nil, err
		}
	}
	err := w.Close()
	return out.Bytes(), err
}

func digest(content []byte) string {
	sum := sha256.Sum256(content)
	return hex.EncodeToString(sum[:])
}

// Digest is the SHA-256 of the manifest, which has those of all other files.
func (b *Bundle) Digest() string { return digest(b.Files[ManifestName]) }
