package resource

import (
	"context"
	"fmt"
	"maps"
	"path"
	"slices"
	"strings"

	"github.com/hashicorp/hcl/v2"
	"github.com/hashicorp/hcl/v2/hclsyntax"
	"github.com/zclconf/go-cty/cty"
	"github.com/zclconf/go-cty/cty/convert"

	"github.com/strongroom/strongroom/internal/control"
	"github.com/strongroom/strongroom/internal/host"
	"github.com/strongroom/strongroom/internal/overlay"
)

// VaultConfig states what the configuration that Vault will be started with must and must not
// say. The file is written below /run at boot, so there is nothing to render and nothing to see
// in a tree.
type VaultConfig struct {
	Path string `yaml:"path" json:"path"`
	Name string `yaml:"name" json:"name"` // what these settings are about; unique for the path
	// Require maps a setting ("disable_mlock", "listener.tcp.tls_min_version") to its value.
	Require map[string]string `yaml:"require" json:"require,omitempty"`
	// Forbid lists settings and blocks that must not appear ("storage.raft.retry_join").
	Forbid []string `yaml:"forbid" json:"forbid,omitempty"`
}

func (v *VaultConfig) Key() control.Key {
	return control.Key{Kind: "vault_config", Name: v.Path + "#" + v.Name}
}

func (v *VaultConfig) Validate() error {
	var r require
	r.that(path.IsAbs(v.Path) && path.Clean(v.Path) == v.Path, "path %q is not absolute and clean", v.Path)
	r.that(slugName.MatchString(v.Name), "name %q is not a slug", v.Name)
	r.that(len(v.Require)+len(v.Forbid) > 0, "nothing is required or forbidden")
	for _, f := range v.Forbid {
		_, both := v.Require[f]
		r.that(!both, "%s is both required and forbidden", f)
	}
	return r.err()
}

func (v *VaultConfig) Render(control.Profile) ([]overlay.Fragment, error) { return nil, nil }

func (v *VaultConfig) Verify(_ context.Context, h host.Host, stage control.Stage) []control.Observation {
	if !stage.Runs() {
		return nil
	}
	o := effective(v.Key())
	content, err := h.ReadFile(v.Path)
	if err != nil {
		o.missing(v.Path, "a configuration", err)
		return o.out
	}
	settings, err := vaultSettings(content, v.Path)
	if err != nil {
		o.unknown(v.Path, "valid HCL", err)
		return o.out
	}
	for _, k := range slices.Sorted(maps.Keys(v.Require)) {
		got := settings[k]
		if len(got) == 0 {
			got = []string{"not set"}
		}
		// A block may repeat (two listeners); the setting must hold in each.
		ok := true
		for _, g := range got {
			ok = ok && g == v.Require[k]
		}
		o.judge(v.Path+" "+k, v.Require[k], strings.Join(got, ", "), ok)
	}
	for _, k := range v.Forbid {
		got := "not set"
		for _, name := range slices.Sorted(maps.Keys(settings)) {
			if name == k || strings.HasPrefix(name, k+".") {
				got = name + " is set" // the value may be a secret
				break
			}
		}
		o.equal(v.Path+" "+k, "not set", got)
	}
	return o.out
}

// vaultSettings flattens a configuration to dotted names. A block contributes its type and
// labels; a block without attributes is there with the value "".
func vaultSettings(content []byte, name string) (map[string][]string, error) {
	file, diags := hclsyntax.ParseConfig(content, path.Base(name), hcl.InitialPos)
	if diags.HasErrors() {
		return nil, fmt.Errorf("cannot parse: %s", diags.Error())
	}
	out := map[string][]string{}
	flatten(file.Body.(*hclsyntax.Body), "", out)
	return out, nil
}

func flatten(body *hclsyntax.Body, prefix string, out map[string][]string) {
	for name, attr := range body.Attributes {
		out[prefix+name] = append(out[prefix+name], literal(attr.Expr))
	}
	for _, block := range body.Blocks {
		name := prefix + strings.Join(append([]string{block.Type}, block.Labels...), ".")
		if len(block.Body.Attributes)+len(block.Body.Blocks) == 0 {
			out[name] = append(out[name], "")
		}
		flatten(block.Body, name+".", out)
	}
}

// literal is the text of a constant expression; Vault's configuration has no other kind.
func literal(e hclsyntax.Expression) string {
	v, diags := e.Value(nil)
	if diags.HasErrors() || !v.IsWhollyKnown() {
		return "not a constant"
	}
	if s, err := convert.Convert(v, cty.String); err == nil && !s.IsNull() {
		return s.AsString()
	}
	return "a " + v.Type().FriendlyName()
}
