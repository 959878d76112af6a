//go:build bake

package plugin_test

import (
	"cmp"
	"crypto/ed25519"
	"encoding/pem"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/hashicorp/hcl/v2"
	"github.com/hashicorp/hcl/v2/hclparse"
	"github.com/zclconf/go-cty/cty"
	"golang.org/x/crypto/ssh"
)

// foreign lists the plugins of others that the templates need, with the tool that builds each; "" where its Go module cannot be
// had, so that its templates are only parsed.
var foreign = map[string]string{"qemu": "", "amazon": "packer-plugin-amazon", "googlecompute": "packer-plugin-googlecompute", "vsphere": "packer-plugin-vsphere"}

// values are those of variables whose text has a shape.
var values = map[string]string{
	"url": "https://srv.example/node", "disk": "/dev/disk/by-id/ata-DISK",
	"project": "my-project", "subscription_id": "00000000-0000-0000-0000-000000000001",
	"subnet_id": "/subscriptions/s/resourceGroups/net/providers/Microsoft.Network/virtualNetworks/v/subnets/s",
}

// shipped is a template of packer/.
type shipped struct {
	file    string
	plugins []string // of others
	vars    []string // -var flags: a value for each variable that has no default
	signs   bool     // has the variable signing_key
}

func templates(t *testing.T) []shipped {
	t.Helper()
	files, err := filepath.Glob("../../packer/*.pkr.hcl")
	if err != nil || len(files) < 6 {
		t.Fatalf("templates %q (%v)", files, err)
	}
	var out []shipped
	for _, file := range files {
		parsed, diags := hclparse.NewParser().ParseHCLFile(file)
		if diags.HasErrors() {
			t.Fatal(diags)
		}
		content, _, _ := parsed.Body.PartialContent(&hcl.BodySchema{Blocks: []hcl.BlockHeaderSchema{
			{Type: "packer"}, {Type: "variable", LabelNames: []string{"name"}},
		}})
		s := shipped{file: filepath.Base(file)}
		for _, b := range content.Blocks {
			switch b.Type {
			case "variable":
				attributes, _, _ := b.Body.PartialContent(&hcl.BodySchema{Attributes: []hcl.AttributeSchema{{Name: "default"}, {Name: "type"}}})
				if attributes.Attributes["default"] != nil {
					s.signs = s.signs || b.Labels[0] == "signing_key"
					continue
				}
				value := cmp.Or(values[b.Labels[0]], "value")
				if strings.HasSuffix(b.Labels[0], "_file") {
					value = sshKey(t) // the only files that templates ask for
				}
				if kind := attributes.Attributes["type"]; kind != nil && hcl.ExprAsKeyword(kind.Expr) == "" {
					value = `["sg-0123456789abcdef0"]` // the only lists that templates ask for
				}
				s.vars = append(s.vars, "-var", b.Labels[0]+"="+value)
			case "packer":
				inner, _, _ := b.Body.PartialContent(&hcl.BodySchema{Blocks: []hcl.BlockHeaderSchema{{Type: "required_plugins"}}})
				for _, r := range inner.Blocks {
					plugins, _ := r.Body.JustAttributes()
					for _, name := range slices.Sorted(maps.Keys(plugins)) {
						value, _ := plugins[name].Expr.Value(nil)
						if source := value.GetAttr("source"); source != cty.StringVal("github.com/strongroom/strongroom") {
							s.plugins = append(s.plugins, name)
						}
					}
				}
			}
		}
		out = append(out, s)
	}
	return out
}

// sshKey is the path of a private key as ssh-keygen writes it.
func sshKey(t *testing.T) string {
	t.Helper()
	_, key, err := ed25519.GenerateKey(nil)
	if err != nil {
		t.Fatal(err)
	}
	block, err := ssh.MarshalPrivateKey(key, "")
	if err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(t.TempDir(), "key")
	if err := os.WriteFile(path, pem.EncodeToMemory(block), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

// Whoever copies a template begins with one that Packer takes. Those that need plugins of others are parsed here;
// TestForeignTemplates (make test-slow) has the plugins.
func TestEveryTemplate(t *testing.T) {
	w := setUp(t)
	for _, s := range templates(t) {
		t.Run(s.file, func(t *testing.T) {
			args := append([]string{"validate"}, s.vars...)
			for _, p := range s.plugins {
				if _, known := foreign[p]; !known {
					t.Errorf("nothing is known of the plugin %s", p)
				}
				args = []string{"validate", "-syntax-only"}
			}
			for name, wire := range wires {
				cmd := w.command(t, "../../packer", append(args, s.file)...)
				cmd.Env = append(cmd.Env, wire)
				if out, code := run(t, cmd); code != 0 {
					t.Errorf("%s: %s", name, out)
				}
			}
			if len(s.plugins) > 0 {
				return
			}
			// All others sign when they are given a key. A key that is none shows that it gets where it belongs.
			if !s.signs {
				t.Fatal("it has no variable signing_key with a default")
			}
			if out, code := run(t, w.command(t, "../../packer", slices.Concat(args, []string{"-var", "signing_key=vault:transit/strongroom", s.file})...)); code != 0 {
				t.Errorf("with a signing key: %s", out)
			}
			if out, code := run(t, w.command(t, "../../packer", slices.Concat(args, []string{"-var", "signing_key=vault:transit", s.file})...)); code == 0 || !strings.Contains(out, "signing.key: ") {
				t.Errorf("with a signing key that is none: exit status %d: %s", code, out)
			}
		})
	}
}

// installForeign puts the plugins of others beside ours.
func (w workbench) installForeign(t *testing.T, names ...string) {
	t.Helper()
	for _, name := range names {
		out, err := exec.Command("../../tools/build", "--path", foreign[name]).Output()
		if err != nil {
			t.Fatal(err)
		}
		program := strings.TrimSpace(string(out))
		if _, err := os.Stat(program); err != nil {
			t.Fatalf("%v\nhint: tools/build %s", err, foreign[name])
		}
		if _, code := run(t, w.command(t, t.TempDir(), "plugins", "install", "--path", program, "github.com/hashicorp/"+name)); code != 0 {
			t.Fatalf("%s cannot be installed", name)
		}
	}
}
