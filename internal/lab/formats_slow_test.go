//go:build boot && slow

package lab

import (
	"path/filepath"
	"testing"

	"github.com/strongroom/strongroom/internal/image"
)

// TestBootFormats boots the disk in the formats of vSphere and Azure: the same root comes up from each.
// It proves the files; the virtual hardware is QEMU's, not that of those platforms.
func TestBootFormats(t *testing.T) {
	if err := bake(t.Context(), recipe{name: "formats", formats: []string{image.FormatVMDK, image.FormatVHD}}); err != nil {
		t.Fatal(err)
	}
	dir := filepath.Join(workDir, "formats")
	manifest, err := readManifest(filepath.Join(dir, image.ManifestName))
	if err != nil {
		t.Fatal(err)
	}
	for _, file := range manifest.Files {
		t.Run(file.Format, func(t *testing.T) {
			t.Parallel()
			t.Logf("%d bytes for a disk of %d", file.Size, file.VirtualSize)
			node := start(t, Config{Disk: newDisk(t, filepath.Join(dir, file.Name)), UUID: NewUUID()})
			verdict := verdictOf(t, node)
			requirePass(t, verdict)
			if verdict.Host.RootHash != manifest.RootHash {
				t.Errorf("the node runs the root %s, want %s", verdict.Host.RootHash, manifest.RootHash)
			}
			powerOff(t, node)
		})
	}
}
