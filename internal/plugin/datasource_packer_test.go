//go:build bake

package plugin_test

import (
	"crypto/sha256"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// A mirror on this machine, with a made-up release and key: the real Packer reads the data source and hands its output to
// a build and to the builder strongroom-image.
func TestRelease(t *testing.T) {
	w := setUp(t)
	v := newVendor(t, []byte("the program"))
	dir := t.TempDir()
	v.write(t, dir)
	template := fmt.Sprintf(`
variable "cache" {}
variable "offline" { default = false }
data "strongroom-release" "vault" {
  %s
  cache_directory = var.cache
  offline         = var.offline
}
source "null" "test" { communicator = "none" }
source "strongroom-image" "test" {
  image_version = "1.0.0"
  vault {
    binary = data.strongroom-release.vault.path
    sha256 = data.strongroom-release.vault.sha256
  }
}
build {
  sources = ["source.null.test", "source.strongroom-image.test"]
  provisioner "shell-local" {
    only   = ["null.test"]
    inline = ["echo got ${data.strongroom-release.vault.product} ${data.strongroom-release.vault.version} ${data.strongroom-release.vault.sha256}; cat ${data.strongroom-release.vault.path}; echo"]
  }
}
`, v.attributes())
	if err := os.WriteFile(filepath.Join(dir, "test.pkr.hcl"), []byte(template), 0o644); err != nil {
		t.Fatal(err)
	}
	got := fmt.Sprintf("got vault 1.21.1 %x", sha256.Sum256([]byte("the program")))
	packer := func(wire string, args ...string) (string, int) {
		cmd := w.command(t, dir, append(args, ".")...)
		cmd.Env = append(cmd.Env, wire)
		return run(t, cmd)
	}
	for name, wire := range wires {
		t.Run(name, func(t *testing.T) {
			cache := "cache=" + filepath.Join(t.TempDir(), "cache")
			if out, code := packer(wire, "validate", "-var", cache); code != 0 {
				t.Errorf("packer validate: %s", out)
			}
			if out, code := packer(wire, "build", "-only=null.test", "-var", cache, "-var", "offline=true"); code == 0 || !strings.Contains(out, "offline is set") {
				t.Errorf("offline with an empty cache: exit status %d", code)
			}
			if out, code := packer(wire, "build", "-only=null.test", "-var", cache); code != 0 || !strings.Contains(out, got) || !strings.Contains(out, "the program") {
				t.Errorf("exit status %d, want %q", code, got)
			}
			if out, code := packer(wire, "build", "-only=null.test", "-var", cache, "-var", "offline=true"); code != 0 || !strings.Contains(out, got) {
				t.Errorf("offline: exit status %d, want %q", code, got)
			}
			// The builder takes path and digest as known values.
			if out, code := packer(wire, "validate", "-evaluate-datasources", "-var", cache); code != 0 {
				t.Errorf("packer validate -evaluate-datasources: %s", out)
			}
		})
	}
	v.files["/1.21.1/vault_1.21.1_linux_amd64.zip"] += "x"
	out, code := packer("PACKER_FORCE_GOB=0", "build", "-only=null.test", "-var", "cache="+filepath.Join(t.TempDir(), "cache"))
	if code == 0 || !strings.Contains(out, "and the signed checksums say") {
		t.Errorf("a changed archive: exit status %d", code)
	}
}
