//go:build bake

package plugin_test

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// The real Packer, with a disk that lies there already and a cloud on the loopback: a dry run, the real thing, and again.
func TestLaunchTemplateByPacker(t *testing.T) {
	w := setUp(t)
	for name, wire := range wires {
		t.Run(name, func(t *testing.T) {
			server := awsAccount(t)
			source := baked(t)
			dir := filepath.Dir(source.FilesValue[0])
			config := launchConfig(t, "aws")
			if err := os.WriteFile(filepath.Join(dir, "test.pkr.hcl"), fmt.Appendf(nil, `
variable "dry_run" { default = true }
source "null" "test" { communicator = "none" }
build {
  sources = ["source.null.test"]
  post-processors {
    post-processor "artifice" { files = [%q, %q] }
    post-processor "strongroom-launch-template" {
      name        = "vault"
      node_config = %q
      dry_run     = var.dry_run
      aws {
        region             = "eu-central-1"
        security_group_ids = ["sg-0123456789abcdef0"]
        ssm_parameter      = "/strongroom/vault/ami"
      }
    }
    post-processor "manifest" { output = "packer-manifest.json" }
    post-processor "checksum" { output = "sums" }
  }
}
`, source.FilesValue[0], source.FilesValue[len(source.FilesValue)-1], config["node_config"]), 0o644); err != nil {
				t.Fatal(err)
			}
			packer := func(args ...string) string {
				cmd := w.command(t, dir, append(append([]string{"build"}, args...), ".")...)
				cmd.Env = append(cmd.Env, wire)
				out, code := run(t, cmd)
				if code != 0 {
					t.Fatalf("exit status %d", code)
				}
				return out
			}
			if out := packer(); !strings.Contains(out, "nothing was sent") || len(server.Actions) != 0 {
				t.Errorf("the dry run called %v", server.Actions)
			}
			if out := packer("-var", "dry_run=false"); !strings.Contains(out, "Launch template: lt-") || strings.Contains(out, "unchanged") {
				t.Error("no launch template was made")
			}
			if out := packer("-var", "dry_run=false"); !strings.Contains(out, ", unchanged") {
				t.Error("the second run is not told as unchanged")
			}
			text, err := os.ReadFile(filepath.Join(dir, "packer-manifest.json"))
			if err != nil || !strings.Contains(string(text), `"artifact_id": "eu-central-1:lt-`) {
				t.Errorf("the manifest has %s, %v", text, err)
			}
			if _, err := os.Stat(source.FilesValue[0]); err != nil {
				t.Error("the disk is gone")
			}
			// Without a right to register, Packer fails and nothing is left.
			server.Fault = func(action string, _ int) (int, string) {
				if action == "CreateLaunchTemplateVersion" {
					return 403, "UnauthorizedOperation"
				}
				return 0, ""
			}
			if err := os.WriteFile(config["node_config"].(string), []byte(launchNodeConfig+"# changed\n"), 0o644); err != nil {
				t.Fatal(err)
			}
			cmd := w.command(t, dir, "build", "-var", "dry_run=false", ".")
			cmd.Env = append(cmd.Env, wire)
			if out, code := run(t, cmd); code == 0 || !strings.Contains(out, "UnauthorizedOperation") || !strings.Contains(out, "nothing was left behind") {
				t.Errorf("exit status %d", code)
			}
		})
	}
}
