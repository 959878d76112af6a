//go:build bake

package plugin_test

import (
	"crypto/sha256"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/strongroom/strongroom/internal/metal"
)

// Packer runs the post-processor behind another builder, and hands its artifact on: its id is the digest of the manifest, its files those of the directory.
func TestMetalInAChain(t *testing.T) {
	w := setUp(t)
	dir := t.TempDir()
	text := fmt.Sprintf(`
source "null" "vault" {
  communicator = "none"
}
build {
  sources = ["source.null.vault"]
  post-processors {
    post-processor "strongroom-metal" {
      image_version    = "1.4.0"
      profile          = "vault/metal"
      distribution     = "debian/trixie"
      url              = "https://srv.example/node"
      disk             = "/dev/disk/by-id/ata-DISK_1234"
      hostcheck        = %[1]q
      output_directory = "node"
      vault {
        binary = %[1]q
      }
    }
    post-processor "manifest" {
      output = "packer.json"
    }
  }
}
`, w.hostcheck)
	if err := os.WriteFile(filepath.Join(dir, "test.pkr.hcl"), []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
	if out, code := run(t, w.command(t, dir, "validate", ".")); code != 0 {
		t.Fatalf("packer validate ended with %d: %s", code, out)
	}
	out, code := run(t, w.command(t, dir, "build", "."))
	if code != 0 || !strings.Contains(out, "preseed for Debian 13") {
		t.Fatalf("packer build ended with %d", code)
	}
	manifest, err := os.ReadFile(filepath.Join(dir, "node", metal.ManifestName))
	if err != nil {
		t.Fatal(err)
	}
	var listed metal.Manifest
	if err := json.Unmarshal(manifest, &listed); err != nil {
		t.Fatal(err)
	}
	said, err := os.ReadFile(filepath.Join(dir, "packer.json"))
	if err != nil {
		t.Fatal(err)
	}
	var packer struct {
		Builds []struct {
			ArtifactID string `json:"artifact_id"`
			Files      []struct{ Name string }
		}
	}
	if err := json.Unmarshal(said, &packer); err != nil || len(packer.Builds) != 1 {
		t.Fatalf("%v: %s", err, said)
	}
	if want := "sha256:" + fmt.Sprintf("%x", sha256.Sum256(manifest)); packer.Builds[0].ArtifactID != want {
		t.Errorf("the artifact is %s, the manifest %s", packer.Builds[0].ArtifactID, want)
	}
	if got, want := len(packer.Builds[0].Files), len(listed.Files)+1; got != want {
		t.Errorf("%d files, want %d: %s", got, want, said)
	}
	for _, f := range listed.Files {
		content, err := os.ReadFile(filepath.Join(dir, "node", f.Name))
		if err != nil || fmt.Sprintf("%x", sha256.Sum256(content)) != f.SHA256 || int64(len(content)) != f.Size {
			t.Errorf("%s: %v", f.Name, err)
		}
	}

	// A mistake ends the build before anything runs.
	broken := strings.Replace(text, "https://srv.example", "http://srv.example", 1)
	if err := os.WriteFile(filepath.Join(dir, "test.pkr.hcl"), []byte(broken), 0o644); err != nil {
		t.Fatal(err)
	}
	if out, code := run(t, w.command(t, dir, "build", ".")); code == 0 || !strings.Contains(out, "https://host/path") {
		t.Errorf("packer build with an http URL ended with %d: %s", code, out)
	}
}
